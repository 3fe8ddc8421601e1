"""A machine in the simulator: the real pod lifecycle over a modelled runtime, with an agent that may be away.

What is sent to the control plane takes time and is lost while the connection is cut; what counts is sent again when it
is back. What the agent forgets when it dies, it learns from the machine and from the control plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from controlplane.admission.reports import FINISHED, merged_node_status, merged_pod_status, new_node
from controlplane.plan.runtime import ModelRuntime
from controlplane.plan.simstore import SimStore
from controlplane.plan.world import World
from mizzen.api import errors, kinds, times
from mizzen.api.types import coordination_v1, core_v1, meta_v1
from mizzen.engine.entry import Change
from mizzen.engine.writes import creation, removal, replacement
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.memory import PodMemory
from nodeagent.lifecycle.observation import Observation, ProbeKind, Result, Verdict
from nodeagent.lifecycle.pod import step
from nodeagent.runtime.values import ContainerState

HEARTBEAT_MS = 10_000
WIRE_MS = (1, 15)
"""One way between agent and control plane."""
TRIES = 6


class ModelNode:
    """One machine."""

    def __init__(
        self,
        world: World,
        store: SimStore,
        name: str,
        runtime: ModelRuntime,
        room: Mapping[str, str],
        *,
        powered: bool = True,
        heartbeat_ms: int = HEARTBEAT_MS,
    ) -> None:
        """A machine; one that is powered is switched on now."""
        self.name = name
        self.runtime = runtime
        self.powered, self.agent_up = powered, False
        self.connected = True
        self._heartbeat_ms = heartbeat_ms
        self._room = dict(room)
        self._world = world
        self._store = store
        self._random = world.random(f"node/{name}")
        self._pods: dict[str, core_v1.Pod] = {}
        self._memories: dict[str, PodMemory] = {}
        self._results: dict[str, list[Result]] = {}
        self._unsent: dict[str, core_v1.PodStatus | None] = {}
        self._wakes: dict[str, int] = {}
        self._life = 0
        """Counts the agent's lives: what an earlier one began is not heard of."""
        self._synced = False
        self._learning = False
        store.followers.append(self._news)
        self._start_agent()

    @classmethod
    def like(
        cls, world: World, store: SimStore, node: core_v1.Node, pods: Iterable[core_v1.Pod], heartbeat_ms: int
    ) -> ModelNode:
        """A machine like a real one, with the pods that run there; one that is not Ready is switched off."""
        ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        runtime = ModelRuntime(None)
        for pod in pods if ready else ():
            runtime.adopt(pod, world.now)
        room = node.status.allocatable or node.status.capacity
        return cls(world, store, node.metadata.name, runtime, room, powered=ready, heartbeat_ms=heartbeat_ms)

    # What happens to the machine

    def crash_agent(self, down_ms: int) -> None:
        """The agent dies, its containers go on."""
        self._world.tell(f"{self.name}: agent dies for {down_ms} ms")
        self._forget()
        self._world.after(down_ms, self._start_agent)

    def cut(self, ms: int) -> None:
        """No connection to the control plane for a while."""
        self._world.tell(f"{self.name}: cut for {ms} ms")
        self.connected = False
        self._world.after(ms, self._heal)

    def power_off(self, ms: int) -> None:
        """The plug is pulled, for a while; 0: for ever."""
        self._world.tell(f"{self.name}: power off for {ms} ms")
        self.runtime.power_off(self._world.now)
        self.powered = False
        self._forget()
        if ms:
            self._world.after(ms, self.power_on)

    def kill_container(self) -> None:
        """Some running container dies."""
        running = sorted(c.id for c in self.runtime.containers.values() if c.status.value == "running")
        if running and self.powered:
            victim = self._random.choice(running)
            self._world.tell(f"{self.name}: kills {victim}")
            self.runtime.end(victim, 1, self._world.now)
            self._step_later(victim.split("/")[0])

    def power_on(self) -> None:
        """It starts, if it is off."""
        if self.powered:
            return
        self._world.tell(f"{self.name}: boots")
        self.powered = True
        self._start_agent()

    def _heal(self) -> None:
        self.connected = True
        # Who was silent for long is taken for dead; a node says how it is whenever it comes back.
        self._synced = False
        self._world.tell(f"{self.name}: connected")
        self._learn()

    def _forget(self) -> None:
        self.agent_up = False
        self._life += 1
        self._pods.clear()
        self._memories.clear()
        self._results.clear()
        self._unsent.clear()
        self._wakes.clear()
        self._synced = False

    def _start_agent(self) -> None:
        if self.powered and not self.agent_up:
            self._life += 1
            self.agent_up = True
            self._beat(self._life)
            self._learn()

    # Talking to the control plane

    def _wire(self) -> int:
        return self._random.randint(*WIRE_MS)

    def _news(self, changes: Sequence[Change]) -> None:
        if any(change.entry.kind is kinds.POD for change in changes):
            self._learn()

    def _learn(self) -> None:
        """Hears of what changed, some time later."""
        if self._learning or not self.agent_up:
            return
        self._learning = True
        life = self._life

        def hear() -> None:
            self._learning = False
            if life == self._life and self.connected:
                self._sync()

        self._world.after(self._wire(), hear)

    def _sync(self) -> None:
        if self._store.cache.get(kinds.NODE, "", self.name) is None:
            self._register()
        if not self._synced:
            self._synced = True
            # As in life, its first heartbeat comes before its status.
            self._renew(self._life)
            self._report_health()
        own = [p for p in self._store.cache.list(kinds.POD) if p.spec.node_name == self.name]
        present = {pod.metadata.uid: pod for pod in own}
        known = {*self._pods, *self.runtime.uids()}
        changed = [uid for uid, pod in present.items() if self._pods.get(uid) != pod]
        lost = sorted(known - set(present))
        self._pods = {**{uid: self._pods[uid] for uid in lost if uid in self._pods}, **present}
        for uid in lost:
            if uid not in self._pods:
                self._pods[uid] = self._left_over(uid)
        for uid in [*changed, *lost]:
            self._step(uid)
        for uid in list(self._unsent):
            self._send(uid)

    def _left_over(self, uid: str) -> core_v1.Pod:
        """What is known of a pod that the control plane no longer has."""
        sandboxes, containers = self.runtime.of(uid)
        ref = (sandboxes or containers)[0].pod
        named = tuple(core_v1.Container(name=n) for n in sorted({c.name for c in containers}))
        return core_v1.Pod(
            metadata=meta_v1.ObjectMeta(name=ref.name, namespace=ref.namespace, uid=ref.uid),
            spec=core_v1.PodSpec(containers=named, node_name=self.name),
        )

    def _register(self) -> None:
        self._store.commit((creation(new_node(self.name, self._node(), self._world.now, self._world.ids)),))

    def _node(self) -> core_v1.Node:
        stamp = times.render(self._world.now)
        conditions = (
            core_v1.NodeCondition(
                type="Ready",
                status="True",
                reason="KubeletReady",
                message="agent is ready",
                last_heartbeat_time=stamp,
                last_transition_time=stamp,
            ),
        )
        return core_v1.Node(
            metadata=meta_v1.ObjectMeta(name=self.name, labels={"kubernetes.io/hostname": self.name}),
            status=core_v1.NodeStatus(capacity=self._room, allocatable=self._room, conditions=conditions),
        )

    def _report_health(self) -> None:
        node = self._store.cache.get(kinds.NODE, "", self.name)
        if node is not None:
            status = merged_node_status(node.status, self._node().status)
            self._replace(msgspec.structs.replace(node, status=status))

    def _beat(self, life: int) -> None:
        if life != self._life:
            return
        if self.connected:
            self._world.after(self._wire(), lambda: self._renew(life))
        self._world.after(self._heartbeat_ms, lambda: self._beat(life))

    def _renew(self, life: int) -> None:
        if life != self._life or not self.connected:
            return
        stamp = times.render_micro(self._world.now)
        lease = self._store.cache.get(kinds.LEASE, "kube-node-lease", self.name)
        spec = coordination_v1.LeaseSpec(holder_identity=self.name, renew_time=stamp)
        if lease is None:
            metadata = meta_v1.ObjectMeta(name=self.name, namespace="kube-node-lease", uid=self._world.ids.uid("lease"))
            self._store.commit((creation(coordination_v1.Lease(metadata=metadata, spec=spec)),))
        else:
            self._replace(msgspec.structs.replace(lease, spec=spec))

    def _replace(self, obj: Any) -> None:
        entry = self._store.cache.entry(kinds.kind_of(obj), obj.metadata.namespace, obj.metadata.name)
        if entry is not None and entry.object() != obj:
            self._store.commit((replacement(obj, entry.version),))

    def _send(self, uid: str) -> None:
        """Sends a pod's newest status, or that it is gone; keeps it until it has arrived."""
        life = self._life

        def arrive() -> None:
            if life == self._life and self.connected and uid in self._unsent:
                status = self._unsent.pop(uid)
                try:
                    self._stored(uid, status)
                except errors.Conflict:
                    self._unsent.setdefault(uid, status)

        self._world.after(self._wire(), arrive)

    def _stored(self, uid: str, status: core_v1.PodStatus | None) -> None:
        pod = next((p for p in self._store.cache.list(kinds.POD) if p.metadata.uid == uid), None)
        if pod is None:
            return
        if status is None:
            if pod.metadata.deletion_timestamp is not None:
                version = int(pod.metadata.resource_version)
                self._store.commit((removal(kinds.POD, pod.metadata.namespace, pod.metadata.name, version),))
                self._world.tell(f"{self.name}: {pod.metadata.name} is gone")
            return
        if pod.status.phase in FINISHED and status.phase not in FINISHED:
            return
        self._replace(msgspec.structs.replace(pod, status=merged_pod_status(pod.status, status)))
        ready = any(c.type == "Ready" and c.status == "True" for c in status.conditions)
        self._world.tell(f"{self.name}: {pod.metadata.name} is {status.phase}{' and ready' if ready else ''}")

    # The life of pods

    def _step_later(self, uid: str, delay_ms: int = 20) -> None:
        life = self._life

        def look() -> None:
            if life == self._life:
                self._step(uid)

        self._world.after(delay_ms, look)

    def _step(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is None or not self.agent_up:
            return
        sandboxes, containers = self.runtime.of(uid)
        wanted = any(p.metadata.uid == uid for p in self._store.cache.list(kinds.POD)) or not self.connected
        seen = Observation(
            sandboxes=sandboxes,
            containers=containers,
            results=tuple(self._results.pop(uid, ())),
            ip=self.runtime.addresses.get(uid, ""),
            host_ip="192.0.2.1",
            probes=_probed(pod, containers),
            wanted=wanted,
        )
        memory, actions = step(pod, seen, self._memories.get(uid, PodMemory()), self._world.now)
        self._memories[uid] = memory
        for action in actions:
            self._obey(pod, action)
        if memory.wake_at_ms is not None and self._wakes.get(uid) != memory.wake_at_ms:
            self._wakes[uid] = memory.wake_at_ms
            self._step_later(uid, max(1, memory.wake_at_ms - self._world.now))

    def _obey(self, pod: core_v1.Pod, action: act.Action) -> None:
        uid = pod.metadata.uid
        match action:
            case act.Report():
                self._unsent[uid] = action.status
                self._send(uid)
            case act.Record():
                self._world.tell(f"{self.name}: {pod.metadata.name}: {action.reason}")
            case act.Gone():
                self._pods.pop(uid, None)
                self._memories.pop(uid, None)
                self._unsent[uid] = None
                self._send(uid)
            case _:
                self._begin(pod, action)

    def _begin(self, pod: core_v1.Pod, operation: act.Operation) -> None:
        life, uid = self._life, pod.metadata.uid

        def done() -> None:
            if not self.powered:
                return
            result = self.runtime.do(pod, operation, self._world.now)
            if life == self._life:
                self._results.setdefault(uid, []).append(result)
                self._step(uid)

        slack = self._random.randint(0, 30)
        self._world.after(self.runtime.duration_ms(operation) + slack, done)


def _probed(pod: core_v1.Pod, containers: Sequence[ContainerState]) -> dict[tuple[str, ProbeKind], Verdict]:
    """Every probe of a running container succeeds."""
    found: dict[tuple[str, ProbeKind], Verdict] = {}
    for spec in (*pod.spec.init_containers, *pod.spec.containers):
        probes: tuple[tuple[ProbeKind, core_v1.Probe | None], ...] = (
            ("startup", spec.startup_probe),
            ("liveness", spec.liveness_probe),
            ("readiness", spec.readiness_probe),
        )
        for state in containers:
            if state.name == spec.name:
                found |= {(state.id, kind): Verdict(ok=True) for kind, probe in probes if probe is not None}
    return found
