"""Reading a watch in tests: until a version, or in the background while something else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from controlplane.store.port import EventType, Store, WatchEvent

DEADLINE_S = 20.0


class Collector:
    """The events of one watch as they come in; checks that they are in order and announced truthfully."""

    def __init__(self, store: Store, prefix: str, from_version: int) -> None:
        self.events: list[WatchEvent] = []
        self.version = from_version
        self._store = store
        self._prefix = prefix
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Collect until cancelled."""
        async with aclosing(self._store.watch(self._prefix, self.version, previous=True)) as batches:
            async for batch in batches:
                versions = [self.version, *(event.version for event in batch.events)]
                assert versions == sorted(set(versions)), "events come once and in order"
                assert batch.version > self.version, "a batch advances"
                assert batch.version >= versions[-1], "a batch announces at least what it holds"
                async with self._moved:
                    self.events += batch.events
                    self.version = batch.version
                    self._moved.notify_all()

    async def reached(self, version: int) -> list[WatchEvent]:
        """Return the events once the watch has got as far as `version`."""
        async with asyncio.timeout(DEADLINE_S), self._moved:
            await self._moved.wait_for(lambda: self.version >= version)
        return list(self.events)

    async def received(self, number: int) -> None:
        """Return once at least `number` events have come in."""
        async with asyncio.timeout(DEADLINE_S), self._moved:
            await self._moved.wait_for(lambda: len(self.events) >= number)


@asynccontextmanager
async def collecting(store: Store, prefix: str, from_version: int) -> AsyncIterator[Collector]:
    """Collect in the background; a watch that fails fails the test."""
    collector = Collector(store, prefix, from_version)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(collector.run())
        yield collector
        task.cancel()


async def events_since(store: Store, prefix: str, from_version: int) -> list[WatchEvent]:
    """Return everything that happened under `prefix` after `from_version` until now."""
    now = await store.current()
    if now <= from_version:
        return []
    async with collecting(store, prefix, from_version) as collector:
        return await collector.reached(now)


def state_after(events: list[WatchEvent]) -> dict[str, tuple[bytes, int]]:
    """Return what events leave behind: value and version of each key."""
    state: dict[str, tuple[bytes, int]] = {}
    for event in events:
        if event.type is EventType.PUT:
            state[event.key] = (event.value, event.version)
        else:
            del state[event.key]
    return state
