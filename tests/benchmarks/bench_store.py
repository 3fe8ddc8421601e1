"""Writes a second through the store against raw etcd transactions, and the cost of a watch event.

Run it: ``python -m tests.benchmarks.bench_store``. It starts an etcd of its own in a temporary folder and takes less
than a minute. Values are 1 kB, a typical small object. CPU is that of this process alone, in microseconds per write.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from itertools import count
from pathlib import Path

import uvloop
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.keys import object_key
from controlplane.store.port import Committed, Put, Store

VALUE = b"x" * 1000
SECONDS = 2.0
_numbers = count()

Work = Callable[[], Awaitable[int]]


def new_key() -> str:
    """Return a key that was not used before."""
    return object_key("", "pods", "default", f"pod-{next(_numbers):08}")


async def measure(label: str, workers: int, work: Work) -> float:
    """Let `workers` call `work` again and again; print and return the writes a second."""
    end = time.perf_counter() + SECONDS
    latencies: list[float] = []

    async def loop() -> int:
        writes = 0
        while (begun := time.perf_counter()) < end:
            writes += await work()
            latencies.append(time.perf_counter() - begun)
        return writes

    begun, cpu = time.perf_counter(), time.process_time()
    writes = sum(await asyncio.gather(*(loop() for _ in range(workers))))
    rate = writes / (time.perf_counter() - begun)
    cpu_us = (time.process_time() - cpu) / writes * 1e6
    p50, p99 = (statistics.quantiles(latencies, n=100)[at] * 1e3 for at in (49, 98))
    print(f"{label:44} {rate:8,.0f} writes/s  {cpu_us:5.0f} us CPU  p50 {p50:5.1f} ms  p99 {p99:5.1f} ms")
    return rate


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
    print(f"{'watch, catching up':44} {events / seconds:8,.0f} events/s  {cpu_us:5.1f} us CPU  {batches} batches")


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
        await measure("store, 200 committers, and a watch on all", 200, through(store))
        task.cancel()
    print(f"{'':44} {seen:8,} events seen meanwhile")


async def main() -> None:
    """Run all measurements on one etcd."""
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
        async with EmbeddedEtcd(Path(folder)) as etcd:
            client = EtcdClient(etcd.endpoints)
            store, watcher = await EtcdStore.open(etcd.endpoints), await EtcdStore.open(etcd.endpoints)
            await measure("raw etcd, 1 put a transaction, 1 at a time", 1, raw(client, 1))
            await measure("raw etcd, 1 put a transaction, 32 at a time", 32, raw(client, 1))
            await measure("raw etcd, 50 puts a transaction, 2 at a time", 2, raw(client, 50))
            start = await store.current()
            for committers in (1, 10, 50, 200, 1000):
                await measure(f"store, {committers} committers", committers, through(store))
            await measure_watch(store, start)
            await measure_live_watch(store, watcher)
            for closing in (store, watcher, client):
                await closing.close()


if __name__ == "__main__":
    uvloop.run(main())
