"""All controllers together: CPU for a pod from nothing to steady state, how it grows with the cluster, and at rest.

Run: python -m tests.benchmarks.bench_controllers. Each cluster is a process of its own; see `simulated` for what runs
in it. What counts is what the controllers use themselves: being told of changes, deciding, and their queues and tasks.
What they have others do (admission, the store, events, the scheduler) stands beside it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvloop

from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1, policy_v1
from mizzen.engine.entry import Change
from tests.benchmarks import accounts, report
from tests.benchmarks.simulated import (
    ADMISSION,
    DECIDING,
    DRIVING,
    EVENTS,
    SCHEDULING,
    STORE,
    TOLD,
    ControlPlane,
    Nodes,
)

SIZES = (100, 500, 2_000)
"""Deployments."""
REPLICAS, NODES, PER_NAMESPACE = 4, 100, 25
CPU_MS = 1.0
"""Of all controllers, for a pod."""
GROWTH = 1.2
"""How much more a pod may cost in the largest cluster than in the smallest, for the cost to count as linear."""
REST_PERCENT = 1.0
"""Of a core, for all controllers while nothing happens but heartbeats."""
REST_S = 3
SETTLED_S, WAIT_S = 1.0, 120
SHOWN = 6
"""Controllers that are shown by name."""


@dataclass(frozen=True)
class Cost:
    """What one cluster showed. Milliseconds of CPU are for a pod."""

    deployments: int
    took_s: float
    ms: dict[str, float]
    times: dict[str, int]
    etcd_ms: float
    one_more_ms: float
    """From the creation of one more Deployment to its pods."""
    rest_percent: float
    """Of a core at rest: the controllers' own."""
    rest_all_percent: float
    """The same of the whole process."""
    memory_mb: float
    empty_mb: float

    @property
    def deciding(self) -> dict[str, float]:
        """By controller."""
        return {part.removeprefix(DECIDING): ms for part, ms in self.ms.items() if part.startswith(DECIDING)}

    @property
    def own_ms(self) -> float:
        """All controllers together."""
        return own(self.ms)


def own(used: dict[str, float]) -> float:
    """What of the CPU used is the controllers' own."""
    return sum(used.get(part, 0) for part in (TOLD, DRIVING)) + sum(
        amount for part, amount in used.items() if part.startswith(DECIDING)
    )


def shop(namespace: str, name: str) -> tuple[Any, ...]:
    """A Deployment behind a service and under a budget."""
    labels, metadata = {"app": name}, meta_v1.ObjectMeta(name=name, namespace=namespace)
    port = core_v1.ContainerPort(name="http", container_port=8080)
    pod = core_v1.PodSpec(containers=(core_v1.Container(name="web", image="web:v1", ports=(port,)),))
    template = core_v1.PodTemplateSpec(metadata=meta_v1.ObjectMeta(labels=labels), spec=pod)
    selector = meta_v1.LabelSelector(match_labels=labels)
    service = core_v1.ServiceSpec(
        selector=labels, ports=(core_v1.ServicePort(name="http", port=80),), cluster_ip="None"
    )
    return (
        core_v1.Service(metadata=metadata, spec=service),
        policy_v1.PodDisruptionBudget(
            metadata=metadata, spec=policy_v1.PodDisruptionBudgetSpec(selector=selector, min_available=1)
        ),
        apps_v1.Deployment(
            metadata=metadata, spec=apps_v1.DeploymentSpec(replicas=REPLICAS, selector=selector, template=template)
        ),
    )


class Cluster:
    """A control plane with its nodes, and what it has come to."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._view, self._cache = plane.registry.view, plane.registry.cache
        self._last = 0.0
        self._woken = asyncio.Event()
        plane.registry.subscribe(self._changed)

    def _changed(self, changes: Sequence[Change], revision: int) -> None:
        del revision
        if any(change.entry.kind is not kinds.LEASE for change in changes):
            self._last = time.monotonic()
            self._woken.set()

    async def settled(self, done: Callable[[], bool]) -> float:
        """Wait until it is done and nothing but leases changes any more; returns when the last change was."""
        async with asyncio.timeout(WAIT_S):
            while await self._changes(SETTLED_S) or not done():
                pass
        return self._last

    async def _changes(self, within_s: float) -> bool:
        """Wait for the next change; False when there is none in time."""
        self._woken.clear()
        try:
            async with asyncio.timeout(within_s):
                return await self._woken.wait()
        except TimeoutError:
            return False

    async def spaces(self, count: int) -> list[str]:
        """Make namespaces, and wait until pods can be made in them."""
        names = [f"ns-{number}" for number in range(count)]
        await self._plane.make(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=name)) for name in names)
        await self.settled(lambda: all(self._view.get(kinds.SERVICE_ACCOUNT, name, "default") for name in names))
        return names

    def ready(self) -> int:
        """How many pods the Deployments count as ready."""
        return sum(one.status.ready_replicas for one in self._view.list(kinds.DEPLOYMENT))

    async def one_more(self) -> float:
        """Milliseconds from one more Deployment to its pods."""
        began, pods = time.monotonic(), len(self._cache.entries(kinds.POD)) + REPLICAS
        await self._plane.make(shop("ns-0", "one-more"))
        while len(self._cache.entries(kinds.POD)) < pods:
            await self._changes(WAIT_S)
        took = time.monotonic() - began
        await self.settled(lambda: self.ready() == pods)
        return 1e3 * took


async def _grown(deployments: int, folder: Path) -> Cost:
    async with ControlPlane.over_etcd(folder) as plane:
        meter, pid = plane.meter, os.getpid()
        nodes, cluster = Nodes(plane, NODES), Cluster(plane)
        await nodes.register()
        running = asyncio.create_task(nodes.run())
        namespaces = await cluster.spaces(max(1, deployments // PER_NAMESPACE))
        empty_mb = accounts.memory_mb(pid)[0]
        pods = deployments * REPLICAS
        wanted = [
            obj for number in range(deployments) for obj in shop(namespaces[number % len(namespaces)], f"shop-{number}")
        ]
        meter.reset()
        began, etcd_s = time.monotonic(), accounts.cpu_s(plane.etcd_pid)
        await plane.make(wanted)
        took_s = await cluster.settled(lambda: cluster.ready() == pods) - began
        meter.charge()
        ms = {part: 1e3 * used / pods for part, used in meter.seconds.items()}
        times, etcd_ms = dict(meter.times), 1e3 * (accounts.cpu_s(plane.etcd_pid) - etcd_s) / pods
        one_more_ms = await cluster.one_more()
        memory_mb = accounts.memory_mb(pid)[0]
        meter.reset()
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(REST_S)
        meter.charge()
        rested_s, cpu = time.monotonic() - began, time.process_time() - cpu
        rest = own(dict(meter.seconds))
        running.cancel()
        await asyncio.wait((running,))
    return Cost(
        deployments, took_s, ms, times, etcd_ms, one_more_ms,
        100 * rest / rested_s, 100 * cpu / rested_s, memory_mb, empty_mb,
    )  # fmt: skip


def measure(deployments: int) -> Cost:
    """Let a cluster grow to that size."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
        return uvloop.run(_grown(deployments, Path(folder)))


def show(cost: Cost) -> None:
    """Print what one cluster cost."""
    report.row(
        f"{cost.deployments:,} Deployments x {REPLICAS}: all controllers",
        f"{cost.own_ms:.3f} ms CPU a pod",
        f"{cost.took_s:.1f} s to steady",
        f"{cost.one_more_ms:.0f} ms: one more",
        report.target(cost.own_ms < CPU_MS, f"< {CPU_MS:g} ms"),
    )
    rest = ", ".join(f"{part} {cost.ms.get(part, 0):.3f}" for part in (ADMISSION, STORE, EVENTS, SCHEDULING))
    report.row(f"  beside them: {rest}, etcd {cost.etcd_ms:.3f} ms")


def by_controller(cost: Cost) -> None:
    """Print whose the CPU was."""
    pods = cost.deployments * REPLICAS
    most = Counter(cost.deciding).most_common()
    for part in (TOLD, DRIVING):
        report.row(f"  {part}", f"{cost.ms.get(part, 0):.3f} ms a pod")
    for name, ms in most[:SHOWN]:
        times = cost.times[DECIDING + name]
        report.row(
            f"  {name}",
            f"{ms:.3f} ms a pod",
            f"{times / pods:.2f} times a pod",
            f"{1e3 * ms * pods / times:.0f} us each",
        )
    others = most[SHOWN:]
    report.row(f"  {len(others)} others", f"{sum(ms for _, ms in others):.3f} ms a pod")


def main() -> None:
    """Print the figures."""
    report.section(f"Controllers: all of them together, from nothing to steady state, {NODES} simulated nodes")
    if shutil.which("etcd") is None:
        report.skip("controllers", "no etcd on this machine")
    apart = multiprocessing.get_context("spawn")
    costs = []
    for size in SIZES:
        with ProcessPoolExecutor(1, apart) as process:
            costs.append(process.submit(measure, size).result())
        show(costs[-1])
    small, large = costs[0], costs[-1]
    by_controller(large)
    growth = large.own_ms / small.own_ms
    report.row(
        f"{large.deployments // small.deployments} times as many Deployments",
        f"{growth:.2f} x for a pod",
        report.target(growth <= GROWTH, f"<= {GROWTH:g} x"),
    )
    pods = large.deployments * REPLICAS
    report.row(
        f"at rest, {pods:,} pods, heartbeats of {NODES} nodes",
        f"{large.rest_percent:.2f} % of a core",
        f"{large.rest_all_percent:.2f} % with the rest",
        report.target(large.rest_percent < REST_PERCENT, f"< {REST_PERCENT:g} %"),
    )
    grown = large.memory_mb - large.empty_mb
    report.row(
        f"memory with {pods:,} pods", f"{large.memory_mb:.0f} MB", f"{1e3 * grown / pods:.0f} kB a pod more than empty"
    )


if __name__ == "__main__":
    report.part(main)
