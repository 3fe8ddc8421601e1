"""What the owner of an object is told when the object may not be made: people look there, not into a log.

An event says so, and at ReplicaSets, ReplicationControllers and Deployments a condition, too.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from mizzen.api import kinds, times, workloads
from mizzen.api.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    NotFound,
    ServerTimeout,
    ServiceUnavailable,
    Timeout,
)
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.engine.effects import Create, Emit, UpdateStatus
from mizzen.engine.values import Instant
from mizzen.engine.view import View

_TRIED_AGAIN = (AlreadyExists, Conflict, NotFound, ServerTimeout, ServiceUnavailable, Timeout)
"""What another try will do about."""
_LEAVING = "NamespaceTerminating"
_FAILURE, _REASON = "ReplicaFailure", "FailedCreate"
_REASONS = {"Deployment": "ReplicaSetCreateError"}
_COMPONENTS = {"ReplicationController": "replication-controller"}
_CONDITIONS: dict[type[Any], type[Any]] = {
    apps.ReplicaSet: apps.ReplicaSetCondition,
    core.ReplicationController: core.ReplicationControllerCondition,
}


def complaint(effect: Create, error: ApiError, view: View) -> Emit | None:
    """The event at whoever is told; None where nobody is, where another try will do, or where it needs no word."""
    owner = _owner(effect, error, view)
    if owner is None:
        return None
    kind = kinds.kind_of(owner)
    component = _COMPONENTS.get(kind.kind, f"{kind.singular}-controller")
    return Emit(owner, "Warning", _REASONS.get(kind.kind, _REASON), _message(owner, effect.object, error), component)


def _message(owner: Any, made: Any, error: ApiError) -> str:
    if isinstance(owner, apps.StatefulSet):
        return f"create {_member(made, owner)} in StatefulSet {owner.metadata.name} failed error: {error.message}"
    if isinstance(owner, apps.Deployment):
        return f'Failed to create new replica set "{made.metadata.name}": {error.message}'
    doing = "Error creating job" if isinstance(owner, batch.CronJob) else "Error creating"
    return f"{doing}: {error.message}"


def _member(made: Any, owner: apps.StatefulSet) -> str:
    """What of a StatefulSet could not be made: a pod, or a claim for the pod of the same ordinal."""
    name: str = made.metadata.name
    if isinstance(made, core.Pod):
        return f"Pod {name}"
    return f"Claim {name} for Pod {owner.metadata.name}-{name.rpartition('-')[2]}"


def failure(effect: Create, error: ApiError, view: View, now: Instant) -> UpdateStatus | None:
    """The condition at the controlling owner; None where there is none to set, or it is set already."""
    owner = _owner(effect, error, view)
    condition = _condition(owner, effect.object, error, times.render(now))
    if owner is None or condition is None:
        return None
    before = next((one for one in owner.status.conditions if one.type == condition.type), None)
    if before is not None and (before.status, before.reason) == (condition.status, condition.reason):
        return None
    others = tuple(one for one in owner.status.conditions if one.type != condition.type)
    return UpdateStatus(replace(owner, status=replace(owner.status, conditions=(*others, condition))))


def _condition(owner: Any, made: Any, error: ApiError, stamp: str) -> Any | None:
    """What the owner's status says of it; a Deployment that nobody waits for says nothing."""
    if isinstance(owner, apps.Deployment):
        if owner.spec.progress_deadline_seconds in (None, workloads.NO_DEADLINE_S):
            return None
        return apps.DeploymentCondition(
            type="Progressing",
            status="False",
            last_update_time=stamp,
            last_transition_time=stamp,
            reason=_REASONS["Deployment"],
            message=_message(owner, made, error),
        )
    condition = _CONDITIONS.get(type(owner))
    if condition is None:
        return None
    return condition(type=_FAILURE, status="True", last_transition_time=stamp, reason=_REASON, message=error.message)


def _owner(effect: Create, error: ApiError, view: View) -> Any | None:
    """The controlling owner, where the refusal is worth a word."""
    if isinstance(error, _TRIED_AGAIN) or _says(error, _LEAVING):
        return None
    if effect.told is not None:
        return effect.told
    made = effect.object
    reference = next((one for one in made.metadata.owner_references if one.controller), None)
    kind = kinds.BY_KIND.get((reference.api_version, reference.kind)) if reference is not None else None
    if reference is None or kind is None:
        return None
    owner = view.get(kind, made.metadata.namespace if kind.namespaced else "", reference.name)
    return owner if owner is not None and owner.metadata.uid == reference.uid else None


def _says(error: ApiError, reason: str) -> bool:
    return error.details is not None and any(cause.reason == reason for cause in error.details.causes)
