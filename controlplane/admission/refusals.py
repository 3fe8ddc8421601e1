"""What the owner of an object is told when the object may not be made: people look there, not into a log.

An event says so, and at ReplicaSets and ReplicationControllers a condition, too.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from mizzen.api import kinds, times
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
from mizzen.api.types import core_v1 as core
from mizzen.engine.effects import Create, Emit, UpdateStatus
from mizzen.engine.values import Instant
from mizzen.engine.view import View

_TRIED_AGAIN = (AlreadyExists, Conflict, NotFound, ServerTimeout, ServiceUnavailable, Timeout)
"""What another try will do about."""
_LEAVING = "NamespaceTerminating"
_FAILURE, _REASON = "ReplicaFailure", "FailedCreate"
_COMPONENTS = {"ReplicationController": "replication-controller"}
_CONDITIONS: dict[type[Any], type[Any]] = {
    apps.ReplicaSet: apps.ReplicaSetCondition,
    core.ReplicationController: core.ReplicationControllerCondition,
}


def complaint(effect: Create, error: ApiError, view: View) -> Emit | None:
    """The event at the controlling owner; None without one, or where another try will do or is not worth a word."""
    owner = _owner(effect, error, view)
    if owner is None:
        return None
    kind = kinds.kind_of(owner)
    component = _COMPONENTS.get(kind.kind, f"{kind.singular}-controller")
    message = f"Error creating: {error.message}"
    if isinstance(owner, apps.StatefulSet):
        made = f"{effect.object.kind} {effect.object.metadata.name}"
        message = f"create {made} in StatefulSet {owner.metadata.name} failed error: {error.message}"
    return Emit(owner, "Warning", _REASON, message, component)


def failure(effect: Create, error: ApiError, view: View, now: Instant) -> UpdateStatus | None:
    """The condition at the controlling owner; None where there is none to set, or it is set already."""
    owner = _owner(effect, error, view)
    condition = _CONDITIONS.get(type(owner))
    if owner is None or condition is None:
        return None
    before = next((one for one in owner.status.conditions if one.type == _FAILURE), None)
    if before is not None and (before.status, before.reason) == ("True", _REASON):
        return None
    told = condition(
        type=_FAILURE,
        status="True",
        last_transition_time=times.render(now),
        reason=_REASON,
        message=error.message,
    )
    others = tuple(one for one in owner.status.conditions if one.type != _FAILURE)
    return UpdateStatus(replace(owner, status=replace(owner.status, conditions=(*others, told))))


def _owner(effect: Create, error: ApiError, view: View) -> Any | None:
    """The controlling owner, where the refusal is worth a word."""
    if isinstance(error, _TRIED_AGAIN) or _says(error, _LEAVING):
        return None
    made = effect.object
    reference = next((one for one in made.metadata.owner_references if one.controller), None)
    kind = kinds.BY_KIND.get((reference.api_version, reference.kind)) if reference is not None else None
    if reference is None or kind is None:
        return None
    owner = view.get(kind, made.metadata.namespace if kind.namespaced else "", reference.name)
    return owner if owner is not None and owner.metadata.uid == reference.uid else None


def _says(error: ApiError, reason: str) -> bool:
    return error.details is not None and any(cause.reason == reason for cause in error.details.causes)
