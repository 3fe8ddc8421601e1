"""The chain of policies that every write goes through, in a fixed order: see the README.

It has two halves, so that those who have a say from outside can be asked in between: the object is completed, and then
judged. What changes an object further belongs at the end of `complete`, what judges it at the end of `finish`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from controlplane.admission import (
    accounts,
    certificates,
    classes,
    customs,
    jobs,
    lifecycle,
    metadata,
    noderestriction,
    nodes,
    ownership,
    pods,
    policies,
    policy_changing,
    policy_judging,
    services,
    storage,
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pod that is changed by itself."""

    keep: Callable[[Any, Any], Any]
    """The stored object with the part of the changed one."""
    errors: Callable[[Any, Any], Iterable[FieldError]]


_COMPLETED: dict[Kind[Any], Callable[[Any, View], Any]] = {
    kinds.PERSISTENT_VOLUME_CLAIM: storage.claim,
    kinds.PERSISTENT_VOLUME: storage.volume,
    kinds.INGRESS: classes.ingress,
    kinds.NODE: nodes.tainted,
}
_PARTS_OF_PODS = {
    Operation.ADD_EPHEMERAL: _Part(pods.with_ephemeral, validate_pod_parts.add_ephemeral),
    Operation.RESIZE: _Part(pods.with_resources, validate_pod_parts.resize),
}
_NOT_CHANGED = (Operation.DELETE, Operation.CONNECT)
_WITH_SPEC = (Operation.CREATE, Operation.UPDATE, *_PARTS_OF_PODS)


def admit(request: Request, old: Any, view: View, now: Instant, ids: Ids, settings: Settings) -> Admitted:
    """What to store for a request that nobody outside has a say in: `complete` and `finish` in a row."""
    return finish(request, complete(request, old, view, now, ids, settings), old, view, settings)


def complete(request: Request, old: Any, view: View, now: Instant, ids: Ids, settings: Settings) -> Any:
    """The first half: the object that the request asks for, with all that is added to it.

    `old` is the stored object, None for CREATE. Raises `mizzen.api.errors.ApiError` where the request is refused.
    """
    if request.operation in _NOT_CHANGED:
        return old
    obj = _completed(request, old, view, now, ids, settings)
    return policy_changing.change(request, obj, old, view, lambda made, before: redone(request, made, before, old, now))


def _completed(request: Request, old: Any, view: View, now: Instant, ids: Ids, settings: Settings) -> Any:
    if isinstance(request.kind, CustomKind):
        return customs.complete(request, old, view, now, ids)
    match request.operation:
        case Operation.CREATE:
            return _new(request, view, now, ids, settings)
        case Operation.UPDATE:
            return _changed(request, old, now)
        case _:
            return _with_status(request, old, now)


def redone(request: Request, obj: Any, before: Any, old: Any, now: Instant) -> Any:
    """A completed object that somebody has changed since, with defaults again; `before` is what it was.

    Its identity stays, its managers stay those of the request, and what the operation does not own is as it is stored.
    """
    obj = metadata.kept(obj, before)
    if isinstance(request.kind, CustomKind):
        return customs.redone(request, obj, old)
    obj = defaults.apply(obj)
    if old is None:
        return obj
    obj = replace(obj, metadata=replace(obj.metadata, generation=old.metadata.generation))
    return _prepared(request, obj, old, now)


def finish(request: Request, obj: Any, old: Any, view: View, settings: Settings) -> Admitted:
    """The second half, for an object that is complete: the rules of its kind, then what is allocated for it.

    Raises `mizzen.api.errors.ApiError` where the request is refused.
    """
    noderestriction.check(request, obj, old, view)
    admitted = _finished(request, obj, old, view, settings)
    judged = policy_judging.judge(request, admitted.object, old, view)
    if judged is policy_judging.NOTHING:
        return admitted
    warnings = (*admitted.warnings, *judged.warnings)
    annotations = {**admitted.annotations, **judged.annotations}
    return dataclasses.replace(admitted, warnings=warnings, annotations=annotations)


def _finished(request: Request, obj: Any, old: Any, view: View, settings: Settings) -> Admitted:
    match request.operation:
        case Operation.DELETE:
            lifecycle.check_delete(request)
            return Admitted(old)
        case Operation.CREATE:
            obj = _as_new(request, obj)
        case _ if obj == old:
            return Admitted(old)
    if isinstance(request.kind, CustomKind):
        return customs.judged(request, obj, old)
    _refuse(request, obj, _errors(request, obj, old))
    if request.operation not in _WITH_SPEC:
        return Admitted(obj)
    found = policies.check(request, obj, old, view)
    warnings = (*warnings_for(obj), *found.warnings)
    if request.kind is kinds.SERVICE:
        return dataclasses.replace(services.allocate(request, obj, old, view, settings), warnings=warnings)
    return Admitted(obj, warnings, found.annotations)


def _new(request: Request, view: View, now: Instant, ids: Ids, settings: Settings) -> Any:
    obj = defaults.apply(metadata.for_create(request, now, ids))
    managed = ownership.of_new(request, obj, now)
    lifecycle.check_create(request, view, obj.metadata.name)
    if request.kind is kinds.POD:
        obj = pods.complete(request, obj, view)
        if settings.service_accounts:
            obj = accounts.complete(request, obj, view, ids)
    elif request.kind in _COMPLETED:
        obj = _COMPLETED[request.kind](obj, view)
    return objects.with_entries(obj, managed)


def _as_new(request: Request, obj: Any) -> Any:
    """The new object as it begins: nobody has changed it yet, and it has no status."""
    if request.kind is kinds.SERVICE:
        obj = services.normalise(obj)
    elif request.kind is kinds.JOB:
        obj = jobs.select(obj)
    return obj if isinstance(request.kind, CustomKind) else strategy.prepare_create(request, obj)


def _changed(request: Request, old: Any, now: Instant) -> Any:
    obj = defaults.apply(metadata.for_update(request, old))
    if request.kind is kinds.SERVICE:
        obj = services.carry_over(obj, old)
    elif request.kind is kinds.POD:
        obj = pods.keep(obj, old)
    return ownership.carried_on(request, _prepared(request, obj, old, now), old, now)


def _with_status(request: Request, old: Any, now: Instant) -> Any:
    obj = _prepared(request, metadata.for_update(request, old), old, now)
    if request.kind is kinds.PERSISTENT_VOLUME:
        obj = strategy.note_phase(obj, old, now)
    return ownership.carried_on(request, obj, old, now)


def _prepared(request: Request, obj: Any, old: Any, now: Instant) -> Any:
    if request.kind is kinds.CERTIFICATE_SIGNING_REQUEST:
        return certificates.keep(request, obj, old, now)
    if (part := _PARTS_OF_PODS.get(request.operation)) is not None:
        obj = part.keep(defaults.apply(obj), old)
    return strategy.prepare_update(request, obj, old)


def _errors(request: Request, obj: Any, old: Any) -> tuple[FieldError, ...]:
    if old is None:
        return validate.validate_create(obj)
    if request.operation is Operation.UPDATE:
        return validate.validate_update(obj, old)
    if (part := _PARTS_OF_PODS.get(request.operation)) is not None:
        return tuple(part.errors(obj, old))
    return validate.validate_status_update(obj, old)


def _refuse(request: Request, obj: Any, errors: tuple[FieldError, ...]) -> None:
    if errors:
        raise Invalid(request.kind, obj.metadata.name, errors)
