"""What must hold in the whole world, after every event, and once it has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from controlplane.plan.model_node import ModelNode
from controlplane.plan.simstore import SimStore
from controlplane.plan.world import World
from controlplane.reconcilers import podstate
from mizzen.api import kinds, resources, selectors
from mizzen.api.types import apps_v1, core_v1
from nodeagent.runtime.values import Status

FINISHED = ("Succeeded", "Failed")


class Broken(AssertionError):
    """An invariant does not hold."""


class Checkers:
    """Looks at the store and the machines, never at what deciders believe."""

    def __init__(self, world: World, store: SimStore, nodes: Iterable[ModelNode]) -> None:
        self._world = world
        self._store = store
        self._nodes = list(nodes)
        self._seen = -1
        self._bound: dict[str, str] = {}
        self._surge: dict[str, int] = {}
        self._least: dict[str, int] = {}
        self._requests: dict[str, dict[str, int]] = {}
        self._containers: dict[str, int] = {}

    def always(self) -> None:
        """After every event."""
        self._one_instance()
        if self._seen == self._store.cache.revision:
            return
        self._seen = self._store.cache.revision
        pods = self._store.cache.list(kinds.POD)
        self._room(pods)
        self._bound_once(pods)
        self._no_more_than_surge(pods)
        self._never_below_least(pods)

    def allow(self, deployment: str, pods: int) -> None:
        """From now on a deployment may have so many active pods."""
        self._surge[deployment] = pods

    def keep(self, deployment: str, pods: int) -> None:
        """From now on a deployment must have so many available pods: for worlds whose machines stay well."""
        self._least[deployment] = pods

    def _fail(self, what: str) -> None:
        tail = "\n".join(self._world.trace[-40:])
        raise Broken(f"seed {self._world.seed}: {what}\n{tail}")

    def _one_instance(self) -> None:
        """No container runs twice."""
        for node in self._nodes:
            if self._containers.get(node.name) == node.runtime.changes:
                continue
            self._containers[node.name] = node.runtime.changes
            running = [c for c in node.runtime.containers.values() if c.status is Status.RUNNING]
            if len({(c.pod.uid, c.name) for c in running}) < len(running):
                self._fail(f"{node.name} runs a container twice: {sorted(c.id for c in running)}")

    def _room(self, pods: Iterable[core_v1.Pod]) -> None:
        """No node holds more than it has."""
        used: dict[str, Counter[str]] = {}
        for pod in pods:
            if pod.spec.node_name and pod.status.phase not in FINISHED:
                used.setdefault(pod.spec.node_name, Counter()).update(self._requests_of(pod))
        for node in self._store.cache.list(kinds.NODE):
            have = resources.amounts(node.status.allocatable)
            for name, amount in used.get(node.metadata.name, Counter()).items():
                if amount > have.get(name, 0):
                    self._fail(f"{node.metadata.name} is overcommitted: {amount} of {have.get(name, 0)} {name}")

    def _requests_of(self, pod: core_v1.Pod) -> dict[str, int]:
        """What a pod asks for never changes."""
        found = self._requests.get(pod.metadata.uid)
        if found is None:
            found = self._requests[pod.metadata.uid] = resources.pod_requests(pod.spec)
        return found

    def _bound_once(self, pods: Iterable[core_v1.Pod]) -> None:
        """A pod never changes its node."""
        for pod in pods:
            if pod.spec.node_name:
                before = self._bound.setdefault(pod.metadata.uid, pod.spec.node_name)
                if before != pod.spec.node_name:
                    self._fail(f"{pod.metadata.name} moved from {before} to {pod.spec.node_name}")

    def _no_more_than_surge(self, pods: Iterable[core_v1.Pod]) -> None:
        """A deployment never has more active pods than desired + surge."""
        active = Counter(
            pod.metadata.labels.get("app", "")
            for pod in pods
            if pod.metadata.deletion_timestamp is None and pod.status.phase not in FINISHED
        )
        for name, bound in self._surge.items():
            if active[name] > bound:
                self._fail(f"{name} has {active[name]} active pods, may have {bound}")

    def _never_below_least(self, pods: Iterable[core_v1.Pod]) -> None:
        """A deployment never has fewer available pods than desired - unavailable."""
        available = Counter(
            pod.metadata.labels.get("app", "")
            for pod in pods
            if pod.metadata.deletion_timestamp is None and podstate.is_ready(pod)
        )
        for name, bound in self._least.items():
            if available[name] < bound:
                self._fail(f"{name} has {available[name]} available pods, must have {bound}")

    def at_rest(self) -> None:
        """When nothing has gone wrong for a while: everything is as desired."""
        for wanted in self._store.cache.list(kinds.DEPLOYMENT):
            self._as_desired(wanted)
        alive = {n.name for n in self._nodes if n.powered}
        live = {pod.metadata.uid for pod in self._store.cache.list(kinds.POD)}
        for node in self._nodes:
            leftover = sorted(set(node.runtime.uids()) - live)
            if node.name in alive and leftover:
                self._fail(f"{node.name} still has something of {leftover}")

    def _as_desired(self, found: apps_v1.Deployment) -> None:
        name = found.metadata.name
        desired = found.spec.replicas or 0
        status = found.status
        counts = (status.replicas, status.updated_replicas, status.available_replicas)
        if counts != (desired, desired, desired):
            self._fail(f"{name} is not as desired: {counts}, wanted {desired}")
        selector = selectors.from_field(found.spec.selector)
        pods = [p for p in self._store.cache.list(kinds.POD, "default") if selector.matches(p.metadata.labels)]
        image = found.spec.template.spec.containers[0].image
        wrong = [
            p.metadata.name
            for p in pods
            if p.metadata.deletion_timestamp is None and p.spec.containers[0].image != image
        ]
        if wrong:
            self._fail(f"{wrong} do not run {image}")
        self._behind_the_service(name, desired)

    def _behind_the_service(self, name: str, desired: int) -> None:
        ready = [
            endpoint
            for piece in self._store.cache.list(kinds.ENDPOINT_SLICE, "default")
            if piece.metadata.labels.get("kubernetes.io/service-name") == name
            for endpoint in piece.endpoints
            if endpoint.conditions.ready
        ]
        if len(ready) != desired:
            self._fail(f"{len(ready)} endpoints of {name} are ready, wanted {desired}")
