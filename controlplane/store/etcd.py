"""The store port over etcd: the pieces of this package put together. See README.md for how they fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress

import structlog
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.batch import GroupCommit
from controlplane.store.changes import Progress, follow
from controlplane.store.crypt import Sealer
from controlplane.store.etcd_client import EtcdClient, NoAnswer, TlsFiles
from controlplane.store.keys import TICK, prefix_end
from controlplane.store.leader import EtcdLeadership, campaign
from controlplane.store.txn import record
from controlplane.store.values import (
    DEADLINE_S,
    Committed,
    Compacted,
    Conflict,
    Op,
    Page,
    Record,
    StoreError,
    WatchBatch,
    check,
)
from controlplane.store.versions import LAST_POSITION, pack, revision_of, version_at

_TICK_AFTER_S = 0.05

_log = structlog.get_logger(__name__)


class EtcdStore:
    """A store in etcd. Make one with `open`, end it with `close`."""

    def __init__(self, client: EtcdClient, sealer: Sealer | None) -> None:
        """Use a connected client; `open` does that."""
        self._client = client
        self._sealer = sealer
        self._commits = GroupCommit(client, sealer)
        self._watches: list[Progress] = []
        self._asked = 0  # the highest version that `current` told somebody
        self._ticked = 0  # the version of the last tick
        self._lagging = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._commits.run(), name="store group commit"),
            asyncio.create_task(self._tick(), name="store tick"),
        ]
        for task in self._tasks:
            task.add_done_callback(_report)

    @classmethod
    async def open(
        cls,
        endpoints: Sequence[str],
        *,
        tls: TlsFiles | None = None,
        sealer: Sealer | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> EtcdStore:
        """Connect to an etcd cluster and return the store in it, once etcd has answered.

        Raises `Unavailable` after `deadline_s` seconds, `Refused`, or ValueError for an unusable endpoint.
        """
        client = EtcdClient(endpoints, tls)
        try:
            await client.range(pb.RangeRequest(key=TICK.encode()), deadline_s)
        except BaseException:
            await client.close()
            raise
        return cls(client, sealer)

    async def commit(self, ops: tuple[Op, ...], *, deadline_s: float = DEADLINE_S) -> Committed | Conflict:
        """See `port.Store.commit`."""
        check(ops)
        return await self._commits.submit(ops, deadline_s)

    async def get(self, key: str) -> Record | None:
        """See `port.Store.get`."""
        answer = await self._client.range(pb.RangeRequest(key=key.encode()), DEADLINE_S)
        return record(answer.kvs[0], self._sealer) if answer.kvs else None

    async def range(self, prefix: str, *, start_after: str = "", limit: int = 0, version: int = 0) -> Page:
        """See `port.Store.range`."""
        start = start_after.encode() + b"\0" if start_after >= prefix else prefix.encode()
        revision = revision_of(version)
        request = pb.RangeRequest(key=start, range_end=prefix_end(prefix), limit=limit, revision=revision)
        answer = await self._client.range(request, DEADLINE_S)
        records = tuple([record(item, self._sealer) for item in answer.kvs])
        end = version_at(revision or answer.header.revision, LAST_POSITION)
        return Page(records, end, answer.count - len(records))

    async def current(self) -> int:
        """See `port.Store.current`."""
        answer = await self._client.range(pb.RangeRequest(key=TICK.encode(), keys_only=True), DEADLINE_S)
        version = version_at(answer.header.revision, LAST_POSITION)
        self._asked = max(self._asked, version)
        self._lagging.set()
        return version

    async def watch(
        self, prefix: str, from_version: int, *, previous: bool = False
    ) -> AsyncGenerator[WatchBatch, None]:
        """See `port.Store.watch`."""
        progress = Progress(from_version)
        self._watches.append(progress)
        self._lagging.set()
        try:
            async with aclosing(follow(self._client, prefix, progress, self._sealer, previous=previous)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self._watches.remove(progress)

    async def compact(self, version: int) -> None:
        """See `port.Store.compact`."""
        with suppress(Compacted):
            await self._client.compact(revision_of(version), DEADLINE_S)

    def campaign(self, name: str, identity: str, ttl_s: int) -> AbstractAsyncContextManager[EtcdLeadership]:
        """See `port.Store.campaign`."""
        return campaign(self._client, name, identity, ttl_s)

    async def close(self) -> None:
        """See `port.Store.close`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def _tick(self) -> None:
        """Make watches reach what `current` told, where only writes outside of the store moved etcd's revision.

        A watch sees every revision that touches the store, so this happens only when etcd is shared with others. etcd's
        own progress answers are no help: before 3.4.25 and 3.5.8 they may overtake events that are still to come.
        """
        put = pb.PutRequest(key=TICK.encode(), value=pack(b"", 0, b"tick"))
        request = pb.TxnRequest(success=[pb.RequestOp(request_put=put)]).SerializeToString()
        while True:
            await self._lagging.wait()
            self._lagging.clear()
            await asyncio.sleep(_TICK_AFTER_S)
            if self._asked <= self._ticked or all(watch.version >= self._asked for watch in self._watches):
                continue
            try:
                answer = await self._client.txn(request)
                self._ticked = version_at(answer.header.revision, LAST_POSITION)
            except NoAnswer:
                self._lagging.set()
            except StoreError as error:
                _log.warning("store.tick_failed", reason=str(error))


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("store.task_died", task=task.get_name(), exc_info=task.exception())
