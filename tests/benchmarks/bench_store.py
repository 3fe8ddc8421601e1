"""Writes a second through the store against raw etcd transactions, and the cost of a watch event.

Run: python -m tests.benchmarks.bench_store. It starts an etcd of its own in a temporary folder. Values are 1 kB, a
typical small object. CPU is that of this process alone, in microseconds per write. What is compared is measured in
turns, and the best turn counts: it is the one that the machine disturbed least.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog
import uvloop
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.keys import object_key
from controlplane.store.port import Committed, Put, Store
from tests.benchmarks import report

VALUE = b"x" * 1000
SECONDS = 1.0
TURNS = 4
WRITES_S = 15_000
_numbers = count()

Work = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Measured:
    """What one turn showed."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def new_key() -> str:
    """Return a key that was not used before."""
    return object_key("", "pods", "default", f"pod-{next(_numbers):08}")


async def measure(workers: int, work: Work) -> Measured:
    """Let `workers` call `work` again and again; return what a write took."""
    latencies: list[float] = []
    begun, cpu = time.perf_counter(), time.process_time()
    end = begun + SECONDS

    async def loop() -> int:
        writes = 0
        while (asked := time.perf_counter()) < end:
            writes += await work()
            latencies.append(time.perf_counter() - asked)
        return writes

    writes = sum(await asyncio.gather(*(loop() for _ in range(workers))))
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    p50, p99 = (statistics.quantiles(latencies, n=100)[at] * 1e3 for at in (49, 98))
    return Measured(writes / took, used / writes * 1e6, p50, p99)


def show(label: str, turns: list[Measured], *more: str) -> float:
    """Print the best turn; return its rate."""
    best = max(turns, key=lambda turn: turn.rate)
    figures = (f"{best.cpu_us:.0f} us CPU", f"p50 {best.p50_ms:.1f} p99 {best.p99_ms:.1f} ms")
    spread = (report.spread([turn.rate for turn in turns]),) if len(turns) > 1 else ()
    report.row(label, f"{best.rate:8,.0f} writes/s", *figures, *spread, *more)
    return best.rate


def raw(client: EtcdClient, size: int) -> Work:
    """Return a transaction of `size` plain puts through the message classes, without comparisons."""

    async def work() -> int:
        puts = [pb.PutRequest(key=new_key().encode(), value=VALUE) for _ in range(size)]
        request = pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts])
        await client.txn(request.SerializeToString())
        return size

    return work


def through(store: Store) -> Work:
    """Return one commit of one put."""

    async def work() -> int:
        outcome = await store.commit((Put(new_key(), VALUE, 0),))
        assert isinstance(outcome, Committed)
        return 1

    return work


async def measure_writes(client: EtcdClient, store: Store) -> None:
    """Print what writes cost, one by one and together, without the store and through it."""
    single, batched = raw(client, 1), raw(client, 50)
    commit = through(store)
    for workers in (1, 32):
        bare = show(f"raw etcd, {workers} transactions of 1 put at a time", [await measure(workers, single)])
        turn = await measure(workers, commit)
        show(f"store, {workers} committers", [turn], f"{turn.rate / bare:.2f} x raw etcd")
    turns: list[list[Measured]] = [[], [], []]
    for _ in range(TURNS):
        turns[0].append(await measure(2, batched))
        turns[1].append(await measure(200, commit))
        turns[2].append(await measure(1000, commit))
    bare = show("raw etcd, 2 transactions of 50 puts at a time", turns[0])
    for workers, measured in ((200, turns[1]), (1000, turns[2])):
        rate = max(turn.rate for turn in measured)
        target = (report.target(rate >= WRITES_S, f">= {WRITES_S:,}/s"),) if workers == 200 else ()
        show(f"store, {workers} committers", measured, f"{rate / bare:.2f} x raw etcd", *target)


async def measure_watch(store: EtcdStore, start: int) -> None:
    """Print what it costs to read all that was written."""
    now = await store.current()
    events = batches = 0
    begun, cpu = time.perf_counter(), time.process_time()
    async with aclosing(store.watch("/mizzen/registry/", start)) as watch:
        async for batch in watch:
            events += len(batch.events)
            batches += 1
            if batch.version >= now:
                break
    seconds, cpu_us = time.perf_counter() - begun, (time.process_time() - cpu) / events * 1e6
    report.row("watch, catching up", f"{events / seconds:8,.0f} events/s", f"{cpu_us:.1f} us CPU", f"{batches} batches")


async def measure_live_watch(store: EtcdStore, watcher: EtcdStore) -> None:
    """Print what a write costs together with its event in the same process."""
    start = await store.current()
    seen = 0

    async def follow() -> None:
        nonlocal seen
        async with aclosing(watcher.watch("/mizzen/registry/", start)) as watch:
            async for batch in watch:
                seen += len(batch.events)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow())
        turns = [await measure(200, through(store)) for _ in range(2)]
        task.cancel()
    show("store, 200 committers, and a watch on all", turns, f"{seen:,} events seen")


async def measure_all() -> None:
    """Run all measurements on one etcd."""
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
        async with EmbeddedEtcd(Path(folder)) as etcd:
            client = EtcdClient(etcd.endpoints)
            store, watcher = await EtcdStore.open(etcd.endpoints), await EtcdStore.open(etcd.endpoints)
            await measure_writes(client, store)
            start = await store.current()
            await measure_live_watch(store, watcher)
            await measure_watch(store, start)
            for closing in (store, watcher, client):
                await closing.close()


def main() -> None:
    """Print the figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    report.section("Store: writes of 1 kB, beside raw etcd transactions on the same etcd")
    if shutil.which("etcd") is None:
        report.skip("store", "no etcd on this machine")
    uvloop.run(measure_all())


if __name__ == "__main__":
    report.part(main)
