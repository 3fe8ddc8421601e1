"""What goes into and comes out of the store: operations, records, outcomes, events, errors. Pure values.

Why apart from the port: the store's model is pure and is used by the simulator, so its words must not need asyncio.
The vocabulary is explained in `controlplane.store.port`, which offers all of this again.
"""

from __future__ import annotations

from enum import IntEnum

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


def check(ops: tuple[Op, ...]) -> None:
    """Raise ValueError for operations that can never be one commit: a programmer's error, not a conflict."""
    if len(ops) == 1:
        _check_one(ops[0])
        return
    if not 0 < len(ops) <= MAX_COMMIT_OPS:
        raise ValueError(f"a commit has 1 to {MAX_COMMIT_OPS} operations, not {len(ops)}")
    for op in ops:
        _check_one(op)
    if len({op.key for op in ops}) != len(ops):
        raise ValueError(f"a key stands twice in one commit: {sorted(op.key for op in ops)}")


def _check_one(op: Op) -> None:
    if not op.key.startswith(ROOT):
        raise ValueError(f"key {op.key!r} is outside of {ROOT}")
    if op.expect < (1 if type(op) is Remove else 0):
        raise ValueError(f"{op.key}: expect={op.expect} cannot be a version for {type(op).__name__}")


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


class TooLarge(Refused):
    """One write is larger than the backend takes."""


class Closed(StoreError):
    """The store was closed while this was under way, or before it began."""
