"""How far a canary is: which share of a Deployment's replicas may be of the new revision now.

The step and when it began stand in annotations of the new ReplicaSet, so another leader goes on where this one was.
What takes a failing canary back is `rollback`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from controlplane.reconcilers import podstate, revisions, rollout
from mizzen.api import canary_steps, times, workloads
from mizzen.api.canary_steps import Pause, Share, Step
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine.values import Instant

_DONE = "done"
"""The step of a canary that has become an ordinary rollout."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a canary is now."""

    limit: int
    """Replicas that the new revision may have."""
    keep: int
    """Replicas that the old ones keep."""
    message: str = ""
    """The step in words."""
    paused: bool = False
    wake_after_ms: int | None = None
    advanced: apps_v1.ReplicaSet | None = None
    """The new ReplicaSet at the next step, where this one is over."""
    promoted: bool = False
    """It is over because a user wanted that; the Deployment's annotation has served."""


def is_on(owner: apps_v1.Deployment, sets: revisions.Sets) -> bool:
    """Whether a canary is under way: a revision that has not proved itself replaces one that runs."""
    if workloads.CANARY not in owner.metadata.annotations or not owner.spec.replicas:
        return False
    if sets.new is not None and (workloads.WAS_AVAILABLE in sets.new.metadata.annotations or _step(sets.new) == _DONE):
        return False
    return any(rs.spec.replicas for rs in sets.old)


def stage(owner: apps_v1.Deployment, sets: revisions.Sets, pods: Iterable[core_v1.Pod], now: Instant) -> Stage | None:
    """Where a Deployment's canary is; None where none is under way. `pods` are those of the new ReplicaSet."""
    if not is_on(owner, sets):
        return None
    steps, new = canary_steps.parse(owner.metadata.annotations[workloads.CANARY]), sets.new
    place = min(int(_step(new) or 0), len(steps) - 1) if new is not None else 0
    here = _bounds(owner, steps, place)
    if new is None:
        return here
    wish, step = owner.metadata.annotations.get(workloads.PROMOTE, ""), steps[place]
    if wish == workloads.PROMOTE_FULL:
        return _next(here, new, steps, len(steps), now, promoted=True)
    well = _is_well(new, pods, here.limit)
    if isinstance(step, Share):
        over = well and sum(rs.spec.replicas or 0 for rs in sets.old) <= here.keep
        return _next(here, new, steps, place + 1, now) if over else here
    left_ms = _left_ms(step, new, now)
    if well and (wish or left_ms == 0):
        return _next(here, new, steps, place + 1, now, promoted=bool(wish))
    return dataclasses.replace(here, paused=True, wake_after_ms=left_ms or None)


def _bounds(owner: apps_v1.Deployment, steps: Sequence[Step], place: int) -> Stage:
    desired = owner.spec.replicas or 0
    share = next(step for step in reversed(steps[: place + 1]) if isinstance(step, Share))
    limit = share.replicas(desired)
    # Where the share is all there is, an old replica stays beside it as long as there may be one too many.
    keep = max(desired - limit, min(1, rollout.limits(owner).surge))
    return Stage(limit, keep, f"Canary step {place + 1} of {len(steps)}: {steps[place]}")


def _is_well(new: apps_v1.ReplicaSet, pods: Iterable[core_v1.Pod], limit: int) -> bool:
    """All replicas of the step are available, and none has restarted."""
    active = [pod for pod in pods if podstate.is_active(pod)]
    enough = min(new.status.available_replicas, new.spec.replicas or 0) >= limit
    return enough and all(podstate.is_ready(pod) and not podstate.restarts(pod) for pod in active)


def _step(new: apps_v1.ReplicaSet) -> str:
    """The step of the revision's present try; empty before it has one."""
    revision, _, step = new.metadata.annotations.get(workloads.CANARY_STEP, "").partition("/")
    return step if revision == str(revisions.revision_of(new)) and (step == _DONE or step.isdigit()) else ""


def _left_ms(step: Pause, new: apps_v1.ReplicaSet, now: Instant) -> int | None:
    """How long a pause lasts yet; None: until it is promoted."""
    if step.for_ms is None:
        return None
    return max(0, times.parse(new.metadata.annotations[workloads.CANARY_SINCE]) + step.for_ms - now)


def _next(
    here: Stage, new: apps_v1.ReplicaSet, steps: Sequence[Step], place: int, now: Instant, *, promoted: bool = False
) -> Stage:
    done = place >= len(steps)
    marks = {
        workloads.CANARY_STEP: f"{revisions.revision_of(new)}/{_DONE if done else place}",
        workloads.CANARY_SINCE: times.render(now),
    }
    advanced = replace(new, metadata=replace(new.metadata, annotations={**new.metadata.annotations, **marks}))
    message = "Canary is done: the rest follows" if done else f"Canary step {place + 1} of {len(steps)}: {steps[place]}"
    return dataclasses.replace(here, message=message, advanced=advanced, promoted=promoted)
