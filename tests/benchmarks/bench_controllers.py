"""All controllers together: CPU for a pod from nothing to steady state, and how it grows with the cluster.

Run: python -m tests.benchmarks.bench_controllers. The real feed, loops and reconcilers, and admission for what they
write, over the store in memory; a pod that is made is placed and ready at once, so that what counts is theirs alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane import admission
from controlplane.admission.effects import write_of
from controlplane.admission.request import Operation, Request, Settings
from controlplane.plan.simstore import SimStore
from controlplane.plan.world import World
from controlplane.reconcilers import every_controller
from mizzen.api import errors, kinds, times
from mizzen.api.types import apps_v1, core_v1, meta_v1, policy_v1
from mizzen.engine.effects import Effect, Emit
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.feed import Feed
from mizzen.engine.loop import ControlLoop
from mizzen.engine.writes import creation, replacement
from tests.benchmarks import report
from tests.fixtures.cluster_objects import node as node_of

SIZES = (100, 500, 2_000)
"""Deployments."""
REPLICAS, NODES, PER_NAMESPACE = 4, 100, 25
CPU_MS = 1.0
"""Of all controllers, for a pod."""
GROWTH = 1.5
"""How much more a pod may cost in the largest cluster than in the smallest, for the cost to count as linear."""
SETTLED_MS = 1_000
"""Virtual time without anything to do after which the cluster is at rest."""


@dataclass
class Costs:
    """Seconds of CPU."""

    mapping: float = 0
    deciding: float = 0
    writing: float = 0


class Cluster:
    """Deployments, each behind a service and under a budget, on nodes that make their pods ready at once."""

    def __init__(self, deployments: int, namespaces: int) -> None:
        self._world = World(0)
        self._store = SimStore(self._world)
        self._cache = self._store.cache
        self._changes: list[Change] = []
        self._store.followers.append(self._changes.extend)
        every = every_controller(self._world.now, node_grace_ms=10**9, cluster_cidr="10.0.0.0/8", node_prefix=24)
        self._loops = [ControlLoop(one) for one in every]
        self._feed = Feed(self._loops)
        self._pods = 0
        self.costs = Costs()
        self.by_controller: dict[str, float] = {}
        for number in range(NODES):
            self._store.commit((creation(node_of(f"node-{number:03}", cpu="1000", memory="4Ti", pods="10000")),))
        for number in range(namespaces):
            self._make(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=f"ns-{number}")))
        for number in range(deployments):
            for obj in _shop(f"ns-{number % namespaces}", f"shop-{number}"):
                self._make(obj)

    def _make(self, obj: Any) -> None:
        request = Request(Operation.CREATE, kinds.kind_of(obj), obj.metadata.namespace, "", obj, internal=True)
        made = admission.admit(request, None, self._cache, self._world.now, self._world.ids, Settings()).object
        self._store.commit((creation(made),))

    def settle(self) -> int:
        """Run until nothing is to do; returns how many pods are ready."""
        while True:
            self._hear()
            while self._turns():
                self._hear()
            due = [due for loop in self._loops if (due := loop.queue.next_due(self._world.now)) is not None]
            if min(due, default=SETTLED_MS) >= SETTLED_MS:
                break
            self._world.now += min(due)
        return sum(one.status.ready_replicas for one in self._cache.list(kinds.DEPLOYMENT))

    def _hear(self) -> None:
        while self._changes:
            changes, self._changes[:] = list(self._changes), []
            with self._timed("mapping"):
                failures = self._feed.changed(changes, self._cache.revision, self._cache, self._world.now)
            assert not failures
            for change in changes:
                if change.entry.kind is kinds.POD and change.type is ChangeType.ADDED:
                    self._start(change.entry.object())

    def _start(self, pod: core_v1.Pod) -> None:
        self._pods += 1
        stamp = times.render(self._world.now)
        ready = core_v1.PodCondition(type="Ready", status="True", last_transition_time=stamp)
        address = f"10.{self._pods >> 16}.{self._pods >> 8 & 255}.{self._pods & 255}"
        status = core_v1.PodStatus(phase="Running", conditions=(ready,), pod_ip=address)
        spec = msgspec.structs.replace(pod.spec, node_name=f"node-{self._pods % NODES:03}")
        started = msgspec.structs.replace(pod, spec=spec, status=status)
        self._store.commit((replacement(started, int(pod.metadata.resource_version)),))

    def _turns(self) -> bool:
        """One round of every loop; says whether any had something to do."""
        busy, now = False, self._world.now
        for loop in self._loops:
            name, before = loop.controller.name, self.costs.deciding
            while True:
                with self._timed("deciding"):
                    turn = loop.take(self._cache, now, self._world.ids, now)
                if turn is None:
                    break
                busy = True
                with self._timed("writing"):
                    error = self._perform(turn.decision.effects)
                if error:
                    loop.failed(turn, error, self._cache.revision, now)
                else:
                    loop.succeeded(turn, self._cache.revision if turn.decision.effects else 0, now)
            self.by_controller[name] = self.by_controller.get(name, 0) + self.costs.deciding - before
        return busy

    def _perform(self, effects: Sequence[Effect]) -> str:
        for effect in effects:
            if isinstance(effect, Emit):
                continue
            try:
                write = write_of(effect, self._cache, self._world.now, self._world.ids, Settings())  # type: ignore[arg-type]
                if write is not None:
                    self._store.commit((write,))
            except errors.ApiError as error:
                return error.message
        return ""

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        setattr(self.costs, what, getattr(self.costs, what) + time.thread_time() - began)


def _shop(namespace: str, name: str) -> tuple[Any, ...]:
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


def measure(deployments: int, namespaces: int) -> float:
    """Print what one cluster costs; returns the milliseconds of controllers for a pod."""
    cluster = Cluster(deployments, namespaces)
    began = time.perf_counter()
    ready = cluster.settle()
    took = time.perf_counter() - began
    pods = deployments * REPLICAS
    assert ready == pods, f"{ready} of {pods} pods are ready"
    costs = cluster.costs
    own_ms = (costs.mapping + costs.deciding) / pods * 1e3
    most = sorted(cluster.by_controller.items(), key=lambda item: -item[1])[:3]
    report.row(
        f"{deployments:,} Deployments x {REPLICAS}, {namespaces} namespace{'s' * (namespaces > 1)}",
        f"{own_ms:.3f} ms CPU a pod",
        f"{costs.writing / pods * 1e3:.3f} ms to write",
        f"{took:.1f} s",
        report.target(own_ms < CPU_MS, f"< {CPU_MS:g} ms"),
    )
    told = ", ".join(f"{name} {1e3 * used / pods:.3f}" for name, used in most)
    report.row(f"  told of changes {costs.mapping / pods * 1e3:.3f}, {told}")
    return own_ms


def main() -> None:
    """Print the figures."""
    report.section(f"Controllers: all of them together, from nothing to steady state, {NODES} nodes")
    for title, spread in (("many namespaces", True), ("one namespace", False)):
        costs = [measure(size, size // PER_NAMESPACE if spread else 1) for size in SIZES]
        growth = costs[-1] / costs[0]
        report.row(
            f"{title}: {SIZES[-1] // SIZES[0]} times as many Deployments",
            f"{growth:.2f} x for a pod",
            report.target(growth <= GROWTH, f"<= {GROWTH:g} x"),
        )


if __name__ == "__main__":
    report.part(main)
