"""One run of the simulator: a cluster, a workload that changes, faults in between, and rest at the end."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane import admission
from controlplane.admission.request import Operation, Request, Settings
from controlplane.plan.brain import Brain
from controlplane.plan.checkers import Checkers
from controlplane.plan.faults import Strike, schedule
from controlplane.plan.model_node import ModelNode
from controlplane.plan.runtime import ModelRuntime
from controlplane.plan.simstore import SimStore
from controlplane.plan.world import World
from controlplane.reconcilers.scalingmetrics import NO_SOURCES, Sources
from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine.writes import creation, replacement

GRACE_MS = 50_000
TROUBLE_MS = 400_000
"""Faults strike within this time of the start."""
REST_MS = 1_400_000
"""By then everything must have come to rest: the longest fault, five minutes of toleration and every back-off."""
ROOM = {"cpu": "4", "memory": "8Gi", "pods": "30"}
IMAGES = {"web:v1", "web:v2", "web:v3"}


class Run:
    """The world of one seed."""

    def __init__(self, seed: int, nodes: int = 4, replicas: int = 6, sources: Sources = NO_SOURCES) -> None:
        """`sources` are the figures that autoscalers go by."""
        self.world = World(seed)
        self._sources = sources
        self.store = SimStore(self.world)
        for name in ("default", "kube-system", "kube-node-lease"):
            self._create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=name)))
        self.nodes = [
            ModelNode(self.world, self.store, f"node-{n}", ModelRuntime(set(IMAGES)), ROOM) for n in range(nodes)
        ]
        self.brain = Brain(self.world, self.store, "brain-0", grace_ms=GRACE_MS, sources=sources)
        self.checkers = Checkers(self.world, self.store, self.nodes)
        self.world.checks.append(self.checkers.always)
        self._replicas = replicas
        self._brains = 1

    def play(self) -> Run:
        """Runs it all. Raises Broken or NoRest."""
        random = self.world.random("script")
        self.world.after(1_000, self._begin)
        for place, image in enumerate(("web:v2", "web:v3", "web:v1")):
            self.world.after(30_000 + place * 110_000 + random.randrange(20_000), lambda i=image: self._roll(i))  # type: ignore[misc]
        if random.random() < 0.3:
            slow = random.choice(sorted(IMAGES))
            for node in self.nodes:
                node.runtime.slow_images[slow] = 60_000
        for strike in schedule(self.world.random("faults"), len(self.nodes), TROUBLE_MS):
            self.world.after(strike.at_ms, lambda s=strike: self._strike(s))  # type: ignore[misc]
        # A leader that dies is followed by another, sooner or later.
        self.world.after(5_000, self._watch_leader)
        self.world.run_until(REST_MS)
        self.checkers.at_rest()
        return self

    def _begin(self) -> None:
        requests = core_v1.ResourceRequirements(requests={"cpu": "500m", "memory": "64Mi"})
        port = core_v1.ContainerPort(name="http", container_port=8080)
        container = core_v1.Container(name="web", image="web:v1", resources=requests, ports=(port,))
        template = core_v1.PodTemplateSpec(
            metadata=meta_v1.ObjectMeta(labels={"app": "web"}), spec=core_v1.PodSpec(containers=(container,))
        )
        spec = apps_v1.DeploymentSpec(
            replicas=self._replicas, selector=meta_v1.LabelSelector(match_labels={"app": "web"}), template=template
        )
        metadata = meta_v1.ObjectMeta(name="web", namespace="default")
        ports = (core_v1.ServicePort(name="http", port=80, target_port="http"),)
        self.checkers.allow("web", self._replicas + -(-self._replicas // 4))
        self._create(core_v1.Service(metadata=metadata, spec=core_v1.ServiceSpec(selector={"app": "web"}, ports=ports)))
        self._create(apps_v1.Deployment(metadata=metadata, spec=spec))

    def _roll(self, image: str) -> None:
        entry = self.store.cache.entry(kinds.DEPLOYMENT, "default", "web")
        assert entry is not None
        old = entry.object()
        template = old.spec.template
        container = msgspec.structs.replace(template.spec.containers[0], image=image)
        template = msgspec.structs.replace(
            template, spec=msgspec.structs.replace(template.spec, containers=(container,))
        )
        new = msgspec.structs.replace(old, spec=msgspec.structs.replace(old.spec, template=template))
        self.world.tell(f"user: rolls to {image}")
        request = Request(Operation.UPDATE, kinds.DEPLOYMENT, "default", "web", new)
        admitted = admission.admit(request, old, self.store.cache, self.world.now, self.world.ids, Settings())
        self.store.commit((replacement(admitted.object, entry.version),))

    def _create(self, obj: Any) -> None:
        kind = kinds.kind_of(obj)
        request = Request(Operation.CREATE, kind, obj.metadata.namespace, "", obj, internal=True)
        admitted = admission.admit(request, None, self.store.cache, self.world.now, self.world.ids, Settings())
        self.store.commit((creation(admitted.object),))

    def _strike(self, strike: Strike) -> None:
        node = self.nodes[strike.node]
        match strike.fault:
            case "agent-crash":
                if node.agent_up:
                    node.crash_agent(strike.for_ms)
            case "power-off":
                if node.powered:
                    node.power_off(strike.for_ms)
            case "cut":
                if node.connected:
                    node.cut(strike.for_ms)
            case "kill-container":
                node.kill_container()
            case "leader-change":
                self._next_brain(0)
            case "die-writing":
                self._next_brain(strike.write)

    def _next_brain(self, die_after: int) -> None:
        """Another control plane takes over; the old one does not know it yet, and finds out when it writes."""
        name = f"brain-{self._brains}"
        self._brains += 1
        self.brain = Brain(self.world, self.store, name, grace_ms=GRACE_MS, die_after=die_after, sources=self._sources)

    def _watch_leader(self) -> None:
        if not self.brain.alive:
            self._next_brain(0)
        self.world.after(5_000, self._watch_leader)
