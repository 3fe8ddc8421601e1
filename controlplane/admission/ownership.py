"""Who is known to have set which field: `metadata.managedFields` through a write.

A writer owns what the write has changed, seen after defaults and before addresses are given out. The details are in
`mizzen.api.managed`.
"""

from __future__ import annotations

from typing import Any

from controlplane.admission.request import Request
from mizzen.api import times
from mizzen.api.custom import CustomKind
from mizzen.api.managed import entries, objects
from mizzen.api.managed.entries import Entries, Writer
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant


def begun(request: Request, stored: meta.ObjectMeta) -> Entries:
    """The entries that an update starts from: the stored ones, or those that a client sends in their place."""
    given: Entries = request.object.metadata.managed_fields
    if request.writer is None or not given or given == stored.managed_fields:
        return stored.managed_fields
    if request.applied:
        return given
    if request.writer.subresource:
        return stored.managed_fields
    if entries.is_reset(given):
        return ()
    return entries.accepted(given) or stored.managed_fields


def of_new(request: Request, obj: Any, now: Instant) -> Entries:
    """The entries of a new object; its status is not its creator's, whoever sends one along."""
    if request.applied:
        managed: Entries = request.object.metadata.managed_fields
        return managed
    if request.writer is None:
        return ()
    if isinstance(request.kind, CustomKind):
        return objects.created_custom(obj, request.served or request.kind, request.writer, times.render(now))
    return objects.created(obj, request.writer, times.render(now), without=("status",))


def carried_on(request: Request, obj: Any, old: Any, now: Instant) -> Any:
    """The changed object with its entries; the old one where nothing has changed but times of entries."""
    if request.writer is None:
        return obj
    if not request.applied:
        return objects.with_entries(obj, _updated(request, request.writer, obj, old, times.render(now)))
    before: Entries = old.metadata.managed_fields
    same = entries.same_but_for_times(before, obj.metadata.managed_fields)
    return old if same and objects.with_entries(obj, before) == old else obj


def _updated(request: Request, writer: Writer, obj: Any, old: Any, time: str) -> Entries:
    if isinstance(request.kind, CustomKind):
        return objects.updated_custom(old, obj, request.served or request.kind, writer, time)
    return objects.updated(old, obj, writer, time)
