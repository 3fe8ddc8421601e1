"""The store's port: versioned bytes under keys, with atomic commits and watches that resume.

Why: everything above (registry, cache, drivers) speaks to this protocol; etcd and the in-memory twin implement it and
pass one conformance suite. What it is not: it knows no Kubernetes object, no cache, no policy.

Vocabulary
- *version*: one integer, ``etcd revision x 128 + position in the transaction``. Unique for every change, totally
  ordered over the whole store, never reused. ``0`` means "does not exist". ``end_of(version)`` is the highest version
  that the same transaction can hold.
- *commit*: a tuple of operations that happens as a whole or not at all. Commits made at the same time are grouped into
  one transaction of the backend; each keeps its own outcome.
- *fence*: a `Require` on the leader's key. A commit that carries it bounces once leadership is gone.
- *compaction*: forgetting history before a version. Values that exist stay; reads and watches of forgotten history
  raise `Compacted` and the reader lists again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from enum import IntEnum
from typing import Protocol

import msgspec

ROOT = "/mizzen/"
"""Every key of the store begins with this."""

POSITIONS = 128
"""Places for changes in one transaction; etcd's default limit of operations."""

MAX_COMMIT_OPS = 100
"""Most operations that one commit may hold."""

DEADLINE_S = 10.0
"""Default time for a commit or a read, in seconds."""


def end_of(version: int) -> int:
    """Return the highest version the transaction of `version` can hold; who has seen it has seen all of it."""
    return version | (POSITIONS - 1)


class Put(msgspec.Struct, frozen=True, gc=False):
    """Write `value` under `key` if the key is at version `expect` (0: must not exist)."""

    key: str
    value: bytes
    expect: int


class Remove(msgspec.Struct, frozen=True, gc=False):
    """Delete `key` if it is at version `expect` (at least 1: only what exists can be removed)."""

    key: str
    expect: int


class Require(msgspec.Struct, frozen=True, gc=False):
    """Change nothing, but let the commit happen only if `key` is at version `expect` (0: must not exist)."""

    key: str
    expect: int


Op = Put | Remove | Require


class Record(msgspec.Struct, frozen=True, gc=False):
    """A key's value and the version of the change that wrote it."""

    key: str
    value: bytes
    version: int


class Committed(msgspec.Struct, frozen=True, gc=False):
    """The commit happened; `versions` stands beside its operations (0 for a `Require`)."""

    versions: tuple[int, ...]

    @property
    def version(self) -> int:
        """The highest version this commit wrote; 0 when it only compared."""
        return max(self.versions, default=0)


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """Nothing happened: `key` was not at the version asked for, but is as `current` says (None: does not exist)."""

    key: str
    current: Record | None


class Page(msgspec.Struct, frozen=True, gc=False):
    """One page of a range: records in key order, all as of `version`; `remaining` more follow after the last one.

    Ask for the next page with ``start_after=records[-1].key, version=page.version``. A watch from `version` continues
    exactly where the page ends.
    """

    records: tuple[Record, ...]
    version: int
    remaining: int


class EventType(IntEnum):
    """What happened to a key."""

    PUT = 0
    DELETE = 1


class WatchEvent(msgspec.Struct, frozen=True, gc=False):
    """One change. `value` is empty for a DELETE; `previous` is what was there before, if asked for and still known."""

    type: EventType
    key: str
    value: bytes
    version: int
    previous: Record | None = None


class WatchBatch(msgspec.Struct, frozen=True, gc=False):
    """Events in order of version. Every event up to `version` has now been delivered; without events: an advance."""

    events: tuple[WatchEvent, ...]
    version: int


class StoreError(Exception):
    """Base of everything the store raises on its own account."""

    retryable = False


class Compacted(StoreError):
    """The history asked for is gone; list again.

    `oldest` is the first version at which reading and watching work, 0 when the backend did not say.
    """

    def __init__(self, oldest: int) -> None:
        """Keep the first version that still works (0: unknown)."""
        super().__init__(f"history before version {oldest or '?'} was compacted; list again and watch from there")
        self.oldest = oldest


class FutureVersion(StoreError):
    """The version asked for has not been written yet."""

    retryable = True


class Unavailable(StoreError):
    """The store did not answer in time. For a commit: it was certainly not made. Try again later."""

    retryable = True


class UnknownOutcome(StoreError):
    """The commit may or may not have happened, or may yet happen; read before deciding anything."""


class Refused(StoreError):
    """The backend refuses for good: too large, no space left, no permission. The message says what to do."""


class Closed(StoreError):
    """The store was closed while this was under way, or before it began."""


class Leadership(Protocol):
    """Being the one leader of a name, while `lost` is not set."""

    @property
    def identity(self) -> str:
        """Who leads, as given to `Store.campaign`."""

    @property
    def fence(self) -> Require:
        """What every commit of a leader must carry; once leadership is gone such commits give `Conflict`."""

    @property
    def lost(self) -> asyncio.Event:
        """Set when leadership is gone or can no longer be proved. Never cleared."""


class Store(Protocol):
    """Versioned bytes under keys. All reads are linearised: they see every commit that was acknowledged before."""

    async def commit(self, ops: tuple[Op, ...], *, deadline_s: float = DEADLINE_S) -> Committed | Conflict:
        """Do all of `ops` or none. A key may stand in `ops` once.

        A lost answer is resolved by reading back what was written. Raises `UnknownOutcome` when that was not possible
        before the deadline, `Unavailable` when the commit certainly did not happen, `Refused` when it never can, and
        ValueError for operations that make no sense. Cancelling the call does not undo the commit.
        """

    async def get(self, key: str) -> Record | None:
        """Return the record under `key`, or None. Raises `Unavailable`."""

    async def range(self, prefix: str, *, start_after: str = "", limit: int = 0, version: int = 0) -> Page:
        """Return records whose key begins with `prefix` and sorts after `start_after`, at most `limit` (0: all).

        With `version` the page shows the store right after that version's transaction, whatever was written since.
        Raises `Compacted`, `FutureVersion` or `Unavailable`.
        """

    async def current(self) -> int:
        """Return the version that a linearised read sees now. Every open watch reaches it without further writes."""

    def watch(self, prefix: str, from_version: int, *, previous: bool = False) -> AsyncGenerator[WatchBatch, None]:
        """Yield every change after `from_version` to keys beginning with `prefix`, once and in order, for ever.

        Broken connections are resumed inside. `previous` asks for the value before each change (it doubles the cost).
        Raises `Compacted` when history needed is gone, and then ends. Close it with `contextlib.aclosing`.
        """

    async def compact(self, version: int) -> None:
        """Forget history before `version`; older or equal to the last compaction: nothing happens.

        Raises `FutureVersion` or `Unavailable`.
        """

    def campaign(self, name: str, identity: str, ttl_s: int) -> AbstractAsyncContextManager[Leadership]:
        """Wait until this process is the one leader of `name`, hold it while the context is open, then resign.

        A leader that cannot renew is replaced after about `ttl_s` seconds (the backend may raise very small values).
        """

    async def close(self) -> None:
        """End watches and campaigns, give waiting calls `Closed`, release connections. May be called twice."""
