"""From `Emit` effects to Event objects: repeats are counted, floods are combined.

Kubernetes' rules: the same message about the same object within ten minutes raises the count of one event; when more
than ten different messages with one reason come together, the rest is counted in one event "(combined from similar
events)". Which events there are is read from the view, so nothing has to be remembered.
What it is not: it writes nothing and drops nothing; the recorder bounds how much comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from mizzen.api import times
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.effects import Emit
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write, creation, replacement

SAME_WITHIN_MS = 600_000
"""How long after its last time an event is still counted on."""
SIMILAR_MAX = 10
"""How many events with one reason an object may have before further ones are combined."""
_SUFFIX = 16
_NAME_MAX = 253 - 1 - _SUFFIX
COMBINED = "(combined from similar events): "
"""Begins the message of an event that stands for several."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened to one object, how often, and when last."""

    emit: Emit
    count: int
    at: Instant


def writes_of(happenings: Sequence[Happening], view: View, ids: Ids) -> list[Write]:
    """Return the writes that record `happenings`, all of them about one object."""
    if not happenings:
        return []
    uid = happenings[0].emit.regarding.metadata.uid
    stored = {event.metadata.name: event for event in view.select(indexes.EVENTS_BY_REGARDING, uid)}
    recorded = dict(stored)
    for happening in happenings:
        event = _recorded(happening, tuple(recorded.values()), ids)
        recorded[event.metadata.name] = event
    return [
        replacement(event, int(event.metadata.resource_version)) if event.metadata.resource_version else creation(event)
        for name, event in recorded.items()
        if event is not stored.get(name)
    ]


def _recorded(happening: Happening, events: Sequence[core_v1.Event], ids: Ids) -> core_v1.Event:
    """The event that counts this happening: one there is already, or a new one."""
    emit = happening.emit
    similar = [event for event in events if _is_similar(event, emit) and _is_recent(event, happening.at)]
    same = (emit.message, emit.field_path)
    found = next((event for event in similar if (event.message, event.involved_object.field_path) == same), None)
    if found is not None or len(similar) < SIMILAR_MAX:
        message = emit.message
    else:
        found = next((event for event in similar if event.message.startswith(COMBINED)), None)
        message = COMBINED + emit.message
    return _first(happening, message, ids) if found is None else _again(found, happening, message)


def _is_similar(event: core_v1.Event, emit: Emit) -> bool:
    return (event.reason, event.type, event.source.component) == (emit.reason, emit.type, emit.component)


def _is_recent(event: core_v1.Event, at: Instant) -> bool:
    return bool(event.last_timestamp) and at - times.parse(event.last_timestamp) < SAME_WITHIN_MS


def _again(event: core_v1.Event, happening: Happening, message: str) -> core_v1.Event:
    return replace(
        event, count=event.count + happening.count, last_timestamp=times.render(happening.at), message=message
    )


def _first(happening: Happening, message: str, ids: Ids) -> core_v1.Event:
    emit, at = happening.emit, times.render(happening.at)
    regarding = emit.regarding
    about = regarding.metadata
    return core_v1.Event(
        metadata=meta_v1.ObjectMeta(
            name=f"{about.name[:_NAME_MAX]}.{ids.suffix('events', _SUFFIX)}",
            namespace=about.namespace or "default",
            uid=ids.uid("events"),
            creation_timestamp=at,
        ),
        involved_object=core_v1.ObjectReference(
            api_version=regarding.api_version,
            kind=regarding.kind,
            namespace=about.namespace,
            name=about.name,
            uid=about.uid,
            resource_version=about.resource_version,
            field_path=emit.field_path,
        ),
        reason=emit.reason,
        message=message,
        type=emit.type,
        source=core_v1.EventSource(component=emit.component),
        reporting_component=emit.component,
        first_timestamp=at,
        last_timestamp=at,
        count=happening.count,
    )
