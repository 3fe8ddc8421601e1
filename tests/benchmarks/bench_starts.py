"""How long one pod takes from `create` until a watch says that it runs, 1, 4 and 16 at a time; the agent at rest.

Run: python -m tests.benchmarks.bench_starts, as root. It makes a lab of one control plane and one machine in a
temporary folder and takes it down. Beside it stand bare Docker with the same sandbox and container, and bare Docker
with a container that joins a sandbox that is ready: what a start would cost if nothing had to be made for a pod.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from deploy.lab import Lab, LabError, cluster
from deploy.lab.lab import require_root_and_tools
from mizzen.api import kinds
from mizzen.api.types import core_v1, meta_v1
from mizzen.client import Client, config
from tests.benchmarks import accounts, report
from tests.benchmarks.docker_peers import COMMAND, IMAGE, WAIT_S, Docker, Timed

ROUNDS = {1: 8, 4: 24, 16: 48}
"""How many pods are started, by how many of them at a time."""
BURSTS = (20, 60)
RESTING = (0, 50, 100)
PERIOD_S = 10
"""Between two probes of a pod: what Kubernetes takes where nothing is said."""
SETTLE_S, REST_S = 4, 12
ONE_MAX, BURST_MAX = 1.3, 1.15
AGENT_MB, AGENT_PERCENT, PROBED = 60, 1, 50

Peers = dict[int, tuple[Timed, Timed]]
"""Bare starts with the sandbox and into ready sandboxes, by how many at a time; under a negative number, a burst."""


def main() -> None:
    """Measure everything that needs a machine with Docker."""
    report.section("Starts on one machine, from create to Running seen by a watch; the agent at rest")
    try:
        require_root_and_tools()
    except LabError as error:
        report.skip("starts", str(error))
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder, Lab(Path(folder)) as lab:
        lab.up(nodes=1)
        docker = Docker(lab.machine(1), lab.folder)
        peers = _peers(docker)
        asyncio.run(_mizzen(lab, peers))


def _peers(docker: Docker) -> Peers:
    docker.start_pods(1)
    docker.remove_all()
    peers = {}
    for at_once, count in (*ROUNDS.items(), *((-burst, burst) for burst in BURSTS)):
        both = []
        for what, start in (("sandbox and container", docker.start_each), ("into ready sandboxes", docker.fill_ready)):
            both.append(start(count, at_once if at_once > 0 else max(ROUNDS)))
            docker.remove_all()
            _show(f"bare Docker, {what}", at_once, both[-1])
        peers[at_once] = (both[0], both[1])
    return peers


async def _mizzen(lab: Lab, peers: Peers) -> None:
    kubeconfig = cluster.start(lab)
    agent = lab.machine(1).pid(cluster.AGENT)
    assert agent is not None
    async with Client(config.load(kubeconfig)) as client:
        await _started(client, 1, 1)
        for at_once, (whole, ready) in peers.items():
            count = ROUNDS.get(at_once, -at_once)
            found = await _started(client, count, at_once if at_once > 0 else count)
            figures = [f"{found.seconds / whole.seconds:.2f} x bare", f"{found.seconds / ready.seconds:.2f} x ready"]
            if at_once == 1:
                times = statistics.median(found.each) / statistics.median(whole.each)
                figures.append(report.target(times <= ONE_MAX, f"p50 <= {ONE_MAX} x bare"))
            if at_once < 0:
                met = found.seconds <= BURST_MAX * ready.seconds
                figures.append(report.target(met, f"<= {BURST_MAX} x ready"))
            _show("Mizzen", at_once, found, *figures)
        await _resting(client, agent)


async def _resting(client: Client, agent: int) -> None:
    """What the agent uses while nothing changes, with ever more pods that are probed."""
    pods, alone = 0, 0.0
    for count in RESTING:
        if count > pods:
            await _running(client, [_pod(f"probed-{number}", probed=True) for number in range(pods, count)], 16)
            pods = count
        await asyncio.sleep(SETTLE_S)
        before = accounts.cpu_s(agent)
        await asyncio.sleep(REST_S)
        used = (accounts.cpu_s(agent) - before) / REST_S
        rss, _ = accounts.memory_mb(agent)
        alone = used if not count else alone
        figures = [f"agent {100 * used:.1f} % of a core", f"RSS {rss:.0f} MB"]
        if count:
            figures.append(f"{1e6 * (used - alone) * PERIOD_S / count:.0f} us CPU a probe")
        if not count:
            figures.append(report.target(rss <= AGENT_MB, f"<= {AGENT_MB} MB"))
        if count == PROBED:
            figures.append(report.target(100 * used <= AGENT_PERCENT, f"<= {AGENT_PERCENT} % of a core"))
        report.row(f"at rest, {count} probed pods", *figures)


async def _started(client: Client, count: int, at_once: int) -> Timed:
    """Start so many pods, and take them away again."""
    pods = [_pod(f"p{number}") for number in range(count)]
    timed = await _running(client, pods, at_once)
    since = (await client.list(kinds.POD, "default")).resource_version
    gone = {pod.metadata.name for pod in pods}
    for name in sorted(gone):
        await client.delete(kinds.POD, "default", name, grace_period_seconds=0)
    async with asyncio.timeout(WAIT_S), aclosing(client.watch(kinds.POD, "default", resource_version=since)) as events:
        async for event in events:
            if event.type == "DELETED":
                gone.discard(event.object.metadata.name)
            if not gone:
                return timed
    raise RuntimeError(f"the watch ended with {len(gone)} pods that are not gone")


async def _running(client: Client, pods: list[core_v1.Pod], at_once: int) -> Timed:
    """Create pods, so many at a time, and return when a watch has said of each that it runs."""
    since = (await client.list(kinds.POD, "default")).resource_version
    runs = {pod.metadata.name: asyncio.Event() for pod in pods}
    room = asyncio.Semaphore(at_once)

    async def watch() -> None:
        async with aclosing(client.watch(kinds.POD, "default", resource_version=since)) as events:
            async for event in events:
                if event.object.status.phase == "Running" and event.object.metadata.name in runs:
                    runs[event.object.metadata.name].set()

    async def start(pod: core_v1.Pod) -> float:
        async with room:
            began = time.perf_counter()
            await client.create(pod)
            await runs[pod.metadata.name].wait()
            return time.perf_counter() - began

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.timeout(WAIT_S):
            began = time.perf_counter()
            each = await asyncio.gather(*map(start, pods))
            return Timed(time.perf_counter() - began, each)
    finally:
        watching.cancel()


def _pod(name: str, *, probed: bool = False) -> core_v1.Pod:
    container = core_v1.Container(name="app", image=IMAGE, command=COMMAND)
    if probed:
        probe = core_v1.Probe(http_get=core_v1.HTTPGetAction(path="/", port=8080), period_seconds=PERIOD_S)
        container = core_v1.Container(name="app", image=IMAGE, readiness_probe=probe)
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"), spec=core_v1.PodSpec(containers=(container,))
    )


def _show(who: str, at_once: int, timed: Timed, *more: str) -> None:
    count = len(timed.each)
    how = f"{count} pods, {at_once} at a time" if at_once > 0 else f"burst of {count}"
    if count > 1:
        p50, p99 = (1000 * statistics.quantiles(timed.each, n=100, method="inclusive")[at] for at in (49, 98))
    else:
        p50 = p99 = 1000 * timed.each[0]
    report.row(
        f"{who}, {how}", f"{timed.seconds:.2f} s", f"{count / timed.seconds:.1f} /s",
        f"p50 {p50:.0f} p99 {p99:.0f} ms", *more,
    )  # fmt: skip


if __name__ == "__main__":
    report.part(main)
