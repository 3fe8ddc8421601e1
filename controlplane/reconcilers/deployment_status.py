"""What a Deployment's status says: counts, and whether it is available and getting on."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from controlplane.reconcilers import revisions, rollout
from mizzen.api import times, workloads
from mizzen.api.types import apps_v1
from mizzen.engine.values import Instant

REPLICA_FAILURE = "ReplicaFailure"
ROLLED_BACK = "RolledBack"
"""The condition of a Deployment whose last revision was taken back."""
CANARY_PAUSED, CANARY_ADVANCED = "CanaryPaused", "CanaryAdvanced"


@dataclass(frozen=True, slots=True)
class News:
    """What this decision did that the Progressing condition tells, or a collision of names."""

    reason: str = ""
    message: str = ""
    collision_count: int | None = None
    status: str = "True"


def created(name: str) -> News:
    """A ReplicaSet was made."""
    return News("NewReplicaSetCreated", f'Created new replica set "{name}"')


def found(name: str) -> News:
    """A ReplicaSet of the template was there."""
    return News("FoundNewReplicaSet", f'Found new replica set "{name}"')


def collision(count: int) -> News:
    """The name that the template hashes to belongs to another template."""
    return News(collision_count=count)


def canary_paused(message: str) -> News:
    """The rollout waits, and no deadline runs."""
    return News(CANARY_PAUSED, message, status="Unknown")


def counts(owner: apps_v1.Deployment, sets: revisions.Sets) -> apps_v1.DeploymentStatus:
    """The status with its numbers counted anew."""
    total = sum(rs.spec.replicas if rs.spec.replicas is not None else 1 for rs in sets.all)
    available = sum(rs.status.available_replicas for rs in sets.all)
    return msgspec.structs.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        replicas=sum(rs.status.replicas for rs in sets.all),
        updated_replicas=sets.new.status.replicas if sets.new else 0,
        ready_replicas=sum(rs.status.ready_replicas for rs in sets.all),
        available_replicas=available,
        unavailable_replicas=max(0, total - available),
        terminating_replicas=_terminating(sets),
    )


def _terminating(sets: revisions.Sets) -> int | None:
    """The pods on their way out; None while a ReplicaSet has not counted its own."""
    counted = [rs.status.terminating_replicas for rs in sets.all]
    known = [count for count in counted if count is not None]
    return sum(known) if len(known) == len(counted) else None


def is_complete(owner: apps_v1.Deployment, now_is: apps_v1.DeploymentStatus) -> bool:
    """All replicas are updated and available, no old one is left, and this generation was seen."""
    desired = owner.spec.replicas if owner.spec.replicas is not None else 1
    return (
        now_is.updated_replicas == desired
        and now_is.replicas == desired
        and now_is.available_replicas == desired
        and now_is.observed_generation >= owner.metadata.generation
    )


def status_of(
    owner: apps_v1.Deployment, sets: revisions.Sets, news: News | None, now: Instant
) -> apps_v1.DeploymentStatus:
    """The whole status."""
    current = counts(owner, sets)
    if news is not None and news.collision_count is not None:
        return msgspec.structs.replace(current, collision_count=news.collision_count)
    conditions = {c.type: c for c in owner.status.conditions}
    available = _available(owner, current)
    conditions["Available"] = _set(conditions.get("Available"), available, now)
    progressing = _progressing(owner, sets, current, news, conditions.get("Progressing"), now)
    if progressing is not None:
        touched = progressing.reason == "ReplicaSetUpdated"
        conditions["Progressing"] = _set(conditions.get("Progressing"), progressing, now, touch=touched)
    elif owner.spec.progress_deadline_seconds is None:
        conditions.pop("Progressing", None)
    failure = _replica_failure(sets)
    if failure is None:
        conditions.pop(REPLICA_FAILURE, None)
    else:
        before = conditions.get(REPLICA_FAILURE)
        same = before is not None and (before.status, before.reason) == (failure.status, failure.reason)
        conditions[REPLICA_FAILURE] = before if before is not None and same else failure
    failed = owner.metadata.annotations.get(workloads.FAILED_REVISION)
    if failed is None:
        conditions.pop(ROLLED_BACK, None)
    else:
        message = f"Revision {failed} has failed and was taken back; a change of the template is a new try."
        taken_back = _condition(ROLLED_BACK, "True", "RevisionFailed", message)
        conditions[ROLLED_BACK] = _set(conditions.get(ROLLED_BACK), taken_back, now)
    return msgspec.structs.replace(current, conditions=tuple(conditions.values()))


def _replica_failure(sets: revisions.Sets) -> apps_v1.DeploymentCondition | None:
    """Why pods of a ReplicaSet may not be made; the new one's say first."""
    found = (
        condition
        for replica_set in (*((sets.new,) if sets.new else ()), *sets.all)
        for condition in replica_set.status.conditions
        if condition.type == REPLICA_FAILURE
    )
    failure = next(found, None)
    if failure is None:
        return None
    return apps_v1.DeploymentCondition(
        type=failure.type,
        status=failure.status,
        last_update_time=failure.last_transition_time,
        last_transition_time=failure.last_transition_time,
        reason=failure.reason,
        message=failure.message,
    )


def _available(owner: apps_v1.Deployment, now_is: apps_v1.DeploymentStatus) -> apps_v1.DeploymentCondition:
    desired = owner.spec.replicas if owner.spec.replicas is not None else 1
    if now_is.available_replicas >= desired - rollout.limits(owner).unavailable:
        return _condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return _condition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _progressing(
    owner: apps_v1.Deployment,
    sets: revisions.Sets,
    now_is: apps_v1.DeploymentStatus,
    news: News | None,
    before: apps_v1.DeploymentCondition | None,
    now: Instant,
) -> apps_v1.DeploymentCondition | None:
    """The Progressing condition as it shall be; None leaves it as it is."""
    if not _has_deadline(owner):
        return None
    if owner.spec.paused:
        if before is not None and before.reason == "ProgressDeadlineExceeded":
            return None
        return _condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if before is not None and before.reason == "DeploymentPaused":
        return _condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
    news = news or _gone_on(before)
    if news is not None:
        return _condition("Progressing", news.status, news.reason, news.message)
    name = f'ReplicaSet "{sets.new.metadata.name}"' if sets.new else f'Deployment "{owner.metadata.name}"'
    if is_complete(owner, now_is):
        return _condition("Progressing", "True", "NewReplicaSetAvailable", f"{name} has successfully progressed.")
    if before is not None and before.reason == "NewReplicaSetAvailable" and now_is.replicas == now_is.updated_replicas:
        # A rollout that was once complete stays so while pods come and go.
        return None
    if _advanced(owner.status, now_is):
        return _condition("Progressing", "True", "ReplicaSetUpdated", f"{name} is progressing.")
    if before is not None and _overdue(owner, before, now):
        return _condition("Progressing", "False", "ProgressDeadlineExceeded", f"{name} has timed out progressing.")
    return None


def _gone_on(before: apps_v1.DeploymentCondition | None) -> News | None:
    """The end of a canary's pause, from which on the deadline counts again."""
    return News(CANARY_ADVANCED, "Canary goes on") if before is not None and before.reason == CANARY_PAUSED else None


def _advanced(before: apps_v1.DeploymentStatus, now_is: apps_v1.DeploymentStatus) -> bool:
    return (
        now_is.updated_replicas > before.updated_replicas
        or now_is.replicas - now_is.updated_replicas < before.replicas - before.updated_replicas
        or now_is.ready_replicas > before.ready_replicas
        or now_is.available_replicas > before.available_replicas
    )


def _has_deadline(owner: apps_v1.Deployment) -> bool:
    return owner.spec.progress_deadline_seconds not in (None, workloads.NO_DEADLINE_S)


def _overdue(owner: apps_v1.Deployment, before: apps_v1.DeploymentCondition, now: Instant) -> bool:
    if before.reason == "ProgressDeadlineExceeded":
        return True
    if before.reason in ("NewReplicaSetAvailable", CANARY_PAUSED) or not before.last_update_time:
        return False
    deadline_s = owner.spec.progress_deadline_seconds or 0
    return now >= times.parse(before.last_update_time) + deadline_s * 1000


def deadline_in_ms(owner: apps_v1.Deployment, now_is: apps_v1.DeploymentStatus, now: Instant) -> int | None:
    """When to look at the progress again; None while nothing is awaited."""
    before = next((c for c in now_is.conditions if c.type == "Progressing"), None)
    if before is None or not _has_deadline(owner) or not before.last_update_time or owner.spec.paused:
        return None
    if before.reason in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded", CANARY_PAUSED):
        return None
    deadline_s = owner.spec.progress_deadline_seconds or 0
    return max(1, times.parse(before.last_update_time) + deadline_s * 1000 - now)


def _condition(type_: str, status: str, reason: str, message: str) -> apps_v1.DeploymentCondition:
    return apps_v1.DeploymentCondition(type=type_, status=status, reason=reason, message=message)


def _set(
    before: apps_v1.DeploymentCondition | None,
    wanted: apps_v1.DeploymentCondition,
    now: Instant,
    *,
    touch: bool = False,
) -> apps_v1.DeploymentCondition:
    """Keeps the time of the last transition while the status stays; the update time while nothing changed."""
    stamp = times.render(now)
    if before is not None and before.status == wanted.status:
        if before.reason == wanted.reason and not touch:
            return msgspec.structs.replace(before, message=wanted.message)
        return msgspec.structs.replace(wanted, last_transition_time=before.last_transition_time, last_update_time=stamp)
    return msgspec.structs.replace(wanted, last_transition_time=stamp, last_update_time=stamp)
