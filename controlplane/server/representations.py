"""Kinds that are another kind's storage seen differently: a second group or version, users' kinds in their versions.

Events are stored as those of `v1` and seen in `events.k8s.io/v1`, too; autoscalers are stored as those of
`autoscaling/v2` and seen in `autoscaling/v1`, too; users' kinds are stored under their hub. Requests in another form
are translated on the way in and out. What is stored of a user's kind may be older than its schema, so what is shown is
pruned and filled again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.api import autoscaling, codec, custom, kinds
from mizzen.api.custom import Custom, CustomKind, in_version
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1 as core
from mizzen.api.types import events_v1 as events
from mizzen.engine.entry import Entry


def storage(kind: Kind[Any]) -> Kind[Any]:
    """The kind that objects of this kind are stored as; itself where nothing is stored of it."""
    if isinstance(kind, CustomKind):
        return kind.storage
    return _STORED_AS.get(kind, kind)


def shown(kind: Kind[Any], obj: Any) -> Any:
    """A stored object as an object of `kind`; what is none of the kind's own objects, such as a scale, stays itself."""
    if isinstance(kind, CustomKind):
        return in_version(kind, obj) if isinstance(obj, Custom) else obj
    translate = _SHOWN.get(kind)
    return obj if translate is None or not isinstance(obj, storage(kind).type) else translate(obj)


def stored(obj: Any) -> Any:
    """An object as it is stored."""
    if isinstance(obj, Custom):
        return custom.stored(obj)
    translate = _STORED.get(type(obj))
    return obj if translate is None else translate(obj)


def shown_raw(kind: Kind[Any], entry: Entry) -> bytes:
    """A stored object's JSON as an object of `kind`."""
    if kind.stored:
        return entry.raw
    old = entry.object()
    new = shown(kind, old)
    same = isinstance(kind, CustomKind) and kind.version == old.form and new.content is old.content
    return entry.raw if same else codec.encode_json(new)


def in_table(kind: Kind[Any], obj: Any) -> Any:
    """A stored object as its table reads it; the table's kinds are read as they are stored."""
    return shown(kind, obj) if isinstance(kind, CustomKind) else obj


def empty(kind: Kind[Any]) -> Any:
    """An object of a kind of which nothing is known."""
    return Custom(of=kind) if isinstance(kind, CustomKind) else kind.type()


def _to_events(event: core.Event) -> events.Event:
    old = event.series
    series = events.EventSeries(count=old.count, last_observed_time=old.last_observed_time or None) if old else None
    return events.Event(
        metadata=event.metadata,
        event_time=event.event_time or None,
        series=series,
        reporting_controller=event.reporting_component,
        reporting_instance=event.reporting_instance,
        action=event.action,
        reason=event.reason,
        regarding=event.involved_object,
        related=event.related,
        note=event.message,
        type=event.type,
        deprecated_source=event.source,
        deprecated_first_timestamp=event.first_timestamp,
        deprecated_last_timestamp=event.last_timestamp,
        deprecated_count=event.count,
    )


def _from_events(event: events.Event) -> core.Event:
    old = event.series
    series = core.EventSeries(count=old.count, last_observed_time=old.last_observed_time or "") if old else None
    return core.Event(
        metadata=event.metadata,
        event_time=event.event_time or "",
        series=series,
        reporting_component=event.reporting_controller,
        reporting_instance=event.reporting_instance,
        action=event.action,
        reason=event.reason,
        involved_object=event.regarding,
        related=event.related,
        message=event.note,
        type=event.type,
        source=event.deprecated_source,
        first_timestamp=event.deprecated_first_timestamp,
        last_timestamp=event.deprecated_last_timestamp,
        count=event.deprecated_count,
    )


_STORED_AS: dict[Kind[Any], Kind[Any]] = {
    kinds.EVENTS_EVENT: kinds.EVENT,
    kinds.HORIZONTAL_POD_AUTOSCALER_V1: kinds.HORIZONTAL_POD_AUTOSCALER,
}
_SHOWN: dict[Kind[Any], Callable[[Any], Any]] = {
    kinds.EVENTS_EVENT: _to_events,
    kinds.HORIZONTAL_POD_AUTOSCALER_V1: autoscaling.to_v1,
}
_STORED: dict[type[Any], Callable[[Any], Any]] = {
    kinds.EVENTS_EVENT.type: _from_events,
    kinds.HORIZONTAL_POD_AUTOSCALER_V1.type: autoscaling.to_v2,
}
