"""Lets pods start once the workloads that they depend on are there.

Admission gives such a pod a scheduling gate; this takes it away. What a pod waits for stands in a condition of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from controlplane.reconcilers import ownership, podstate
from mizzen.api import dependencies, kinds, times, workloads
from mizzen.api.dependencies import Dependency
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import ByMembership, Controller
from mizzen.engine.effects import Decision, Emit, Update, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "start-order"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One pod that waits: say for what, or let it start."""
    pod = view.get(kinds.POD, key.namespace, key.name)
    if pod is None or not workloads.is_gated(pod) or not podstate.is_active(pod):
        return Decision()
    wanted = dependencies.parse(pod.metadata.annotations.get(workloads.DEPENDS_ON, ""))
    missing = tuple(filter(None, (_missing(dependency, key.namespace, view) for dependency in wanted)))
    if not missing:
        return _started(pod, now)
    cycle = _cycle(pod, wanted, view)
    reason = "DependencyCycle" if cycle else "WaitingForDependencies"
    message = f"it depends on itself: {' -> '.join(cycle)}" if cycle else ", ".join(missing)
    waiting = (Waiting(reason, message),)
    told = podstate.condition(pod, workloads.DEPENDENCIES_MET)
    if told is not None and (told.reason, told.message) == (reason, message):
        return Decision(waiting=waiting)
    condition = core_v1.PodCondition(
        type=workloads.DEPENDENCIES_MET, status="False", reason=reason, message=message,
        last_transition_time=told.last_transition_time if told is not None else times.render(now),
    )  # fmt: skip
    event = Emit(pod, "Warning" if cycle else "Normal", reason, message, COMPONENT)
    return Decision((UpdateStatus(_with(pod, condition)), event), waiting=waiting)


def _started(pod: core_v1.Pod, now: Instant) -> Decision:
    """First its condition says so, then the gate goes: one write each."""
    told = podstate.condition(pod, workloads.DEPENDENCIES_MET)
    if told is None or told.status != "True":
        stamp = times.render(now)
        condition = core_v1.PodCondition(type=workloads.DEPENDENCIES_MET, status="True", last_transition_time=stamp)
        return Decision((UpdateStatus(_with(pod, condition)),))
    gates = tuple(gate for gate in pod.spec.scheduling_gates if gate.name != workloads.DEPENDS_ON)
    started = replace(pod, spec=replace(pod.spec, scheduling_gates=gates))
    message = f"What it depends on is there: {pod.metadata.annotations.get(workloads.DEPENDS_ON, '')}"
    return Decision((Update(started), Emit(pod, "Normal", "DependenciesMet", message, COMPONENT)))


def _with(pod: core_v1.Pod, condition: core_v1.PodCondition) -> core_v1.Pod:
    others = tuple(c for c in pod.status.conditions if c.type != condition.type)
    return replace(pod, status=replace(pod.status, conditions=(*others, condition)))


def _missing(dependency: Dependency, namespace: str, view: View) -> str:
    """What is not as it has to be; empty where it is."""
    found = view.get(dependencies.KINDS[dependency.kind], namespace, dependency.name)
    if found is None:
        return f"{dependency} is not there"
    if dependency.kind == "job":
        done = {c.type for c in found.status.conditions if c.status == "True"}
        if "Failed" in done:
            return f"{dependency} has failed"
        return "" if "Complete" in done else f"{dependency} is not complete"
    return "" if _is_available(found) else f"{dependency} is not available"


def _is_available(workload: Any) -> bool:
    status = workload.status
    if status.observed_generation < workload.metadata.generation:
        return False
    if workload.kind == "Deployment":
        return any(c.type == "Available" and c.status == "True" for c in status.conditions)
    if workload.kind == "DaemonSet":
        return bool(status.number_available >= status.desired_number_scheduled)
    wanted = workload.spec.replicas if workload.spec.replicas is not None else 1
    return bool(status.available_replicas >= wanted)


def _cycle(pod: core_v1.Pod, wanted: tuple[Dependency, ...], view: View) -> list[str]:
    """The way from a pod's workload back to itself; empty where there is none."""
    home = _workload_of(pod, view)
    ways = [[dependency] for dependency in wanted] if home is not None else []
    seen: set[Dependency] = set()
    while ways:
        way = ways.pop()
        if way[-1] == home:
            return [str(home), *map(str, way)]
        if way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, further] for further in _needs(way[-1], pod.metadata.namespace, view)]
    return []


def _needs(dependency: Dependency, namespace: str, view: View) -> tuple[Dependency, ...]:
    found = view.get(dependencies.KINDS[dependency.kind], namespace, dependency.name)
    text = found.spec.template.metadata.annotations.get(workloads.DEPENDS_ON) if found is not None else None
    return dependencies.parse(text) if text is not None else ()


def _workload_of(pod: core_v1.Pod, view: View) -> Dependency | None:
    owner = ownership.controller_of(pod)
    if owner is not None and owner.kind == "ReplicaSet":
        replica_set = view.get(kinds.REPLICA_SET, pod.metadata.namespace, owner.name)
        owner = ownership.controller_of(replica_set) if replica_set is not None else None
    return Dependency(owner.kind.lower(), owner.name) if owner is not None else None


def _waiters(obj: Object, view: View) -> Iterator[Key]:
    """The pods that wait for a workload."""
    namespace = obj.metadata.namespace
    for pod in view.select(indexes.PODS_BY_DEPENDENCY, indexes.namespaced(namespace, _named(obj))):
        yield Key(kinds.POD.resource, namespace, pod.metadata.name)


def _named(obj: Object) -> str:
    return str(Dependency(obj.kind.lower(), obj.metadata.name))


def _waiting(pod: core_v1.Pod) -> core_v1.Pod | None:
    return pod if workloads.is_gated(pod) else None


def _progress(workload: Any) -> tuple[object, ...]:
    """What of a workload those who wait for it look at: how far it is, and what it waits for itself."""
    template = workload.spec.template
    needs = template.metadata.annotations.get(workloads.DEPENDS_ON)
    if workload.kind == "Job":
        return needs, {c.type for c in workload.status.conditions if c.status == "True"}
    return needs, _is_available(workload)


CONTROLLER = Controller(
    name="start-order",
    kind=kinds.POD,
    reconcile=reconcile,
    watches=tuple((kind, ByMembership(_waiters)) for kind in dependencies.KINDS.values()),
    sees={kinds.POD: _waiting, **dict.fromkeys(dependencies.KINDS.values(), _progress)},
)
