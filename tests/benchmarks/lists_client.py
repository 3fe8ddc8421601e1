"""The client half of `bench_lists`: lists in every form, changes to many watchers, and the server's memory meanwhile.

A list's first time is apart from the repeated ones, because the server keeps what it made. What a change costs for each
watcher is the server's CPU for changes with watchers, less that without. Run: python -m tests.benchmarks.lists_client
FOLDER PID, with a running server's data folder and pid.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from mizzen.client import config
from tests.benchmarks import accounts, api_client, report
from tests.benchmarks.api_ways import GZIP, JSON, MERGE, PODS, READ_BYTES, Rest, new_pod, over_rest, tls
from tests.benchmarks.plain_server import SENT, STAMP_BYTES, Recorded

PODS_MADE, MAKERS, PAGE = 5000, 64, 500
WATCHERS, CHANGES, CHANGERS = 100, 300, 4
ARRIVAL_S = 30
"""How long after the last change the watchers may take, in seconds."""
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
SELECTED = f"{PODS}?labelSelector=half%3Da"
FORMS = {
    "JSON": (PODS, JSON, True),
    "Table": (PODS, TABLE, True),
    "protobuf": (PODS, PROTOBUF, True),
    "JSON, compressed": (PODS, JSON + GZIP, False),
    "JSON, half of them by a label": (SELECTED, JSON, False),
}
"""What is listed: path, form, and whether it has a target."""


@dataclass
class Watched:
    """What the watchers of a server have seen so far."""

    opened: int = 0
    delays_s: list[float] = field(default_factory=list)
    """Of every event of every watcher: between asking for the change and reading of it."""


@dataclass(frozen=True)
class Fanned:
    """How changes came to many watchers."""

    rate: float
    p50_ms: float
    p99_ms: float
    each_us: float
    """The server's CPU for one event of one watcher."""
    client_us: float
    memory_mb: float


async def fill(rest: Rest) -> None:
    """Make the pods; every other one has the label that is selected by."""
    numbers = iter(range(PODS_MADE))

    async def make() -> None:
        for number in numbers:
            pod = new_pod()
            labels = {**pod.metadata.labels, "half": "ab"[number % 2]}
            pod = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=labels))
            await rest.ask("POST", PODS, body=msgspec.json.encode(pod))

    await asyncio.gather(*(make() for _ in range(MAKERS)))


async def paged(rest: Rest) -> bytes:
    """All pods, page by page."""
    path, size = f"{PODS}?limit={PAGE}", 0
    while True:
        page = msgspec.json.decode(await rest.ask("GET", path))
        size += len(page["items"])
        token = page["metadata"].get("continue")
        if not token:
            assert size >= PODS_MADE
            return b""
        path = f"{PODS}?limit={PAGE}&continue={token}"


async def first_time(label: str, ask: Callable[[], Awaitable[bytes]], server: int) -> None:
    """Print what the first list costs, for which nothing can be ready."""
    begun, cpu = time.perf_counter(), accounts.cpu_s(server)
    size = len(await ask())
    took_ms, used_ms = (1e3 * (time.perf_counter() - begun), 1e3 * (accounts.cpu_s(server) - cpu))
    report.row(f"{label}, first", f"{took_ms:8,.0f} ms", f"{used_ms:.0f} ms CPU", f"{size / 1e6:.1f} MB")


async def lists(real: Rest, plain: Rest, servers: tuple[int, int]) -> None:
    """Print what repeated lists cost, beside the plain server."""
    for form, (path, accept, aimed) in FORMS.items():
        asks = (lambda: real.ask("GET", path, accept)), (lambda: plain.ask("GET", path, accept))  # noqa: B023 - awaited in the loop
        api_client.show(f"list of {PODS_MADE:,}, {form}", *await api_client.beside(1, asks, servers), aimed=aimed)
    asks = (lambda: paged(real)), (lambda: paged(plain))
    label = f"list of {PODS_MADE:,}, JSON, in pages of {PAGE}"
    api_client.show(label, *await api_client.beside(1, asks, servers), aimed=True)


async def change(rest: Rest) -> None:
    """Ask for one change each of many pods; each says when it was asked for."""
    numbers = iter(range(CHANGES))

    async def work() -> None:
        for number in numbers:
            await rest.ask("PATCH", f"{PODS}/p{number:07}", body=changed(), of=MERGE)

    await asyncio.gather(*(work() for _ in range(CHANGERS)))


def changed() -> bytes:
    """A change that says when it was asked for."""
    return b'{"metadata":{"annotations":{"sent":"%020.6f"}}}' % time.monotonic()


@asynccontextmanager
async def watching(found: config.ClusterConfig, https: str, version: str) -> AsyncIterator[Watched]:
    """So many watchers, each with a connection of its own."""
    seen = Watched()
    path = f"{PODS}?watch=1&resourceVersion={version}"
    connector = aiohttp.TCPConnector(ssl=tls(found), limit=0)

    async def watch(session: aiohttp.ClientSession) -> None:
        async with session.get(path, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            seen.opened += 1
            rest = b""
            async for chunk in answer.content.iter_any():
                now, text = time.monotonic(), rest + chunk
                seen.delays_s += [now - float(stamp) for stamp in SENT.findall(text)]
                rest = text[1 - STAMP_BYTES :]  # a stamp may be in two pieces

    async with aiohttp.ClientSession(https, connector=connector) as session:
        tasks = [asyncio.create_task(watch(session)) for _ in range(WATCHERS)]
        await until(lambda: seen.opened == WATCHERS)
        try:
            yield seen
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def until(done: Callable[[], bool]) -> None:
    """Wait for what the watchers see. Raises TimeoutError."""
    async with asyncio.timeout(ARRIVAL_S):
        while not done():  # noqa: ASYNC110 - many tasks make it true
            await asyncio.sleep(0.01)


async def fan_out(found: config.ClusterConfig, rest: Rest, https: str, version: str, server: int) -> Fanned:
    """Changes without watchers, and with them."""
    cpu = accounts.cpu_s(server)
    await change(rest)
    alone_s = accounts.cpu_s(server) - cpu
    async with watching(found, https, version or await now(rest)) as seen:
        begun, cpu, own = time.perf_counter(), accounts.cpu_s(server), time.process_time()
        await change(rest)
        await until(lambda: len(seen.delays_s) >= WATCHERS * CHANGES)
        took_s, used_s = time.perf_counter() - begun, accounts.cpu_s(server) - cpu
        client_us = 1e6 * (time.process_time() - own) / len(seen.delays_s)
        memory_mb = accounts.memory_mb(server)[0]
    p50, p99 = (statistics.quantiles(seen.delays_s, n=100)[at] * 1e3 for at in (49, 98))
    each_us = 1e6 * (used_s - alone_s) / len(seen.delays_s)
    return Fanned(CHANGES / took_s, p50, p99, each_us, client_us, memory_mb)


async def now(rest: Rest) -> str:
    """The version to watch from."""
    listed = msgspec.json.decode(await rest.ask("GET", f"{PODS}?limit=1"))
    return str(listed["metadata"]["resourceVersion"])


async def one_event(found: config.ClusterConfig, rest: Rest, https: str) -> bytes:
    """The line that a watcher gets for one change."""
    connector = aiohttp.TCPConnector(ssl=tls(found))
    async with (
        aiohttp.ClientSession(https, connector=connector, read_bufsize=READ_BYTES) as session,
        session.get(f"{PODS}?watch=1&resourceVersion={await now(rest)}") as answer,
    ):
        await rest.ask("PATCH", f"{PODS}/p0000000", body=changed(), of=MERGE)
        return await answer.content.readline()


def show_fanned(label: str, found: Fanned, times: str = "") -> None:
    """Print how changes came to the watchers."""
    report.row(
        label,
        f"{found.rate:8,.0f} /s",
        f"p50 {found.p50_ms:.1f} p99 {found.p99_ms:.1f} ms",
        f"{found.each_us:.1f} us CPU a watcher and event",
        f"client {found.client_us:.1f} us",
        f"RSS {found.memory_mb:.0f} MB",
        times,
    )


async def main(folder: Path, server: int) -> None:
    """Measure lists, then watches."""
    found, recorded = config.load(folder / "admin.kubeconfig"), Recorded()
    empty_mb = accounts.memory_mb(server)[0]
    async with over_rest(found, found.server, recorded) as real:
        await fill(real)
        filled_mb = accounts.memory_mb(server)[0]
        for form, (path, accept, _) in FORMS.items():
            await first_time(f"list of {PODS_MADE:,}, {form}", lambda: real.ask("GET", path, accept), server)  # noqa: B023 - called at once
        await paged(real)
        listed_mb = accounts.memory_mb(server)[0]
        recorded.event = await one_event(found, real, found.server)
        await change(real)
        with recorded.served(folder) as (plain_pid, ports):
            https = f"https://127.0.0.1:{ports[0]}"
            async with over_rest(found, https, Recorded()) as plain:
                await lists(real, plain, (server, plain_pid))
                fanned = await fan_out(found, real, found.server, "", server)
                bare = await fan_out(found, plain, https, "0", plain_pid)
    times = f"{fanned.each_us / bare.each_us:.1f} x the plain server's CPU"
    show_fanned(f"{CHANGES:,} changes to {WATCHERS} watchers", fanned, times)
    show_fanned("the same through the plain server", bare)
    report.row(
        "memory of the server",
        f"{empty_mb:.0f} MB empty",
        f"{filled_mb:.0f} MB with {PODS_MADE:,} pods",
        f"{listed_mb:.0f} MB listed in every form",
        f"{fanned.memory_mb:.0f} MB with {WATCHERS} watchers",
    )


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
