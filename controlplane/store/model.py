"""What a store *is*, as a plain data structure: a value with history. Pure.

Why: the in-memory twin of etcd runs on it, the simulator uses it directly, and a property test compares it with real
etcd step by step. It keeps etcd's rules: a group of commits is compared against the state before the group, all that
happens gets one revision, reading at a version shows the end of its revision, and compaction forgets what is older.
What it is not: it has no clock, no watchers that wait, no leases; those belong to who uses it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from operator import attrgetter, itemgetter

from controlplane.store.values import (
    Committed,
    Compacted,
    Conflict,
    EventType,
    FutureVersion,
    Op,
    Page,
    Put,
    Record,
    Require,
    WatchBatch,
    WatchEvent,
    check,
)
from controlplane.store.versions import LAST_POSITION, expected_revision, first_safe, number, revision_of, version_at

_Change = tuple[int, Record | None]
_by_revision = itemgetter(0)
_by_version = attrgetter("version")


class Model:
    """Records under keys with their history since the last compaction. A fresh one is at revision 1, as etcd is."""

    def __init__(self) -> None:
        """Begin empty."""
        self._revision = 1
        self._compacted = 0
        self._live: dict[str, Record] = {}
        self._changes: dict[str, list[_Change]] = {}  # per key, oldest first; None: deleted
        self._keys: list[str] = []  # the keys of _changes, sorted
        self._log: list[WatchEvent] = []

    @property
    def current(self) -> int:
        """The version that a read sees now."""
        return version_at(self._revision, LAST_POSITION)

    def commit(self, ops: tuple[Op, ...]) -> Committed | Conflict:
        """Do all of `ops` or none, in a revision of its own. Raises ValueError for operations that make no sense."""
        return self.commit_group((ops,))[0]

    def commit_group(self, commits: Sequence[tuple[Op, ...]]) -> tuple[Committed | Conflict, ...]:
        """Do several commits in one revision, each with its own outcome.

        No key that one of them writes may stand in another: raises ValueError.
        """
        _check_group(commits)
        conflicts = [self._conflict(ops) for ops in commits]  # all of them before anything is written
        versions = number(commits, [conflict is None for conflict in conflicts], self._revision + 1)
        if any(any(numbers) for numbers in versions):
            self._revision += 1
        events: list[WatchEvent] = []
        for ops, numbers, conflict in zip(commits, versions, conflicts, strict=True):
            if conflict is None:
                events += [self._write(op, version) for op, version in zip(ops, numbers, strict=True) if version]
        self._log += sorted(events, key=_by_version)
        return tuple(
            Committed(numbers) if conflict is None else conflict
            for conflict, numbers in zip(conflicts, versions, strict=True)
        )

    def get(self, key: str) -> Record | None:
        """Return what is under `key` now."""
        return self._live.get(key)

    def range(self, prefix: str, *, start_after: str = "", limit: int = 0, version: int = 0) -> Page:
        """Return a page of records, of now or as of `version`. Raises `Compacted` or `FutureVersion`."""
        revision = revision_of(version) if version else self._revision
        if revision < self._compacted:
            raise Compacted(first_safe(self._compacted))
        if revision > self._revision:
            raise FutureVersion(f"version {version} lies after {self.current}, the newest one")
        found = [
            record
            for key in self._keys_from(prefix, start_after)
            if (record := self._record_at(key, revision)) is not None
        ]
        shown = tuple(found[:limit] if limit else found)
        return Page(shown, version_at(revision, LAST_POSITION), len(found) - len(shown))

    def since(self, prefix: str, version: int) -> WatchBatch:
        """Return every change after `version` to keys beginning with `prefix`. Raises `Compacted`."""
        if self._compacted and version < first_safe(self._compacted):
            raise Compacted(first_safe(self._compacted))
        start = bisect_right(self._log, version, key=_by_version)
        events = tuple(event for event in self._log[start:] if event.key.startswith(prefix))
        return WatchBatch(events, max(version, self.current))

    def compact(self, version: int) -> None:
        """Forget history before `version`; does nothing if that is done already. Raises `FutureVersion`."""
        revision = revision_of(version)
        if revision > self._revision:
            raise FutureVersion(f"version {version} lies after {self.current}, the newest one")
        if revision <= self._compacted:
            return
        self._compacted = revision
        del self._log[: bisect_right(self._log, first_safe(revision), key=_by_version)]
        for key, changes in self._changes.items():
            last = bisect_right(changes, revision, key=_by_revision) - 1  # what readers at `revision` still see
            if last >= 0:
                del changes[: last + (changes[last][1] is None)]
            if not changes:
                del self._keys[bisect_left(self._keys, key)]
        self._changes = {key: changes for key, changes in self._changes.items() if changes}

    def _conflict(self, ops: tuple[Op, ...]) -> Conflict | None:
        for op in ops:
            record = self._live.get(op.key)
            if revision_of(record.version if record else 0) != expected_revision(op.expect):
                return Conflict(op.key, record)
        return None

    def _write(self, op: Op, version: int) -> WatchEvent:
        previous = self._live.get(op.key)
        record = Record(op.key, op.value, version) if type(op) is Put else None
        if op.key not in self._changes:
            self._changes[op.key] = []
            insort(self._keys, op.key)
        self._changes[op.key].append((revision_of(version), record))
        if record is None:
            del self._live[op.key]
            return WatchEvent(EventType.DELETE, op.key, b"", version, previous)
        self._live[op.key] = record
        return WatchEvent(EventType.PUT, op.key, record.value, version, previous)

    def _keys_from(self, prefix: str, start_after: str) -> Iterator[str]:
        start = bisect_right(self._keys, start_after) if start_after >= prefix else bisect_left(self._keys, prefix)
        for at in range(start, len(self._keys)):
            if not self._keys[at].startswith(prefix):
                return
            yield self._keys[at]

    def _record_at(self, key: str, revision: int) -> Record | None:
        changes = self._changes[key]
        at = bisect_right(changes, revision, key=_by_revision) - 1
        return changes[at][1] if at >= 0 else None


def _check_group(commits: Sequence[tuple[Op, ...]]) -> None:
    written: set[str] = set()
    required: set[str] = set()
    for ops in commits:
        check(ops)
        writes = {op.key for op in ops if type(op) is not Require}
        requires = {op.key for op in ops if type(op) is Require}
        if writes & (written | required) or requires & written:
            raise ValueError(f"a key stands in two commits of one group: {ops}")
        written |= writes
        required |= requires
