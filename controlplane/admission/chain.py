"""The chain of policies that every write goes through, in a fixed order: see the README."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.admission import (
    accounts,
    certificates,
    classes,
    customs,
    jobs,
    lifecycle,
    metadata,
    ownership,
    pods,
    services,
    strategy,
)
from controlplane.admission.request import Admitted, Operation, Request, Settings
from controlplane.admission.warnings import warnings_for
from mizzen.api import defaults, kinds, validate, validate_pod_parts
from mizzen.api.custom import CustomKind
from mizzen.api.errors import FieldError, Invalid
from mizzen.api.kinds import Kind
from mizzen.api.managed import objects
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View

_WITH_CLASS: dict[Kind[Any], Callable[[Any, View], Any]] = {
    kinds.PERSISTENT_VOLUME_CLAIM: classes.claim,
    kinds.INGRESS: classes.ingress,
}

_PARTS_OF_PODS = {
    Operation.ADD_EPHEMERAL: (pods.with_ephemeral, validate_pod_parts.add_ephemeral),
    Operation.RESIZE: (pods.with_resources, validate_pod_parts.resize),
}


def admit(request: Request, old: Any, view: View, now: Instant, ids: Ids, settings: Settings) -> Admitted:
    """What to store for a request; `old` is the stored object, None for CREATE.

    Raises `mizzen.api.errors.ApiError` where the request is refused.
    """
    if isinstance(request.kind, CustomKind):
        return customs.admit(request, old, view, now, ids)
    match request.operation:
        case Operation.CREATE:
            return _create(request, view, now, ids, settings)
        case Operation.DELETE:
            lifecycle.check_delete(request)
            return Admitted(old)
        case Operation.ADD_EPHEMERAL | Operation.RESIZE:
            return Admitted(_part_of_pod(request, old, now))
        case Operation.UPDATE_STATUS | Operation.FINALIZE | Operation.APPROVE:
            return Admitted(_status(request, old, now))
        case Operation.UPDATE:
            return _update(request, old, view, now, settings)


def _create(request: Request, view: View, now: Instant, ids: Ids, settings: Settings) -> Admitted:
    obj = defaults.apply(metadata.for_create(request, now, ids))
    managed = ownership.of_new(request, obj, now)
    lifecycle.check_create(request, view, obj.metadata.name)
    if request.kind is kinds.POD:
        obj = pods.complete(request, obj, view)
        if settings.service_accounts:
            obj = accounts.complete(request, obj, view, ids)
    elif request.kind is kinds.SERVICE:
        obj = services.normalise(obj)
    elif request.kind is kinds.JOB:
        obj = jobs.select(obj)
    elif request.kind in _WITH_CLASS:
        obj = _WITH_CLASS[request.kind](obj, view)
    obj = strategy.prepare_create(request, obj)
    _refuse(request, obj, validate.validate_create(obj))
    if request.kind is kinds.PRIORITY_CLASS:
        classes.check_priority(request, obj, view)
    claims: tuple[str, ...] = ()
    if request.kind is kinds.SERVICE:
        obj, claims = services.allocate(request, obj, None, view, settings)
    return Admitted(objects.with_entries(obj, managed), warnings_for(obj), claims)


def _update(request: Request, old: Any, view: View, now: Instant, settings: Settings) -> Admitted:
    obj = defaults.apply(metadata.for_update(request, old))
    if request.kind is kinds.SERVICE:
        obj = services.carry_over(obj, old)
    elif request.kind is kinds.POD:
        obj = pods.keep(obj, old)
    obj = ownership.carried_on(request, _prepared(request, obj, old, now), old, now)
    if obj == old:
        return Admitted(old)
    _refuse(request, obj, validate.validate_update(obj, old))
    if request.kind is kinds.PRIORITY_CLASS:
        classes.check_priority(request, obj, view)
    claims: tuple[str, ...] = ()
    if request.kind is kinds.SERVICE:
        obj, claims = services.allocate(request, obj, old, view, settings)
    return Admitted(obj, warnings_for(obj), claims)


def _prepared(request: Request, obj: Any, old: Any, now: Instant) -> Any:
    if request.kind is kinds.CERTIFICATE_SIGNING_REQUEST:
        return certificates.keep(request, obj, old, now)
    return strategy.prepare_update(request, obj, old)


def _status(request: Request, old: Any, now: Instant) -> Any:
    obj = _prepared(request, metadata.for_update(request, old), old, now)
    if request.kind is kinds.PERSISTENT_VOLUME:
        obj = strategy.note_phase(obj, old, now)
    obj = ownership.carried_on(request, obj, old, now)
    if obj != old:
        _refuse(request, obj, validate.validate_status_update(obj, old))
    return obj


def _part_of_pod(request: Request, old: Any, now: Instant) -> Any:
    """The pod with the one part of its spec changed that the operation is about."""
    keep, check = _PARTS_OF_PODS[request.operation]
    pod = keep(defaults.apply(metadata.for_update(request, old)), old)
    pod = strategy.prepare_update(request, pod, old)
    pod = ownership.carried_on(request, pod, old, now)
    if pod != old:
        _refuse(request, pod, tuple(check(pod, old)))
    return pod


def _refuse(request: Request, obj: Any, errors: tuple[FieldError, ...]) -> None:
    if errors:
        raise Invalid(request.kind, obj.metadata.name, errors)
