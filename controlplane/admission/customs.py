"""Admission of objects whose kinds users define.

A request is judged by the version it was made in. Without a version it comes from one of the control plane's own
controllers, which change nothing but metadata.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import lifecycle, metadata, ownership
from controlplane.admission.request import Admitted, Operation, Request
from mizzen.api import formats, json_values, structural, structural_rules, validate_meta
from mizzen.api.custom import Custom
from mizzen.api.errors import FieldError, Invalid, MethodNotSupported
from mizzen.api.managed import objects
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View

_STATUS = "status"


def complete(request: Request, old: Any, view: View, now: Instant, ids: Ids) -> Custom:
    """The object that a request asks for; `old` is the stored object, None for CREATE. Raises ApiError."""
    return _new(request, view, now, ids) if old is None else _updated(request, old, now)


def redone(request: Request, obj: Custom, old: Custom | None) -> Custom:
    """A completed object that somebody has changed since, as its schema and the operation want it."""
    if request.served is not None:
        schema = request.served.schema
        obj = replace(obj, content=structural.filled(structural.pruned(obj.content, schema), schema))
    if old is None:
        return replace(obj, content=_without_status(obj)) if _has_status(request) else obj
    obj = replace(obj, metadata=replace(obj.metadata, generation=old.metadata.generation))
    return _owned(request, obj, old)


def judged(request: Request, obj: Custom, old: Custom | None) -> Admitted:
    """What to store. Raises Invalid."""
    if old is None:
        errors = list(validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=request.kind.namespaced))
    else:
        errors = list(validate_meta.update(obj.metadata, old.metadata))
    if request.served is not None:
        errors += structural_rules.problems(request.served, obj, old)
    if errors:
        raise Invalid(request.kind, obj.metadata.name, errors)
    return Admitted(obj)


def _new(request: Request, view: View, now: Instant, ids: Ids) -> Custom:
    if request.served is not None and request.served.terminating:
        raise MethodNotSupported(request.kind, "create")
    obj: Custom = metadata.for_create(request, now, ids)
    if _has_status(request):
        obj = replace(obj, content=_without_status(obj))
    managed = ownership.of_new(request, obj, now)
    obj = replace(obj, metadata=replace(obj.metadata, generation=1, managed_fields=managed))
    lifecycle.check_create(request, view, obj.metadata.name)
    return obj


def _updated(request: Request, old: Custom, now: Instant) -> Custom:
    if request.served is not None and not request.object.metadata.resource_version:
        # Who replaces a user's object must say which state of it they have seen.
        error = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise Invalid(request.kind, old.metadata.name, [error])
    obj = _owned(request, metadata.for_update(request, old), old)
    changed: Custom = ownership.carried_on(request, obj, old, now)
    return changed


def _owned(request: Request, obj: Custom, old: Custom) -> Custom:
    """The changed object with what the operation does not own as it is stored."""
    if request.operation is not Operation.UPDATE_STATUS:
        return _changed(request, obj, old)
    content = _without_status(old)
    if _STATUS in obj.content:
        content[_STATUS] = obj.content[_STATUS]
    return objects.with_entries(replace(old, content=_ordered(content)), obj.metadata.managed_fields)


def _has_status(request: Request) -> bool:
    return request.served is not None and request.served.has_status


def _changed(request: Request, obj: Custom, old: Custom) -> Custom:
    """The object with the status that it had, and the next generation where more than metadata differs."""
    desired, before = obj.content, old.content
    if _has_status(request):
        desired, before = _without_status(obj), _without_status(old)
        kept = {_STATUS: old.content[_STATUS]} if _STATUS in old.content else {}
        obj = replace(obj, content=_ordered({**desired, **kept}))
    if not json_values.same(desired, before):
        obj = replace(obj, metadata=replace(obj.metadata, generation=old.metadata.generation + 1))
    return obj


def _without_status(obj: Custom) -> dict[str, Any]:
    return {name: value for name, value in obj.content.items() if name != _STATUS}


def _ordered(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in sorted(content)}
