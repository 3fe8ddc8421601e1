"""A control plane in this process, over a real etcd, and nodes that only say what nodes say.

Everything that decides runs as it does in the server: all controllers, the scheduler and the recorder of events, with
admission and the fence of a leader. A node reports each of its pods ready a second after it was bound to it, and
renews its lease; no API is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from controlplane import admission
from controlplane.admission.effects import write_of
from controlplane.admission.request import Operation, Request, Settings
from controlplane.drive.controllers import Controllers
from controlplane.drive.events import Recorder
from controlplane.drive.metrics import WorkqueueCollector
from controlplane.drive.perform import Performer
from controlplane.drive.scheduler import SchedulerDriver
from controlplane.reconcilers import every_controller
from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.follow import Subscriber
from controlplane.store.registry import Registry
from controlplane.store.values import Op, Require
from mizzen.api import errors, kinds, times
from mizzen.api.types import coordination_v1, core_v1, meta_v1
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds
from mizzen.engine.controller import Controller
from mizzen.engine.entry import Change
from mizzen.engine.values import Instant
from mizzen.engine.writes import Write, creation
from tests.benchmarks.meter import Meter, Steps
from tests.fixtures.cluster_objects import node as node_of

HEARTBEAT_S, GRACE_MS = 10, 50_000
START_S = 1.0
"""From a pod's binding until it is ready."""
REPORT_S = 0.1
"""How often nodes report what has happened."""
COMMIT = 50
"""Objects of a commit, where objects are made before the clock runs."""
LEASES = "kube-node-lease"
CONTROLLERS, SCHEDULER = "kube-controller-manager", "kube-scheduler"
"""Under which names the server has them write."""

DECIDING, TOLD, DRIVING = "deciding ", "told of changes", "queues and tasks"
"""Parts that are the controllers' own; the first is followed by a controller's name."""
ADMISSION, STORE, EVENTS, SCHEDULING, NODES = "admission", "store", "events", "scheduler", "simulated nodes"
"""Parts that are not."""

_PARTS = {
    "controlplane.drive.controllers": DRIVING,
    "controlplane.drive.perform": DRIVING,
    "controlplane.drive.events": EVENTS,
    "controlplane.drive.scheduler": SCHEDULING,
    __name__: NODES,
}


def _part_of(module: str) -> str:
    return _PARTS.get(module, STORE if module.startswith(("controlplane.store", "aetcd", "grpc")) else NODES)


class MeteredRegistry(Registry):
    """A registry whose own work is charged to the store, and whose subscribers' to themselves."""

    def __init__(self, store: EtcdStore, meter: Meter) -> None:
        """Charge to `meter`."""
        super().__init__(store)
        self._meter = meter
        self._counted: dict[Subscriber, Subscriber] = {}

    async def commit(
        self, writes: Sequence[Write], *, fence: Require | None = None, extra: Sequence[Op] = (), **how: Any
    ) -> tuple[Any, ...]:
        """See `Registry.commit`. What events and the scheduler write counts as theirs."""
        doing = super().commit(writes, fence=fence, extra=extra, **how)
        return await (Steps(self._meter, STORE, doing) if self._meter.part == DRIVING else doing)

    def subscribe(self, subscriber: Subscriber) -> None:
        """See `Registry.subscribe`."""
        part = _part_of(subscriber.__module__)
        self._counted[subscriber] = self._meter.counted(TOLD if part == DRIVING else part, subscriber)
        super().subscribe(self._counted[subscriber])

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """See `Registry.unsubscribe`."""
        super().unsubscribe(self._counted.pop(subscriber))


class ControlPlane:
    """What decides, and what it decides on."""

    def __init__(self, registry: MeteredRegistry, meter: Meter, etcd_pid: int) -> None:
        """Nothing runs before `run`."""
        self.registry = registry
        self.meter = meter
        self.etcd_pid = etcd_pid
        self.clock, self.ids = SystemClock(), RandomIds()
        self._settings = Settings(service_accounts=True)
        self._recorder = Recorder(registry, self.clock, self.ids)

    @staticmethod
    @asynccontextmanager
    async def over_etcd(folder: Path) -> AsyncIterator[ControlPlane]:
        """Run everything while the context is open."""
        meter = Meter()
        meter.use(asyncio.get_running_loop(), _part_of)
        async with EmbeddedEtcd(folder) as etcd:
            store = await EtcdStore.open(etcd.endpoints)
            registry = MeteredRegistry(store, meter)
            await registry.start()
            plane = ControlPlane(registry, meter, etcd.pid)
            async with store.campaign("controllers", "bench", 15) as leadership:
                running = asyncio.create_task(plane._run(leadership.fence))
                yield plane
                running.cancel()
                await asyncio.wait((running,))
            await registry.close()
            await store.close()

    async def make(self, objects: Iterable[Any]) -> None:
        """Create objects as a user would: admitted, many in a commit."""
        made = [creation(self._admitted(obj)) for obj in objects]
        for start in range(0, len(made), COMMIT):
            await self.registry.commit(made[start : start + COMMIT])

    def _admitted(self, obj: Any) -> Any:
        request = Request(Operation.CREATE, kinds.kind_of(obj), obj.metadata.namespace, "", obj, internal=True)
        return admission.admit(request, None, self.registry.view, self.clock.now(), self.ids, self._settings).object

    async def _run(self, fence: Require) -> None:
        controlling = self._performer(CONTROLLERS)
        scheduling = self._writer(SCHEDULER)
        scheduler = SchedulerDriver(
            self.registry, self._performer(SCHEDULER), scheduling, self._recorder.record, self.clock, self.ids
        )
        collector = WorkqueueCollector(self.clock)
        controllers = Controllers(self._controllers, self.registry, controlling, self.clock, self.ids, collector)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run(fence))
            group.create_task(controllers.run(fence))
            group.create_task(scheduler.run(fence))

    def _writer(self, manager: str) -> Callable[..., Write | None]:
        translate: Callable[..., Write | None] = partial(write_of, settings=self._settings, manager=manager)
        return self.meter.counted(ADMISSION, translate) if manager == CONTROLLERS else translate

    def _performer(self, manager: str) -> Performer:
        return Performer(self.registry, self._writer(manager), self._recorder.record, self.clock, self.ids)

    def _controllers(self, since: Instant) -> list[Controller]:
        every = every_controller(
            since, node_grace_ms=GRACE_MS, cluster_cidr="10.0.0.0/8", node_prefix=24, ca_pem="authority"
        )
        counted = self.meter.counted
        return [replace(one, reconcile=counted(DECIDING + one.name, one.reconcile)) for one in every]


class Nodes:
    """Simulated nodes, all of them told of every pod by one subscription."""

    def __init__(self, plane: ControlPlane, count: int) -> None:
        """Nothing happens before `run`."""
        self._plane = plane
        self._registry = plane.registry
        self._count = count
        self._starting: dict[tuple[str, str], float] = {}
        self._addresses = 0

    async def register(self) -> None:
        """Make the nodes and their leases."""
        names = [f"node-{number:03}" for number in range(self._count)]
        await self._plane.make([core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=LEASES))])
        nodes = [node_of(name, cpu="1000", memory="4Ti", pods="10000") for name in names]
        for node in nodes:
            await self._registry.create(node)
        spec = coordination_v1.LeaseSpec(lease_duration_seconds=40)
        await self._plane.make(
            coordination_v1.Lease(metadata=meta_v1.ObjectMeta(name=name, namespace=LEASES), spec=spec) for name in names
        )

    async def run(self) -> None:
        """Start pods and renew leases, until cancelled."""
        self._registry.subscribe(self._changed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report())
                group.create_task(self._beat())
        finally:
            self._registry.unsubscribe(self._changed)

    def _changed(self, changes: Sequence[Change], revision: int) -> None:
        del revision
        due = self._plane.clock.monotonic_ms() / 1000 + START_S
        for change in changes:
            if change.entry.kind is kinds.POD:
                pod = change.entry.object()
                if pod.spec.node_name and not pod.status.pod_ip:
                    self._starting.setdefault((pod.metadata.namespace, pod.metadata.name), due)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            now = self._plane.clock.monotonic_ms() / 1000
            started = [place for place, due in self._starting.items() if due <= now]
            async with asyncio.TaskGroup() as group:
                for place in started:
                    del self._starting[place]
                    group.create_task(self._ready(*place))

    async def _ready(self, namespace: str, name: str) -> None:
        self._addresses += 1
        number, stamp = self._addresses, times.render(self._plane.clock.now())
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        kept = ("PodScheduled",)
        while (pod := self._registry.view.get(kinds.POD, namespace, name)) is not None:
            conditions = tuple(one for one in pod.status.conditions if one.type in kept) + tuple(
                core_v1.PodCondition(type=kind, status="True", last_transition_time=stamp)
                for kind in ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
            )
            status = msgspec.structs.replace(
                pod.status, phase="Running", conditions=conditions, pod_ip=address,
                pod_ips=(core_v1.PodIP(ip=address),), start_time=stamp,
            )  # fmt: skip
            try:
                await self._registry.update(
                    msgspec.structs.replace(pod, status=status), int(pod.metadata.resource_version)
                )
                return
            except errors.Conflict:
                await asyncio.sleep(0)

    async def _beat(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(HEARTBEAT_S / self._count)
            name, number = f"node-{number % self._count:03}", number + 1
            lease = self._registry.view.get(kinds.LEASE, LEASES, name)
            assert lease is not None, f"{name} has lost its lease"
            stamp = times.render(self._plane.clock.now())
            spec = msgspec.structs.replace(lease.spec, renew_time=stamp, holder_identity=name)
            await self._registry.update(msgspec.structs.replace(lease, spec=spec), int(lease.metadata.resource_version))
