"""The client half of `bench_api`: several workers ask again and again, over REST or gRPC, and the rates are printed.

Each question goes to the server, and then to a plain one that only gives the same bytes. What a server used of the CPU
is read from its pid, its etcd apart. Pods name a scheduler that does not exist, so that nothing but the request is
paid for. Run: python -m tests.benchmarks.api_client FOLDER PID, with a running server's data folder and pid.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import uvloop
from aetcd.rpc import rpc_pb2

from controlplane.store.etcd_client import EtcdClient
from mizzen.client import config
from tests.benchmarks import accounts, report
from tests.benchmarks.api_ways import APPLIED, LISTED, ways
from tests.benchmarks.plain_server import Recorded

SECONDS, TURNS = 0.6, 2
ASKED_MIN = 4
"""Questions in a turn, however long they take."""
CONCURRENCIES = (1, 16, 64)
QUESTIONS = (
    *(("create", workers) for workers in CONCURRENCIES),
    *(("get", workers) for workers in CONCURRENCIES),
    ("apply", 4),
    ("list", 4),
)
AIMED = {("REST", "get", 64), ("REST", "list", 4)}
TARGET = 1.5
"""Most CPU of a get or list, as a multiple of what the plain server takes."""

Ask = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Measured:
    """What one round of questions showed."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    etcd_us: float


async def beside(workers: int, asks: tuple[Ask, Ask], servers: tuple[int, int]) -> list[Measured]:
    """Measure two servers in turns; return the best turn of each: that which the machine disturbed least."""
    turns = [[await measure(workers, *one) for one in zip(asks, servers, strict=True)] for _ in range(TURNS)]
    return [max(found, key=lambda turn: turn.rate) for found in zip(*turns, strict=True)]


async def measure(workers: int, ask: Ask, server: int) -> Measured:
    """Let `workers` ask again and again; `server` is the pid of who answers."""
    etcd = accounts.children(server)
    latencies: list[float] = []
    began, server_s, etcd_s = time.perf_counter(), accounts.cpu_s(server), accounts.cpu_s(*etcd)
    end = began + SECONDS

    async def loop() -> None:
        while (asked := time.perf_counter()) < end or len(latencies) < ASKED_MIN:
            await ask()
            latencies.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(loop())
    took, asked = time.perf_counter() - began, len(latencies)
    p50, p99 = (statistics.quantiles(latencies, n=100)[at] * 1e3 for at in (49, 98))
    used = (accounts.cpu_s(server) - server_s, accounts.cpu_s(*etcd) - etcd_s)
    return Measured(asked / took, p50, p99, *(1e6 * cpu / asked for cpu in used))


def show(label: str, found: Measured, plain: Measured, *, aimed: bool = False) -> None:
    """Print a rate beside that of the plain server; `aimed` if its CPU has a target."""
    times = found.cpu_us / plain.cpu_us
    target = (report.target(times <= TARGET, f"<= {TARGET} x its CPU"),) if aimed else ()
    report.row(
        label,
        f"{found.rate:8,.0f} /s",
        f"p50 {found.p50_ms:.1f} p99 {found.p99_ms:.1f} ms",
        f"{found.cpu_us:.0f} + etcd {found.etcd_us:.0f} us CPU",
        f"plain {plain.rate:,.0f} /s, {plain.cpu_us:.0f} us",
        f"{found.rate / plain.rate:.2f} x its rate, {times:.1f} x its CPU",
        *target,
    )


async def raw_puts(folder: Path, value: bytes) -> None:
    """Print how fast etcd itself takes what a create stores, one put a transaction."""
    client = EtcdClient((f"unix:{folder / 'etcd' / 'client:1'}",))
    numbers = count()
    for workers in CONCURRENCIES:
        latencies: list[float] = []
        end = (began := time.perf_counter()) + SECONDS

        async def loop(end: float = end, latencies: list[float] = latencies) -> None:
            while (asked := time.perf_counter()) < end:
                put = rpc_pb2.PutRequest(key=f"/bench/{next(numbers):08}".encode(), value=value)
                await client.txn(rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)]).SerializeToString())
                latencies.append(time.perf_counter() - asked)

        await asyncio.gather(*(loop() for _ in range(workers)))
        p50, p99 = (statistics.quantiles(latencies, n=100)[at] * 1e3 for at in (49, 98))
        rate = len(latencies) / (time.perf_counter() - began)
        report.row(f"raw etcd put, {workers} at a time", f"{rate:8,.0f} /s", f"p50 {p50:.1f} p99 {p99:.1f} ms")
    await client.close()


async def main(folder: Path, server: int) -> None:
    """Measure both ways in, each question beside the plain server's answer."""
    found, recorded = config.load(folder / "admin.kubeconfig"), Recorded()
    async with ways(found, found.server, found.grpc, recorded) as real:
        created = [await real["REST"].create() for _ in range(LISTED)]
        for way in real.values():
            for question in dict(QUESTIONS):
                for _ in range(APPLIED):
                    await getattr(way, question)()
        with recorded.served(folder) as (plain_pid, ports):
            addresses = f"https://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
            async with ways(found, *addresses, Recorded()) as plain:
                for name, way in real.items():
                    for question, workers in QUESTIONS:
                        asks = getattr(way, question), getattr(plain[name], question)
                        found_and_plain = await beside(workers, asks, (server, plain_pid))
                        of = f" of {LISTED}" if question == "list" else ""
                        aimed = (name, question, workers) in AIMED
                        show(f"{name} {question}{of}, {workers} at a time", *found_and_plain, aimed=aimed)
    await raw_puts(folder, created[0])


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
