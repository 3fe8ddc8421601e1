"""What etcd's watch tells, read as changes with versions, and followed over every interruption.

One watch covers the whole store, whatever prefix is asked for: the version of a delete follows from all deletes of its
revision, so a watcher that saw only some of them could not compute it. Filtering happens here.

etcd 3.4 may send an event twice after a reconnect; whatever is not newer than what was seen is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from operator import attrgetter
from typing import Any

import msgspec
from aetcd.rpc import kv_pb2, rpc_pb2

from controlplane.store.crypt import Sealer
from controlplane.store.etcd_client import EtcdClient, NoAnswer
from controlplane.store.keys import prefix_end
from controlplane.store.txn import record
from controlplane.store.values import ROOT, Compacted, EventType, Refused, WatchBatch, WatchEvent, end_of
from controlplane.store.versions import (
    LAST_POSITION,
    first_safe,
    unpack,
    version_at,
    watch_start,
)

_DELETE = kv_pb2.Event.EventType.DELETE
_PAUSE_S = 0.02
_PAUSE_MAX_S = 1.0


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event with its version and, for a put, the value as it was given to the store."""

    version: int
    event: Any
    value: bytes


class Progress:
    """How far a watch has come; the store looks at it to see whether an idle watch needs a nudge."""

    __slots__ = ("version",)

    def __init__(self, version: int) -> None:
        """Begin at the version the watch starts after."""
        self.version = version


def read_changes(events: Iterable[Any]) -> list[Change]:
    """Return the changes of complete revisions in order of version."""
    changes: list[Change] = []
    deletes: list[Any] = []
    for event in events:
        if event.type == _DELETE:
            deletes.append(event)
        else:
            item = event.kv
            value, position = unpack(item.value)
            changes.append(Change(version_at(item.mod_revision, position), event, value))
    if deletes:  # they were carried out among the puts, but are numbered after them
        changes += _number_deletes(deletes)
        changes.sort(key=_version)
    return changes


def _number_deletes(deletes: list[Any]) -> Iterator[Change]:
    """Number the deletes of each revision back from the last position."""
    revision = position = 0
    for event in reversed(deletes):
        position = position - 1 if event.kv.mod_revision == revision else LAST_POSITION
        revision = event.kv.mod_revision
        yield Change(version_at(revision, max(position, 0)), event, b"")


_version = attrgetter("version")


async def raw_changes(
    client: EtcdClient, seen: int, *, previous: bool
) -> AsyncGenerator[tuple[list[Change], int], None]:
    """Yield the changes after version `seen` and the version reached, until the connection breaks (`NoAnswer`).

    What comes together are whole revisions. Raises `Compacted` when the changes are gone.
    """
    create = rpc_pb2.WatchCreateRequest(
        key=ROOT.encode(), range_end=prefix_end(ROOT), start_revision=watch_start(seen), prev_kv=previous, fragment=True
    )
    rest: list[Any] = []
    async with aclosing(client.watch(create)) as answers:
        async for answer in answers:
            if answer.canceled:
                raise _cancelled(answer, seen)
            events = [*rest, *answer.events] if rest else answer.events
            rest = []
            if answer.fragment:  # the last revision may continue in the next part
                cut = _last_revision_start(events)
                events, rest = events[:cut], list(events[cut:])
            changes = read_changes(events)
            reached = end_of(changes[-1].version) if changes else 0
            if reached > seen:
                yield [change for change in changes if change.version > seen], reached
                seen = reached


async def follow(
    client: EtcdClient, prefix: str, progress: Progress, sealer: Sealer | None, *, previous: bool
) -> AsyncGenerator[WatchBatch, None]:
    """Yield what happens under `prefix` after `progress`, for ever, resuming when the connection breaks.

    Raises `Compacted` or `Refused`.
    """
    pause_s = _PAUSE_S
    while True:
        try:
            async with aclosing(raw_changes(client, progress.version, previous=previous)) as batches:
                async for changes, reached in batches:
                    pause_s = _PAUSE_S
                    progress.version = reached
                    yield WatchBatch(_events(changes, prefix, sealer), reached)
        except NoAnswer:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)


def _events(changes: list[Change], prefix: str, sealer: Sealer | None) -> tuple[WatchEvent, ...]:
    events: list[WatchEvent] = []
    for change in changes:
        event = change.event
        key = event.kv.key.decode()
        if not key.startswith(prefix):
            continue
        before = record(event.prev_kv, sealer) if event.HasField("prev_kv") else None
        if event.type == _DELETE:
            events.append(WatchEvent(EventType.DELETE, key, b"", change.version, before))
        else:
            value = change.value if sealer is None else sealer.open(key, change.value)
            events.append(WatchEvent(EventType.PUT, key, value, change.version, before))
    return tuple(events)


def _cancelled(answer: Any, seen: int) -> Exception:
    if answer.compact_revision > watch_start(seen):
        return Compacted(first_safe(answer.compact_revision))
    if answer.compact_revision or "no leader" in answer.cancel_reason:
        return NoAnswer(f"etcd ended a watch: {answer.cancel_reason or 'it lagged behind a compaction'}")
    return Refused(f"etcd refuses to watch {ROOT}: {answer.cancel_reason}")


def _last_revision_start(events: Any) -> int:
    cut = len(events)
    while cut and events[cut - 1].kv.mod_revision == events[-1].kv.mod_revision:
        cut -= 1
    return cut
