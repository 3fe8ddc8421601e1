"""The scheduler: decisions a second on simulated nodes, and pods a second decided and durably bound through etcd.

Run: python -m tests.benchmarks.bench_scheduler. Bindings go the way they go in the control plane: the scheduler's
driver, admission, the registry and the store, with the fence of a leader and the events that tell of each placement.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings
from controlplane.drive.events import Recorder
from controlplane.drive.perform import Effectual, Performer
from controlplane.drive.scheduler import SchedulerDriver
from controlplane.scheduling.passes import PassLimits, Scheduler
from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.keys import kind_prefix
from controlplane.store.registry import Registry
from controlplane.store.values import Require
from mizzen.api import defaults, kinds, times
from mizzen.api.types import core_v1, meta_v1
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds
from mizzen.engine import indexes
from mizzen.engine.cache import Cache
from mizzen.engine.effects import Issue, Sign
from mizzen.engine.entry import Change
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write, creation
from tests.benchmarks import report
from tests.fixtures.cluster_objects import node as node_of

SIZES = ((1_000, 10_000), (5_000, 20_000))
"""Nodes, and pods that wait."""
DECISIONS_S = 10_000
ROUNDS = 3

NODES, PODS, OWNERS = 5_000, 6_000, 20
BOUND_S = 2_000
KUBE_SCHEDULER = (164, 196)
"""Pods a second of kube-scheduler with its API server and 5,000 nodes, measured on the same kind of machine."""
WAIT_S = 60
COMMIT, AT_ONCE = 50, 16
"""Objects of a commit and commits at a time, while nodes and pods are made."""

WANTED = core_v1.ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"})
ALL = PassLimits(pods_max=1_000_000)


def nodes(count: int) -> list[core_v1.Node]:
    """Nodes of equal size."""
    return [node_of(f"node-{number:05}", cpu="8", memory="32Gi", pods="110") for number in range(count)]


def pods(count: int, first: int = 0) -> list[core_v1.Pod]:
    """Pods of several owners, in runs, as replica sets create them, numbered from `first`."""
    spec = core_v1.PodSpec(containers=(core_v1.Container(name="c", image="web:v1", resources=WANTED),))
    now = times.render(SystemClock().now())
    found = []
    for number in range(first, first + count):
        owner = meta_v1.OwnerReference(
            api_version="apps/v1", kind="ReplicaSet", name="web", controller=True,
            uid=f"owner-{(number - first) * OWNERS // count}",
        )  # fmt: skip
        metadata = meta_v1.ObjectMeta(
            name=f"pod-{number:06}", namespace="default", uid=str(number), creation_timestamp=now,
            labels={"app": "web"}, owner_references=(owner,),
        )  # fmt: skip
        found.append(defaults.apply(core_v1.Pod(metadata=metadata, spec=spec)))
    return found


def decisions(size: int, count: int) -> None:
    """Print the rate of decisions alone: no store, one pass."""
    machines, waiting, rates = nodes(size), pods(count), []
    for _ in range(ROUNDS):
        scheduler = Scheduler()
        for node in machines:
            scheduler.cluster.set_node(node)
        began = time.perf_counter()
        result = scheduler.run_pass(waiting, ALL, Cache(indexes.ALL))
        rates.append(count / (time.perf_counter() - began))
        assert len(result.bindings) == count
    report.row(
        f"decisions, {size:,} nodes, {count:,} pods of {OWNERS} owners",
        f"{max(rates):8,.0f} /s",
        f"{1e6 / max(rates):.0f} us",
        report.spread(rates),
        report.target(max(rates) >= DECISIONS_S, f">= {DECISIONS_S:,}/s") if size == NODES else "",
    )


class ControlPlane:
    """The parts of a control plane that bind pods, over one etcd."""

    def __init__(self, store: EtcdStore, registry: Registry) -> None:
        self.store = store
        self.registry = registry
        self._clock, self._ids = SystemClock(), RandomIds()

    async def decide(self, fence: Require) -> None:
        """Schedule and record events until cancelled."""
        recorder = Recorder(self.registry, self._clock, self._ids)
        performer = Performer(self.registry, _write_of, recorder.record, self._clock, self._ids)
        driver = SchedulerDriver(self.registry, performer, _write_of, recorder.record, self._clock, self._ids)
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run(fence))
            group.create_task(driver.run(fence))

    async def write(self, objects: Sequence[Any]) -> float:
        """Create objects; return how long it took in seconds until they were durable."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def some(part: Sequence[Any]) -> None:
            async with limit:
                await self.registry.commit([creation(one) for one in part])

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(objects), COMMIT):
                group.create_task(some(objects[start : start + COMMIT]))
        return time.perf_counter() - began

    async def bound(self) -> int:
        """How many pods have a node, as etcd itself answers."""
        page = await self.store.range(kind_prefix("", kinds.POD.resource, "default"))
        found = [msgspec.json.decode(record.value, type=core_v1.Pod) for record in page.records]
        return sum(bool(pod.spec.node_name) for pod in found)


@dataclass(frozen=True)
class Bound:
    """What one round showed."""

    created_s: float
    """Pods a second that were created, durable."""
    bound_s: float
    """Pods a second that were decided and bound, durable."""
    cpu_us: float
    """Of this process, for one pod bound."""


async def binding(plane: ControlPlane, fence: Require, first: int) -> Bound:
    """Create pods, then schedule until the log tells that all are bound.

    The scheduler starts with an empty head: that it reads all nodes, and the pods of earlier rounds, counts too.
    """
    created = PODS / await plane.write(pods(PODS, first))
    seen: set[str] = set()
    done = asyncio.Event()

    def changed(changes: Sequence[Change], revision: int) -> None:
        seen.update(
            one.entry.name for one in changes if one.entry.kind is kinds.POD and one.entry.object().spec.node_name
        )
        if len(seen) == PODS:
            done.set()

    plane.registry.subscribe(changed)
    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        deciding = group.create_task(plane.decide(fence))
        await done.wait()
        took, used = time.perf_counter() - began, time.process_time() - cpu
        deciding.cancel()
    plane.registry.unsubscribe(changed)
    assert await plane.bound() == first + PODS
    return Bound(created, PODS / took, used / PODS * 1e6)


async def durably() -> None:
    """Print how fast pods are decided and bound in a real etcd."""
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
        async with EmbeddedEtcd(Path(folder)) as etcd:
            store = await EtcdStore.open(etcd.endpoints)
            registry = Registry(store)
            await registry.start()
            plane = ControlPlane(store, registry)
            async with store.campaign("bench", "bench", 15) as leadership:
                await plane.write(nodes(NODES))
                await registry.fresh()
                rounds = [await binding(plane, leadership.fence, number * PODS) for number in range(ROUNDS)]
            await registry.close()
            await store.close()
    created, bound = [one.created_s for one in rounds], [one.bound_s for one in rounds]
    report.row(f"pods created, {PODS:,}, durable", f"{max(created):8,.0f} /s", "", report.spread(created))
    report.row(
        f"pods decided and bound, {NODES:,} nodes, durable",
        f"{max(bound):8,.0f} /s",
        f"{min(one.cpu_us for one in rounds):.0f} us CPU",
        report.spread(bound),
        report.target(max(bound) >= BOUND_S, f">= {BOUND_S:,}/s"),
    )
    low, high = KUBE_SCHEDULER
    report.row(f"  the peer, kube-scheduler with its API server: {low}-{high} /s", f"{max(bound) / high:8.1f} x")


def _write_of(effect: Effectual, view: View, now: Instant, ids: Ids) -> Write | None:
    assert not isinstance(effect, Sign | Issue), "a scheduler issues no certificates"
    return write_of(effect, view, now, ids, Settings())


def main() -> None:
    """Print the rates."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    report.section("Scheduler: decisions alone, and with everything it takes to bind a pod in etcd")
    for size, count in SIZES:
        decisions(size, count)
    if shutil.which("etcd") is None:
        report.skip("pods decided and bound", "no etcd on this machine")
    uvloop.run(durably())


if __name__ == "__main__":
    report.part(main)
