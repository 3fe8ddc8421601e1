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
from typing import Protocol

from controlplane.store.values import (
    DEADLINE_S,
    MAX_COMMIT_OPS,
    POSITIONS,
    ROOT,
    Closed,
    Committed,
    Compacted,
    Conflict,
    EventType,
    FutureVersion,
    Op,
    Page,
    Put,
    Record,
    Refused,
    Remove,
    Require,
    StoreError,
    Unavailable,
    UnknownOutcome,
    WatchBatch,
    WatchEvent,
    end_of,
)

__all__ = [
    "DEADLINE_S",
    "MAX_COMMIT_OPS",
    "POSITIONS",
    "ROOT",
    "Closed",
    "Committed",
    "Compacted",
    "Conflict",
    "EventType",
    "FutureVersion",
    "Leadership",
    "Op",
    "Page",
    "Put",
    "Record",
    "Refused",
    "Remove",
    "Require",
    "Store",
    "StoreError",
    "Unavailable",
    "UnknownOutcome",
    "WatchBatch",
    "WatchEvent",
    "end_of",
]


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
