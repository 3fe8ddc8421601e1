"""The client half of `bench_api`: several workers ask again and again, over REST or gRPC, and the rates are printed.

What the server used of the CPU is read from its pid, its etcd apart. Pods name a scheduler that does not exist, so
that nothing but the request is paid for.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import aiohttp
import grpc
import msgspec
import uvloop

from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.client import config
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc
from tests.benchmarks import accounts, report
from tests.fixtures.cluster_objects import pod

SECONDS = 2.0
CONCURRENCIES = (1, 16, 64)
LISTED = 500
PODS = "/api/v1/namespaces/default/pods"

Ask = Callable[[], Awaitable[None]]
_numbers = count()


def new_pod() -> core_v1.Pod:
    """A pod whose name was not used before."""
    return pod(f"p{next(_numbers):07}", uid="", resource_version="", spec={"scheduler_name": "nobody"})


async def measure(label: str, workers: int, server: int, ask: Ask) -> None:
    """Let `workers` ask again and again, and print the rate."""
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
    rate = len(latencies) / (time.perf_counter() - began)
    cpu = [
        (used / len(latencies)) * 1e6 for used in (accounts.cpu_s(server) - server_s, accounts.cpu_s(*etcd) - etcd_s)
    ]
    p50, p99 = (statistics.quantiles(latencies, n=100)[at] * 1e3 for at in (49, 98))
    report.row(
        f"{label}, {workers} at a time",
        f"{rate:8,.0f} /s",
        f"p50 {p50:.1f} p99 {p99:.1f} ms",
        f"server {cpu[0]:.0f} us CPU",
        f"etcd {cpu[1]:.0f} us",
    )


async def over_rest(found: config.ClusterConfig, server: int) -> None:
    """Creates, gets and lists over HTTPS."""
    async with aiohttp.ClientSession(
        found.server, connector=aiohttp.TCPConnector(ssl=_tls(found), limit=max(CONCURRENCIES))
    ) as session:

        async def create() -> None:
            body = msgspec.json.encode(new_pod())
            async with session.post(PODS, data=body, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 201, await answer.text()
                await answer.read()

        async def read(path: str) -> None:
            async with session.get(path) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

        for workers in CONCURRENCIES:
            await measure("REST create", workers, server, create)
        for workers in (1, 64):
            await measure("REST get", workers, server, lambda: read(f"{PODS}/p0000000"))
        await measure(f"REST list of {LISTED}", 4, server, lambda: read(f"{PODS}?limit={LISTED}"))


async def over_grpc(found: config.ClusterConfig, server: int) -> None:
    """The same over gRPC, one connection."""
    credentials = grpc.ssl_channel_credentials(found.ca_pem, found.key_pem, found.certificate_pem)
    # No client library in between: what is measured is the server.
    async with grpc.aio.secure_channel(found.grpc, credentials) as channel:
        stub = cluster_pb2_grpc.ClusterStub(channel)  # type: ignore[no-untyped-call]  # generated without types

        async def create() -> None:
            await stub.Create(pb.CreateRequest(object=convert.to_any(new_pod())))

        async def get() -> None:
            await stub.Get(pb.GetRequest(ref=pb.ObjectRef(resource="pods", namespace="default", name="p0000000")))

        async def list_() -> None:
            answer = await stub.List(pb.ListRequest(resource=kinds.POD.resource, namespace="default", limit=LISTED))
            assert len(answer.items) == LISTED

        for workers in CONCURRENCIES:
            await measure("gRPC create", workers, server, create)
        for workers in (1, 64):
            await measure("gRPC get", workers, server, get)
        await measure(f"gRPC list of {LISTED}", 4, server, list_)


def _tls(found: config.ClusterConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=found.ca_pem.decode())
    with _file(found.certificate_pem + found.key_pem) as pem:
        context.load_cert_chain(pem)
    return context


@contextmanager
def _file(content: bytes) -> Iterator[Path]:
    """A private file for a library that takes no bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


async def main(kubeconfig: Path, server: int) -> None:
    """Measure both ways in."""
    found = config.load(kubeconfig)
    await over_rest(found, server)
    await over_grpc(found, server)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
