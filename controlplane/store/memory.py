"""The store's twin without etcd: the same port over the pure model, for tests and for running without a disk.

Several `MemoryStore`s over one `MemoryBackend` are what several control planes over one etcd are. The backend carries
the faults that the conformance suite and other tests need: a freeze, answers that get lost, leases that expire. It
passes the same suite as the etcd store; it does not survive its process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from controlplane.store.keys import leader_key
from controlplane.store.model import Model
from controlplane.store.values import (
    DEADLINE_S,
    Closed,
    Committed,
    Conflict,
    Op,
    Page,
    Put,
    Record,
    Remove,
    Require,
    Unavailable,
    UnknownOutcome,
    WatchBatch,
    check,
)


class MemoryLeadership:
    """Leadership of one name; see `port.Leadership`."""

    def __init__(self, identity: str, fence: Require) -> None:
        """Hold what a leader needs to know."""
        self.identity = identity
        self.fence = fence
        self.lost = asyncio.Event()


class MemoryBackend:
    """What the stores of one cluster share: the model, who leads, and the faults that a test asks for."""

    def __init__(self, model: Model | None = None) -> None:
        """Begin with an empty model, or with one that was prepared."""
        self.model = model or Model()
        self.leaders: dict[str, MemoryLeadership] = {}
        self.lose_answers = 0
        self.frozen = False
        self._changed = asyncio.Event()

    def freeze(self) -> None:
        """Answer nothing until `thaw`."""
        self.frozen = True

    def thaw(self) -> None:
        """Answer again."""
        self.frozen = False
        self.wake()

    def expire(self, name: str) -> None:
        """Let the lease of the leader of `name` run out, as when its process hangs."""
        leadership = self.leaders.pop(name, None)
        if leadership is not None:
            self.write((Remove(leadership.fence.key, leadership.fence.expect),))
            leadership.lost.set()

    def write(self, ops: tuple[Op, ...]) -> Committed | Conflict:
        """Commit to the model and wake whoever waits for a change."""
        outcome = self.model.commit(ops)
        if isinstance(outcome, Committed):
            self.wake()
        return outcome

    def change(self) -> asyncio.Event:
        """Return the event that the next change sets. Take it before looking, so that no change is missed."""
        return self._changed

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()


class MemoryStore:
    """The store port in memory."""

    def __init__(self, backend: MemoryBackend | None = None) -> None:
        """Open a store of its own, or one over a shared backend."""
        self.backend = backend or MemoryBackend()
        self._closed = False

    async def commit(self, ops: tuple[Op, ...], *, deadline_s: float = DEADLINE_S) -> Committed | Conflict:
        """See `port.Store.commit`."""
        check(ops)
        await self._reach(deadline_s)
        outcome = self.backend.write(ops)
        if self.backend.lose_answers:
            self.backend.lose_answers -= 1
            raise UnknownOutcome(f"the answer to a commit of {ops[0].key} was lost; read it before going on")
        return outcome

    async def get(self, key: str) -> Record | None:
        """See `port.Store.get`."""
        await self._reach()
        return self.backend.model.get(key)

    async def range(self, prefix: str, *, start_after: str = "", limit: int = 0, version: int = 0) -> Page:
        """See `port.Store.range`."""
        await self._reach()
        return self.backend.model.range(prefix, start_after=start_after, limit=limit, version=version)

    async def current(self) -> int:
        """See `port.Store.current`."""
        await self._reach()
        return self.backend.model.current

    async def watch(
        self, prefix: str, from_version: int, *, previous: bool = False
    ) -> AsyncGenerator[WatchBatch, None]:
        """See `port.Store.watch`; `previous` is always given, since it costs nothing here."""
        seen = from_version
        while True:
            await self._reach()
            change = self.backend.change()
            batch = self.backend.model.since(prefix, seen)
            if batch.version > seen:
                seen = batch.version
                yield batch
            else:
                await change.wait()

    async def compact(self, version: int) -> None:
        """See `port.Store.compact`."""
        await self._reach()
        self.backend.model.compact(version)

    @asynccontextmanager
    async def campaign(self, name: str, identity: str, ttl_s: int) -> AsyncIterator[MemoryLeadership]:
        """See `port.Store.campaign`. Nothing runs out here but by `MemoryBackend.expire`, so `ttl_s` has no use."""
        key = leader_key(name)
        while True:
            await self._reach()
            change = self.backend.change()
            outcome = self.backend.write((Put(key, identity.encode(), 0),))
            if isinstance(outcome, Committed):
                break
            await change.wait()
        leadership = MemoryLeadership(identity, Require(key, outcome.version))
        self.backend.leaders[name] = leadership
        try:
            yield leadership
        finally:
            if self.backend.leaders.get(name) is leadership:
                self.backend.expire(name)

    async def close(self) -> None:
        """See `port.Store.close`."""
        self._closed = True
        self.backend.wake()

    async def _reach(self, deadline_s: float = DEADLINE_S) -> None:
        """Return when the backend answers. Raises `Unavailable` after `deadline_s` seconds, or `Closed`."""
        self._check_open()
        if not self.backend.frozen:
            return
        try:
            async with asyncio.timeout(deadline_s):
                while self.backend.frozen:
                    await self.backend.change().wait()
                    self._check_open()
        except TimeoutError as error:
            raise Unavailable(f"the store did not answer within {deadline_s} s") from error

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the store is closed")
