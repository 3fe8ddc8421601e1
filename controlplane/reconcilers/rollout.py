"""The arithmetic of a rolling update: how many replicas each generation may have now.

Numbers in, numbers out. The bounds are Kubernetes': never more than desired + surge pods, never fewer than desired -
unavailable available ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from mizzen.api import intstr
from mizzen.api.types import apps_v1, core_v1

HASH_LABEL = "pod-template-hash"
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a rolling update may go beyond and below the desired number, in pods."""

    surge: int
    unavailable: int


def limits(deployment: apps_v1.Deployment) -> Limits:
    """A deployment's limits; percentages of the desired number, surge rounded up, unavailable down, never both zero."""
    strategy = deployment.spec.strategy
    if strategy.type == "Recreate":
        return Limits(0, 0)
    rolling = strategy.rolling_update or apps_v1.RollingUpdateDeployment()
    desired = deployment.spec.replicas if deployment.spec.replicas is not None else 1
    surge = intstr.scaled(_or(rolling.max_surge, "25%"), desired, round_up=True)
    unavailable = intstr.scaled(_or(rolling.max_unavailable, "25%"), desired, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(surge, min(unavailable, desired) if desired else unavailable)


def _or(value: int | str | None, default: int | str) -> int | str:
    return default if value is None else value


def new_replicas(desired: int, total: int, new: int, limit: Limits, *, rolling: bool) -> int:
    """What the newest generation is scaled to, when `total` replicas of all generations are asked for now."""
    if not rolling:
        return desired
    room = desired + limit.surge - total
    if room <= 0:
        return new
    return new + min(room, desired - new)


@dataclass(frozen=True, slots=True)
class Generation:
    """One ReplicaSet in numbers."""

    name: str
    replicas: int
    """Asked for."""
    available: int
    maximum: int = 0
    """Of all generations together, when this one was last scaled; 0 where nobody has noted it."""


def scale_down_old(
    desired: int, limit: Limits, new: Generation, new_unavailable: int, old: Sequence[Generation]
) -> dict[str, int]:
    """The old generations (oldest first) that shrink now, with what they shrink to.

    First goes what is not available anyway, then what the bound on unavailable pods leaves free.
    """
    total = new.replicas + sum(g.replicas for g in old)
    minimum = desired - limit.unavailable
    budget = total - minimum - new_unavailable
    if budget <= 0:
        return {}
    left = {g.name: g.replicas for g in old}
    for generation in old:
        gone = min(budget, left[generation.name] - min(generation.available, left[generation.name]))
        left[generation.name] -= gone
        budget -= gone
    available = new.available + sum(min(g.available, left[g.name]) for g in old)
    spare = available - minimum
    for generation in old:
        gone = max(0, min(spare, left[generation.name]))
        left[generation.name] -= gone
        spare -= gone
    return {g.name: left[g.name] for g in old if left[g.name] != g.replicas}


def keeping(targets: Mapping[str, int], old: Sequence[Generation], keep: int) -> dict[str, int]:
    """The same targets, but so that the old generations (oldest first) have `keep` replicas together, if they had."""
    left = {g.name: targets.get(g.name, g.replicas) for g in old}
    missing = keep - sum(left.values())
    for generation in reversed(old):
        kept = max(0, min(missing, generation.replicas - left[generation.name]))
        left[generation.name] += kept
        missing -= kept
    return {g.name: left[g.name] for g in old if left[g.name] != g.replicas}


def proportional(desired: int, limit: Limits, active: Sequence[Generation], present: int) -> dict[str, int]:
    """Shares a change of the desired number among the active generations by their size (largest first).

    What was allowed when a generation was last scaled is the measure, else the pods that are `present`. The rounding
    rest goes to the largest, so that nothing is lost and the result is the same every time.
    """
    allowed = desired + limit.surge if desired else 0
    change = allowed - sum(g.replicas for g in active)
    if change == 0:
        return {}
    result: dict[str, int] = {}
    added = 0
    for generation in active:
        share, left = _share(generation, allowed, present), change - added
        share = (min(share, left) if change > 0 else max(share, left)) if left else 0
        result[generation.name] = generation.replicas + share
        added += share
    if active:
        result[active[0].name] = max(0, result[active[0].name] + change - added)
    return result


def _share(generation: Generation, allowed: int, present: int) -> int:
    if not allowed:
        return -generation.replicas
    before = generation.maximum or present
    # Halves are rounded up.
    return (2 * generation.replicas * allowed + before) // (2 * before) - generation.replicas if before else 0


def template_hash(template: core_v1.PodTemplateSpec, collisions: int) -> str:
    """A short name for a pod template; another one after every collision. FNV-1a, 32 bits, in a safe alphabet."""
    digest = _FNV_OFFSET
    for byte in msgspec.json.encode(template, order="sorted") + (b"" if not collisions else str(collisions).encode()):
        digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(digest))


def without_hash(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as the user wrote them."""
    return {key: value for key, value in labels.items() if key != HASH_LABEL}
