"""The client half of `bench_api`: several workers ask again and again, over REST or gRPC, and the rates are printed.

Each question goes to the server, and then to a plain one that only gives the same bytes. What a server used of the CPU
is read from its pid, its etcd apart. Pods name a scheduler that does not exist, so that nothing but the request is
paid for. Run: python -m tests.benchmarks.api_client FOLDER PID, with a running server's data folder and pid.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import aiohttp
import grpc
import msgspec
import uvloop
from aetcd.rpc import rpc_pb2

from controlplane.store.etcd_client import EtcdClient
from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.client import config
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc
from tests.benchmarks import accounts, report
from tests.benchmarks.servers import free_ports, running
from tests.fixtures.cluster_objects import pod

SECONDS, TURNS = 0.6, 2
CONCURRENCIES = (1, 16, 64)
LISTED = 500
PODS = "/api/v1/namespaces/default/pods"
QUESTIONS = (
    *(("create", workers) for workers in CONCURRENCIES),
    *(("get", workers) for workers in CONCURRENCIES),
    ("list", 4),
)

Ask = Callable[[], Awaitable[bytes]]
_numbers = count()


class Way(Protocol):
    """A way into a server; every method gives the bytes of the answer."""

    async def create(self) -> bytes:
        """Create one more pod."""

    async def get(self) -> bytes:
        """Get the first pod."""

    async def list(self) -> bytes:
        """List so many pods."""


class Rest:
    """Over HTTPS."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create(self) -> bytes:
        """Create one more pod."""
        body = msgspec.json.encode(new_pod())
        async with self._session.post(PODS, data=body, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 201, await answer.text()
            return await answer.read()

    async def get(self) -> bytes:
        """Get the first pod."""
        return await self._read(f"{PODS}/p0000000")

    async def list(self) -> bytes:
        """List so many pods."""
        return await self._read(f"{PODS}?limit={LISTED}")

    async def _read(self, path: str) -> bytes:
        async with self._session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()


class Grpc:
    """Over gRPC, one connection, no client library in between: what is measured is the server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = cluster_pb2_grpc.ClusterStub(channel)  # type: ignore[no-untyped-call]  # generated without types

    async def create(self) -> bytes:
        """Create one more pod."""
        answer = await self._stub.Create(pb.CreateRequest(object=convert.to_any(new_pod())))
        return bytes(answer.SerializeToString())

    async def get(self) -> bytes:
        """Get the first pod."""
        ref = pb.ObjectRef(resource="pods", namespace="default", name="p0000000")
        return bytes((await self._stub.Get(pb.GetRequest(ref=ref))).SerializeToString())

    async def list(self) -> bytes:
        """List so many pods."""
        request = pb.ListRequest(resource=kinds.POD.resource, namespace="default", limit=LISTED)
        answer = await self._stub.List(request)
        assert len(answer.items) == LISTED
        return bytes(answer.SerializeToString())


@dataclass(frozen=True)
class Measured:
    """What one round of questions showed."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    etcd_us: float


def new_pod() -> core_v1.Pod:
    """A pod whose name was not used before."""
    return pod(f"p{next(_numbers):07}", uid="", resource_version="", spec={"scheduler_name": "nobody"})


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
        while (asked := time.perf_counter()) < end:
            await ask()
            latencies.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(loop())
    took, asked = time.perf_counter() - began, len(latencies)
    p50, p99 = (statistics.quantiles(latencies, n=100)[at] * 1e3 for at in (49, 98))
    used = (accounts.cpu_s(server) - server_s, accounts.cpu_s(*etcd) - etcd_s)
    return Measured(asked / took, p50, p99, *(1e6 * cpu / asked for cpu in used))


def show(label: str, found: Measured, plain: Measured) -> None:
    """Print a rate beside that of the plain server."""
    report.row(
        label,
        f"{found.rate:8,.0f} /s",
        f"p50 {found.p50_ms:.1f} p99 {found.p99_ms:.1f} ms",
        f"{found.cpu_us:.0f} + etcd {found.etcd_us:.0f} us CPU",
        f"plain {plain.rate:,.0f} /s, {plain.cpu_us:.0f} us",
        f"{found.rate / plain.rate:.2f} x its rate, {found.cpu_us / plain.cpu_us:.1f} x its CPU",
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


@asynccontextmanager
async def ways(found: config.ClusterConfig, https: str, grpc_address: str) -> AsyncIterator[dict[str, Way]]:
    """Both ways into a server."""
    credentials = grpc.ssl_channel_credentials(found.ca_pem, found.key_pem, found.certificate_pem)
    connector = aiohttp.TCPConnector(ssl=_tls(found), limit=max(CONCURRENCIES))
    async with (
        aiohttp.ClientSession(https, connector=connector) as session,
        grpc.aio.secure_channel(grpc_address, credentials) as channel,
    ):
        yield {"REST": Rest(session), "gRPC": Grpc(channel)}


def _tls(found: config.ClusterConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=found.ca_pem.decode())
    with tempfile.NamedTemporaryFile() as file:  # the library takes no bytes
        file.write(found.certificate_pem + found.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def main(folder: Path, server: int) -> None:
    """Measure both ways in, each question beside the plain server's answer."""
    found = config.load(folder / "admin.kubeconfig")
    answers = folder / "answers"
    answers.mkdir()
    ports = free_ports(2)
    async with ways(found, found.server, found.grpc) as real:
        created = [await real["REST"].create() for _ in range(LISTED)]
        for name, way in real.items():
            for question in dict(QUESTIONS):
                (answers / f"{name}-{question}").write_bytes(await getattr(way, question)())
        argv = ["tests.benchmarks.plain_server", folder / "pki", answers, *ports]
        with running(argv, folder / "plain.log", answers / "ready") as plain_pid:
            async with ways(found, f"https://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}") as plain:
                for name, way in real.items():
                    for question, workers in QUESTIONS:
                        asks = getattr(way, question), getattr(plain[name], question)
                        found_and_plain = await beside(workers, asks, (server, plain_pid))
                        of = f" of {LISTED}" if question == "list" else ""
                        show(f"{name} {question}{of}, {workers} at a time", *found_and_plain)
    await raw_puts(folder, created[0])


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
