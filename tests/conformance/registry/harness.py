"""What the registry's tests share: registries, a store that stumbles, small objects, and waiting for changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from controlplane.store.history import Watcher
from controlplane.store.port import Store
from controlplane.store.registry import Registry
from controlplane.store.values import WatchBatch
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Change
from tests.conformance.store.harness import Backend

DEADLINE_S = 30.0


class Stumbling:
    """A store whose watches can be held up, so that history is gone when they go on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._go = asyncio.Event()
        self._go.set()
        self._stop = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def hold(self) -> None:
        """End the watch's connection and keep it from coming back."""
        self._go.clear()
        self._stop.set()

    def go(self) -> None:
        """Let it connect again, from where it was."""
        self._stop.clear()
        self._go.set()

    async def watch(
        self, prefix: str, from_version: int, *, previous: bool = False
    ) -> AsyncGenerator[WatchBatch, None]:
        """Watch, and begin again at the last version seen after having been held."""
        while True:
            await self._go.wait()
            async with aclosing(self._store.watch(prefix, from_version, previous=previous)) as batches:
                while True:
                    batch = await self._next(batches)
                    if batch is None:
                        break
                    from_version = batch.version
                    yield batch

    async def _next(self, batches: AsyncGenerator[WatchBatch, None]) -> WatchBatch | None:
        coming = asyncio.ensure_future(anext(batches))
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((coming, stopped), return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() and not stopped.done() else None
        finally:
            for future in (coming, stopped):
                future.cancel()
            await asyncio.wait((coming, stopped))


class Registries:
    """Opens registries and closes them."""

    def __init__(self, backend: Backend, store: Store) -> None:
        self.backend = backend
        self.store = store
        self._opened: list[Registry] = []

    async def open(self, store: Any = None, **options: Any) -> Registry:
        """A started registry, over a store of its own unless one is given."""
        registry = Registry(store if store is not None else await self.backend.open(), **options)
        await registry.start()
        self._opened.append(registry)
        return registry

    async def close(self) -> None:
        """Close all of them."""
        for registry in self._opened:
            await registry.close()


def config(name: str, namespace: str = "default", **data: str) -> core.ConfigMap:
    """A small object."""
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}"), data=data)


def version_of(obj: Any) -> int:
    """An object's version as a number."""
    return int(obj.metadata.resource_version)


def told(change: Change) -> tuple[str, str, int]:
    """What a change says: type, name, version."""
    return (str(change.type), change.entry.name, change.version)


async def until(watcher: Watcher, version: int) -> list[Change]:
    """Return the changes that a watch tells up to a version."""
    changes: list[Change] = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            news = await watcher.next(1.0)
            changes += news.changes
            if news.version >= version:
                return changes
