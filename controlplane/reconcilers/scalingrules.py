"""How fast an autoscaler may follow its metrics: stabilisation windows, policies, and the bounds of its spec.

Vocabulary
- *recommendation*: what the metrics asked for at a moment.
- *step*: a change of the number of replicas that has been made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.engine.values import Instant

DOWNSCALE_WINDOW_S = 300
"""Without a behaviour of its own an autoscaler goes down to the most that was asked for in this time."""
READY = ("ReadyForNewScale", "recommended size matches current size")
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)  # fmt: skip
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
IN_RANGE = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")

Why = tuple[str, str]
"""A condition's reason and message."""


@dataclass(frozen=True, slots=True)
class Past:
    """What an autoscaler's driver remembers."""

    recommendations: tuple[tuple[Instant, int], ...] = ()
    steps: tuple[tuple[Instant, int], ...] = ()
    """Changes of the number of replicas."""

    def kept(self, now: Instant, seconds: int) -> Past:
        """Without what is older than so many seconds."""
        begin = now - seconds * 1000
        return Past(
            tuple(one for one in self.recommendations if one[0] > begin),
            tuple(one for one in self.steps if one[0] > begin),
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an autoscaler allows, and where it is."""

    current: int
    least: int
    most: int
    behavior: autoscaling.HorizontalPodAutoscalerBehavior | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a recommendation is followed."""

    replicas: int
    able: Why
    limit: Why
    limited: bool


def longest_s(behavior: autoscaling.HorizontalPodAutoscalerBehavior | None) -> int:
    """How far back a behaviour looks, in seconds."""
    found = [DOWNSCALE_WINDOW_S]
    for rules in (behavior.scale_up, behavior.scale_down) if behavior is not None else ():
        if rules is not None:
            found += [rules.stabilization_window_seconds or 0, *(policy.period_seconds for policy in rules.policies)]
    return max(found)


def followed(bounds: Bounds, wanted: int, past: Past, now: Instant) -> Followed:
    """How many replicas there shall be where metrics ask for so many; `past` does not have this recommendation yet."""
    stabilized, why = _stabilized(bounds, wanted, past, now)
    replicas, limit = _limited(bounds, stabilized, past, now)
    return Followed(replicas, READY if stabilized == wanted else why, limit, replicas != stabilized)


def _stabilized(bounds: Bounds, wanted: int, past: Past, now: Instant) -> tuple[int, Why]:
    behavior = bounds.behavior
    if behavior is None:
        return max([wanted, *_recent(past.recommendations, now, DOWNSCALE_WINDOW_S)]), DOWN_STABILIZED
    up_s, down_s = _window_s(behavior.scale_up, 0), _window_s(behavior.scale_down, DOWNSCALE_WINDOW_S)
    lowest = min([wanted, *_recent(past.recommendations, now, up_s)])
    highest = max([wanted, *_recent(past.recommendations, now, down_s)])
    stabilized = min(max(bounds.current, lowest), highest)
    return stabilized, UP_STABILIZED if wanted >= bounds.current else DOWN_STABILIZED


def _window_s(rules: autoscaling.HPAScalingRules | None, default: int) -> int:
    found = rules.stabilization_window_seconds if rules is not None else None
    return default if found is None else found


def _recent(times: Sequence[tuple[Instant, int]], now: Instant, seconds: int) -> list[int]:
    return [number for at, number in times if at > now - seconds * 1000]


def _limited(bounds: Bounds, wanted: int, past: Past, now: Instant) -> tuple[int, Why]:
    current = bounds.current
    up, down = (bounds.behavior.scale_up, bounds.behavior.scale_down) if bounds.behavior is not None else (None, None)
    most, too_many = bounds.most, TOO_MANY
    least, too_few = bounds.least, TOO_FEW
    if bounds.behavior is None:
        fastest = max(2 * current, 4)
    else:
        fastest = max(current, _limit(up, current, past, now, rising=True))
    if bounds.behavior is None or wanted > current:
        most, too_many = (fastest, UP_LIMIT) if most > fastest else (most, too_many)
    if bounds.behavior is not None and wanted < current:
        slowest = min(current, _limit(down, current, past, now, rising=False))
        least, too_few = (slowest, DOWN_LIMIT) if least < slowest else (least, too_few)
    if wanted > most:
        return most, too_many
    if wanted < least:
        return least, too_few
    return wanted, IN_RANGE


def _limit(rules: autoscaling.HPAScalingRules | None, current: int, past: Past, now: Instant, *, rising: bool) -> int:
    """How far the policies let it go from where it was when their periods began."""
    if rules is None or rules.select_policy == "Disabled" or not rules.policies:
        return current
    found: list[float] = []
    for policy in rules.policies:
        begin = current - sum(_recent(past.steps, now, policy.period_seconds))
        change = policy.value if policy.type == "Pods" else begin * policy.value / 100
        found.append(ceil(round(begin + change, 9)) if rising else int(round(begin - change, 9)))
    careful = rules.select_policy == "Min"
    # The most change goes up the furthest, and down the furthest.
    chosen = min(found, default=inf) if careful == rising else max(found, default=-inf)
    return int(chosen)
