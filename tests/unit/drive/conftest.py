"""A cluster in memory to drive: a registry over the memory store, time of the event loop, everything admitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from controlplane.admission.effects import Effectual, write_of
from controlplane.admission.request import Settings
from controlplane.drive.perform import Performer
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from controlplane.store.values import Committed, Conflict, Op, Require
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Emit
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write
from tests.conformance.registry.harness import Stumbling

BEGAN_MS = 1_700_000_000_000
DEADLINE_S = 60.0


class LoopClock:
    """The event loop's time, so that tests which skip time take their clocks with them."""

    def now(self) -> Instant:
        """Milliseconds since the epoch, more or less."""
        return BEGAN_MS + self.monotonic_ms()

    def monotonic_ms(self) -> int:
        """Milliseconds of the loop."""
        return round(asyncio.get_running_loop().time() * 1000)


class CountingStore(MemoryStore):
    """Remembers how many operations each commit had, and can do something just before one."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend)
        self.commits: list[int] = []
        self.before: Callable[[], Awaitable[Any]] | None = None

    async def commit(self, ops: tuple[Op, ...], *, deadline_s: float = 10.0) -> Committed | Conflict:
        self.commits.append(len(ops))
        before, self.before = self.before, None
        if before is not None:
            await before()
        return await super().commit(ops, deadline_s=deadline_s)


class Cluster:
    """What the drivers' tests work on."""

    def __init__(self, backend: MemoryBackend) -> None:
        self.backend = backend
        self.store = CountingStore(backend)
        self.log = Stumbling(self.store)
        self.registry = Registry(self.log)
        self.clock = LoopClock()
        self.ids = SeededIds(7)
        self.emitted: list[Emit] = []
        self.write_of: Callable[[Effectual, View, Instant, Ids], Write | None] = partial(_write_of, Settings())
        self.performer = Performer(self.registry, self.write_of, self.emitted.append, self.clock, self.ids)
        self.fence = Require("/mizzen/leader/test", 0)

    async def start(self) -> None:
        """Open, with one namespace."""
        await self.registry.start()
        await self.registry.create(core.Namespace(metadata=meta.ObjectMeta(name="default")))
        self.store.commits.clear()

    async def close(self) -> None:
        """Close."""
        await self.registry.close()
        await self.store.close()

    async def lose_leadership(self) -> None:
        """From now on the fence does not hold."""
        async with self.other().campaign("test", "other", 5):
            await asyncio.Event().wait()

    def other(self) -> MemoryStore:
        """Somebody else's store over the same data."""
        return MemoryStore(self.backend)

    async def until(self, met: Callable[[], Any]) -> None:
        """Wait until a condition holds; it is looked at after every change and every second."""
        changed = asyncio.Event()

        def woken(changes: Any, revision: int) -> None:
            changed.set()

        self.registry.subscribe(woken)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not met():
                    changed.clear()
                    try:
                        async with asyncio.timeout(1):
                            await changed.wait()
                    except TimeoutError:
                        continue
        finally:
            self.registry.unsubscribe(woken)


def _write_of(settings: Settings, effect: Effectual, view: View, now: Instant, ids: Ids) -> Write | None:
    return write_of(effect, view, now, ids, settings)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A cluster with nothing in it but a namespace."""
    made = Cluster(MemoryBackend())
    await made.start()
    yield made
    await made.close()


def pod(name: str, *, cpu: str = "100m", **spec: Any) -> core.Pod:
    """A pod as a user would write it."""
    container = core.Container(
        name="main", image="app:1", resources=core.ResourceRequirements(requests={"cpu": cpu, "memory": "1Mi"})
    )
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default"), spec=core.PodSpec(containers=(container,), **spec)
    )


def config(name: str, **data: str) -> core.ConfigMap:
    """A small object."""
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data=data)
