"""List, then watch, for ever: what an observer of a kind wants.

The observer sees every object's newest state, in order per object, however often the connection is lost. After a gap
that the server can't fill (`Expired`) it lists again and tells the difference, so nothing is missed and nothing that
is gone stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from mizzen.api import errors
from mizzen.api.kinds import Kind, Object
from mizzen.client.client import Client, Event

T = TypeVar("T", bound=Object)
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 10.0
_PASSING = (errors.ServiceUnavailable, errors.Timeout, errors.TooManyRequests, errors.ServerTimeout)


async def follow(
    client: Client, kind: Kind[T], namespace: str = "", *, label_selector: str = "", field_selector: str = ""
) -> AsyncIterator[Event[T]]:
    """ADDED, MODIFIED and DELETED without end; waits out a cluster that can't be reached."""
    selection: dict[str, Any] = {"label_selector": label_selector, "field_selector": field_selector}
    known: dict[tuple[str, str], T] = {}
    version, pause_s = "", RETRY_FIRST_S
    while True:
        try:
            if not version:
                listed = await client.list(kind, namespace, **selection)
                version = listed.resource_version
                for event in _difference(known, listed.items):
                    yield event
            async for event in client.watch(kind, namespace, resource_version=version, **selection):
                pause_s = RETRY_FIRST_S
                version = event.object.metadata.resource_version
                if event.type != "BOOKMARK":
                    _note(known, event)
                    yield event
        except errors.Expired:
            version = ""
        except _PASSING:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)


def _place(obj: Object) -> tuple[str, str]:
    return obj.metadata.namespace, obj.metadata.name


def _note(known: dict[tuple[str, str], T], event: Event[T]) -> None:
    if event.type == "DELETED":
        known.pop(_place(event.object), None)
    else:
        known[_place(event.object)] = event.object


def _difference(known: dict[tuple[str, str], T], items: tuple[T, ...]) -> list[Event[T]]:
    """What changed between what was known and a new list; `known` is brought up to date."""
    present = {_place(item): item for item in items}
    gone = [place for place in known if place not in present]
    events: list[Event[T]] = [Event("DELETED", known.pop(place)) for place in gone]
    for place, item in present.items():
        before = known.get(place)
        if before is None:
            events.append(Event("ADDED", item))
        elif before.metadata.resource_version != item.metadata.resource_version:
            events.append(Event("MODIFIED", item))
        known[place] = item
    return events
