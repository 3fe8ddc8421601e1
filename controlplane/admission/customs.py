"""Admission of objects whose kinds users define.

A request is judged by the version it was made in. Without a version it comes from one of the control plane's own
controllers, which change nothing but metadata.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import lifecycle, metadata, ownership
from controlplane.admission.request import Admitted, Operation, Request
from mizzen.api import formats, structural, structural_rules, validate_meta
from mizzen.api.custom import Custom
from mizzen.api.errors import FieldError, Invalid, MethodNotSupported
from mizzen.api.managed import objects
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View

_STATUS = "status"


def admit(request: Request, old: Any, view: View, now: Instant, ids: Ids) -> Admitted:
    """What to store for a request; `old` is the stored object, None for CREATE. Raises ApiError."""
    match request.operation:
        case Operation.CREATE:
            return _create(request, view, now, ids)
        case Operation.DELETE:
            return Admitted(old)
        case _:
            return _update(request, old, now)


def _create(request: Request, view: View, now: Instant, ids: Ids) -> Admitted:
    if request.served is not None and request.served.terminating:
        raise MethodNotSupported(request.kind, "create")
    obj: Custom = metadata.for_create(request, now, ids)
    if request.served is not None and request.served.has_status:
        obj = replace(obj, content=_without_status(obj))
    managed = ownership.of_new(request, obj, now)
    obj = replace(obj, metadata=replace(obj.metadata, generation=1, managed_fields=managed))
    lifecycle.check_create(request, view, obj.metadata.name)
    errors = list(validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=request.kind.namespaced))
    return _judged(request, obj, None, errors)


def _update(request: Request, old: Custom, now: Instant) -> Admitted:
    if request.served is not None and not request.object.metadata.resource_version:
        # Who replaces a user's object must say which state of it they have seen.
        error = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise Invalid(request.kind, old.metadata.name, [error])
    obj: Custom = metadata.for_update(request, old)
    if request.operation is Operation.UPDATE_STATUS:
        content = _without_status(old)
        if _STATUS in obj.content:
            content[_STATUS] = obj.content[_STATUS]
        obj = objects.with_entries(replace(old, content=_ordered(content)), obj.metadata.managed_fields)
    else:
        obj = _changed(request, obj, old)
    obj = ownership.carried_on(request, obj, old, now)
    if obj == old:
        return Admitted(old)
    return _judged(request, obj, old, list(validate_meta.update(obj.metadata, old.metadata)))


def _changed(request: Request, obj: Custom, old: Custom) -> Custom:
    """The object with the status that it had, and the next generation where more than metadata differs."""
    desired, before = obj.content, old.content
    if request.served is not None and request.served.has_status:
        desired, before = _without_status(obj), _without_status(old)
        kept = {_STATUS: old.content[_STATUS]} if _STATUS in old.content else {}
        obj = replace(obj, content=_ordered({**desired, **kept}))
    if not structural.same(desired, before):
        obj = replace(obj, metadata=replace(obj.metadata, generation=old.metadata.generation + 1))
    return obj


def _judged(request: Request, obj: Custom, old: Custom | None, errors: list[FieldError]) -> Admitted:
    if request.served is not None:
        errors += structural_rules.problems(request.served, obj, old)
    if errors:
        raise Invalid(request.kind, obj.metadata.name, errors)
    return Admitted(obj)


def _without_status(obj: Custom) -> dict[str, Any]:
    return {name: value for name, value in obj.content.items() if name != _STATUS}


def _ordered(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in sorted(content)}
