"""The registry: Kubernetes objects, typed, over the store of bytes. What the API servers and the drivers use.

Why: it is the one place where objects become bytes, where versions become `metadata.resourceVersion`, and where the
cache, the history of changes and the store are kept in step.
What it is not: it admits, defaults and authorises nothing, and decides nothing; it stores what it is given.

Vocabulary
- *own write*: one made through this registry. It is in the cache when the call returns, before the log tells of it.
- *revision*: the version up to which the log has told everything; the version of lists. See `mizzen.engine.replica`.
- *fence*: the proof of leadership that a controller's writes carry; they bounce as `NotLeader` without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from controlplane.store.follow import Follower, Latest, Subscriber
from controlplane.store.history import Watcher
from controlplane.store.keys import leader_key
from controlplane.store.objects import Objects
from controlplane.store.pages import ListPage, Pages
from controlplane.store.port import Store
from controlplane.store.values import DEADLINE_S, Conflict, Op, Put, Record, Remove, Require
from mizzen.api import errors
from mizzen.api.catalog import Catalog
from mizzen.api.kinds import Kind, Object
from mizzen.api.types import meta_v1 as meta
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import HOT_MAX, Cache
from mizzen.engine.entry import Entry
from mizzen.engine.replica import Told
from mizzen.engine.view import Index, View
from mizzen.engine.writes import Write, creation, removal, replacement, unfolded

T = TypeVar("T", bound=Object)

FRESH_DEADLINE_S = 5.0
"""How long a read that must be fresh waits for the cache, in seconds."""
REACH_DEADLINE_S = 3.0
"""How long a read waits for a version that somebody claims to know of, in seconds."""
_TOO_LARGE = meta.StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version")


class NotLeader(Exception):
    """A fenced commit did not happen, because its leadership is over. Stop deciding."""


class Bounced(Exception):
    """A commit did not happen, because one of its extra operations met something else at its key."""

    def __init__(self, key: str, current: Record | None) -> None:
        """Keep the key and what is there now (None: nothing)."""
        super().__init__(f"{key} is at version {current.version if current else 0}, not at the one expected")
        self.key = key
        self.current = current


class Registry:
    """Objects: written through to the store, read from the cache."""

    def __init__(
        self,
        store: Store,
        *,
        declared: Iterable[Index[Any]] = indexes.ALL,
        hot_max: int = HOT_MAX,
    ) -> None:
        """Use `store`; nothing is read before `start`."""
        self._store = store
        self._objects = Objects()
        self._cache = Cache(declared, hot_max)
        self._follower = Follower(store, self._objects, self._cache)
        self._latest = Latest(store)
        self._pages = Pages(store, self._objects, self._follower.replica)

    async def start(self) -> None:
        """List everything and begin to follow the log. Raises StoreError when the store cannot be read."""
        await self._follower.start()

    async def close(self) -> None:
        """Stop following; the cache stays readable as it is. The store is its owner's to close."""
        await self._follower.close()

    async def ended(self) -> None:
        """Wait until following ends: returns after `close`, raises if it broke. The process supervises this."""
        await self._follower.ended()

    @property
    def revision(self) -> int:
        """Every change up to this version is in the cache and has been told to watchers and subscribers."""
        return self._cache.revision

    @property
    def view(self) -> View:
        """What decisions read: everything known now, own writes included. It moves on whenever the reader suspends."""
        return self._cache

    @property
    def catalog(self) -> Catalog:
        """The kinds that there are."""
        return self._cache.catalog

    @property
    def cache(self) -> Cache:
        """The cache behind `view`, for who needs entries and bytes."""
        return self._cache

    async def leader(self, name: str) -> str:
        """Who leads under a name, as they call themselves; empty when nobody does. Raises StoreError."""
        held = await self._store.get(leader_key(name))
        return "" if held is None else held.value.decode()

    # -- writing ---------------------------------------------------------------------------------------------------

    async def create(self, obj: T, *, fence: Require | None = None) -> T:
        """Store a new object and return it with its version. Raises `AlreadyExists`, StoreError, `NotLeader`."""
        created: T = (await self.commit((creation(obj),), fence=fence))[0]
        return created

    async def update(self, obj: T, expect: int, *, fence: Require | None = None) -> T:
        """Replace an object that is at version `expect`. Raises `NotFound`, `Conflict`, StoreError, `NotLeader`."""
        updated: T = (await self.commit((replacement(obj, expect),), fence=fence))[0]
        return updated

    async def delete(self, kind: Kind[T], namespace: str, name: str, expect: int, *, fence: Require | None = None) -> T:
        """Remove an object that is at version `expect`; return its last state with the version of the deletion.

        Raises `NotFound`, `Conflict`, StoreError, `NotLeader`.
        """
        deleted: T = (await self.commit((removal(kind, namespace, name, expect),), fence=fence))[0]
        return deleted

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        fence: Require | None = None,
        extra: Sequence[Op] = (),
        deadline_s: float = DEADLINE_S,
    ) -> tuple[Any, ...]:
        """Do all writes and the `extra` raw operations, or nothing; return the objects with their versions.

        Each write is followed by those that it brings along, in what is done and in what is returned.
        Raises `AlreadyExists`, `Conflict` or `NotFound` for the write that is in the way, `Bounced` for an extra
        operation, `NotLeader` for the fence, and StoreError (after `UnknownOutcome` call `fresh` before deciding on).
        """
        writes = unfolded(writes)
        last = [await self._last(write) for write in writes]
        rests = [b"" if write.object is None else canonical.rest(write.object) for write in writes]
        ops = [self._op(write, resting) for write, resting in zip(writes, rests, strict=True)]
        guards = (*extra, fence) if fence is not None else tuple(extra)
        outcome = await self._store.commit((*ops, *guards), deadline_s=deadline_s)
        if isinstance(outcome, Conflict):
            raise self._refusal(outcome, writes, ops, fence)
        return tuple(
            self._wrote(write, resting, before, version)
            for write, resting, before, version in zip(writes, rests, last, outcome.versions, strict=False)
        )

    # -- reading ---------------------------------------------------------------------------------------------------

    async def fresh(self, deadline_s: float = FRESH_DEADLINE_S) -> int:
        """Wait until the cache holds every commit acknowledged before this call; return that version.

        Raises `errors.Timeout` when the cache does not catch up in time, StoreError when the store does not answer.
        """
        version = await self._latest.version()
        if version <= self.revision:
            return version
        try:
            async with asyncio.timeout(deadline_s):
                await self._follower.reach(version)
        except TimeoutError as error:
            raise errors.Timeout("the cache is behind the store; try again", retry_after_s=1) from error
        return version

    async def reach(self, version: int, deadline_s: float = REACH_DEADLINE_S) -> None:
        """Wait until the revision is at least `version`. Raises `errors.Timeout`."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._follower.reach(version)
        except TimeoutError as error:
            why = f"Too large resource version: {version}, current: {self.revision}"
            raise errors.Timeout(why, retry_after_s=1, causes=(_TOO_LARGE,)) from error

    def entries(self, kind: Kind[Any], namespace: str = "") -> Sequence[Entry]:
        """Return a kind's entries exactly at `revision`, by (namespace, name)."""
        return self._follower.replica.confirmed(kind, namespace)

    async def page(
        self, kind: Kind[Any], namespace: str, limit: int, *, version: int = 0, after: tuple[str, str] | None = None
    ) -> ListPage:
        """Return at most `limit` (0: all) entries at one version, those after (namespace, name) `after`.

        Without `version` the list is at the current revision; the following pages ask for the first one's version.
        Raises `Expired` when the store has forgotten that version.
        """
        return await self._pages.page(kind, namespace, limit, version=version or self.revision, after=after)

    def watch(self, kind: Kind[Any], namespace: str, from_version: int) -> Watcher:
        """Return a watch of the changes after `from_version`; 0 begins now. Raises `Expired` when that is too old."""
        return Watcher(self._follower.history, kind, namespace, from_version or self.revision)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with every batch of changes from now on, in order; it must not raise and not block."""
        self._follower.subscribe(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop calling `subscriber`."""
        self._follower.unsubscribe(subscriber)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _op(self, write: Write, resting: bytes) -> Op:
        key = self._objects.key(write.kind, write.namespace, write.name)
        if write.object is None:
            return Remove(key, write.expect)
        return Put(key, resting, write.expect)

    async def _last(self, write: Write) -> Entry | None:
        """The state that a removal removes: from the cache, or from the store where the cache has another version."""
        if write.object is not None:
            return None
        entry = self._cache.entry(write.kind, write.namespace, write.name)
        if entry is not None and entry.version == write.expect:
            return entry
        record = await self._store.get(self._objects.key(write.kind, write.namespace, write.name))
        if record is None:
            raise errors.NotFound(write.kind, write.name)
        if record.version != write.expect:
            raise errors.Conflict(write.kind, write.name)
        told = self._objects.told(record, self._cache.entry)
        if told is None or told.raw is None:
            raise errors.InternalError(f"the stored {write.kind.kind} {write.name!r} cannot be read")
        return Entry(write.kind, write.namespace, write.name, told.version, told.raw, told.decoded)

    def _wrote(self, write: Write, resting: bytes, last: Entry | None, version: int) -> Any:
        place = (write.kind, write.namespace, write.name)
        if last is not None:
            self._follower.replica.wrote(Told(*place, version, None))
            return canonical.at_version(last.object(), version)
        obj = canonical.at_version(write.object, version)
        self._follower.replica.wrote(Told(*place, version, canonical.stamp(write.kind, resting, version), obj))
        return obj

    def _refusal(
        self, outcome: Conflict, writes: Sequence[Write], ops: Sequence[Op], fence: Require | None
    ) -> Exception:
        for write, op in zip(writes, ops, strict=True):
            if op.key != outcome.key:
                continue
            if write.expect == 0:
                return errors.AlreadyExists(write.kind, write.name)
            if outcome.current is None:
                return errors.NotFound(write.kind, write.name)
            return errors.Conflict(write.kind, write.name)
        if fence is not None and outcome.key == fence.key:
            return NotLeader(f"leadership under {fence.key} is over")
        return Bounced(outcome.key, outcome.current)
