"""List, then watch, for ever: what an observer of a kind wants; and waiting until one object is as wanted.

The observer sees every object's newest state, in order per object, however often the connection is lost. After a gap
that the server can't fill (`Expired`) it lists again and tells the difference, so nothing is missed and nothing that
is gone stays.

Close what you leave early, so that the server's side ends, too:

    async with aclosing(follow(client, kinds.POD, "default")) as events:
        async for event in events: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from mizzen.api import errors
from mizzen.api.kinds import Kind, Object
from mizzen.client.client import Client
from mizzen.client.values import Event

T = TypeVar("T", bound=Object)
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 10.0
_PASSING = (errors.ServiceUnavailable, errors.Timeout, errors.TooManyRequests, errors.ServerTimeout)


async def follow(
    client: Client, kind: Kind[T], namespace: str = "", *, label_selector: str = "", field_selector: str = ""
) -> AsyncGenerator[Event[T], None]:
    """ADDED, MODIFIED and DELETED without end; waits out a cluster that can't be reached. Raises other API errors."""
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
            async with aclosing(client.watch(kind, namespace, resource_version=version, **selection)) as events:
                async for event in events:
                    pause_s = RETRY_FIRST_S
                    version = event.object.metadata.resource_version
                    if event.type != "BOOKMARK":
                        _note(known, event)
                        yield event
        except errors.Expired:
            version = ""
        except _PASSING:
            pass
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, RETRY_MAX_S)


async def states(client: Client, kind: Kind[T], namespace: str, name: str) -> AsyncGenerator[T | None, None]:
    """One object's states without end, the present one first; None stands for none. Waits and raises as `follow`."""
    selector, pause_s = f"metadata.name={name}", RETRY_FIRST_S
    while True:
        try:
            listed = await client.list(kind, namespace, field_selector=selector)
            yield listed.items[0] if listed.items else None
            watched = client.watch(kind, namespace, resource_version=listed.resource_version, field_selector=selector)
            async with aclosing(watched) as events:
                async for event in events:
                    pause_s = RETRY_FIRST_S
                    if event.type != "BOOKMARK":
                        yield None if event.type == "DELETED" else event.object
        except (errors.Expired, *_PASSING):
            pass
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, RETRY_MAX_S)


async def wait_for(
    client: Client, kind: Kind[T], namespace: str, name: str, done: Callable[[T | None], bool]
) -> T | None:
    """Return an object's state once `done` says so of it; None stands for no object. Bound it by a timeout."""
    async with aclosing(states(client, kind, namespace, name)) as every:
        async for state in every:
            if done(state):
                return state
    raise AssertionError("states have no end")


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
