"""Whether the node takes a pod that was assigned to it: the last check, against what really runs here.

The scheduler decides on what it knew, and a pod may be assigned without it; a node that was assigned too much, or what
does not belong here, says so instead of starving its pods. A rejected pod has failed, and its owner makes another one.
Reasons and words are the kubelet's, and so is what is looked at: an extended resource that the node does not have is
no matter of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mizzen.api import resources
from mizzen.api.node_affinity import matches
from mizzen.api.resources import is_extended
from mizzen.api.tolerations import first_untolerated, tolerates
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.containers import every
from nodeagent.lifecycle.eviction import REASON as EVICTED
from nodeagent.lifecycle.eviction import is_critical
from nodeagent.lifecycle.observation import Rejection
from nodeagent.lifecycle.pressure import MEMORY
from nodeagent.lifecycle.sysctls import refusal

_MEMORY_TAINT = "node.kubernetes.io/memory-pressure"
_FIRST = (resources.PODS, resources.CPU, resources.MEMORY, resources.EPHEMERAL_STORAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The node, as far as it matters to whether a pod may be here."""

    name: str = ""
    allocatable: Mapping[str, int] = field(default_factory=dict)
    """Amounts as `mizzen.api.resources` counts them."""
    labels: Mapping[str, str] | None = None
    """None: not known, because the control plane has not told of the node yet; then nothing is refused over them."""
    taints: Sequence[core.Taint] = ()
    app_armor: bool = False
    """Whether the kernel confines processes with AppArmor."""
    pressures: Collection[str] = ()
    """The node's conditions that say what it lacks."""
    shutting_down: bool = False
    unsafe_sysctls: tuple[str, ...] = ()
    """Those that pods may set beside the safe ones."""


def admit(pod: core.Pod, others: Iterable[core.Pod], host: Host) -> Rejection | None:
    """Why the node can't take the pod beside the others that it already has; None when it can."""
    others = tuple(others)
    if host.shutting_down:
        return Rejection("NodeShutdown", "Pod was rejected as the node is shutting down.")
    if refused := _pressed(pod, host.pressures):
        return refused
    sysctl = refusal(pod.spec, host.unsafe_sysctls)
    if sysctl:
        return Rejection("SysctlForbidden", sysctl)
    return (
        no_room(pod, others, host.allocatable)
        or _wrong_place(pod.spec, host)
        or _port_conflict(pod.spec, others)
        or _not_tolerated(pod.spec, host)
        or _unconfined(pod.spec, host)
    )


def _pressed(pod: core.Pod, pressures: Collection[str]) -> Rejection | None:
    """What lacks memory alone still takes those that have asked for some."""
    if not pressures or is_critical(pod):
        return None
    if set(pressures) == {MEMORY}:
        asked = resources.qos_class(pod.spec) != resources.BEST_EFFORT
        taint = core.Taint(key=_MEMORY_TAINT, effect="NoSchedule")
        if asked or any(tolerates(toleration, taint) for toleration in pod.spec.tolerations):
            return None
    return Rejection(EVICTED, f"The node had condition: [{' '.join(sorted(pressures))}]. ")


def no_room(pod: core.Pod, others: Sequence[core.Pod], allocatable: Mapping[str, int]) -> Rejection | None:
    """What the pod asks for and the others leave too little of; None when there is enough of everything."""
    wanted = resources.add(resources.pod_requests(pod.spec), {resources.PODS: 1})
    used = resources.total([resources.pod_requests(other.spec) for other in others])
    used[resources.PODS] = len(others)
    names = [*_FIRST, *sorted(name for name in wanted if name not in _FIRST)]
    for name in names:
        amount = wanted.get(name, 0)
        if is_extended(name) and name not in allocatable:
            continue
        if amount and amount + used.get(name, 0) > allocatable.get(name, 0):
            numbers = f"requested: {amount}, used: {used.get(name, 0)}, capacity: {allocatable.get(name, 0)}"
            return Rejection(f"OutOf{name}", f"Node didn't have enough resource: {name}, {numbers}")
    return None


def _wrong_place(spec: core.PodSpec, host: Host) -> Rejection | None:
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    if host.labels is None or matches(spec.node_selector, affinity, host.name, host.labels):
        return None
    return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _not_tolerated(spec: core.PodSpec, host: Host) -> Rejection | None:
    """Only for taints that end pods: with the others a pod may be here, it was only not to be sent here."""
    if first_untolerated(host.taints, spec.tolerations, ("NoExecute",)) is None:
        return None
    return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _unconfined(spec: core.PodSpec, host: Host) -> Rejection | None:
    contexts = (spec.security_context, *(container.security_context for container, _ in every(spec)))
    profiles = (context.app_armor_profile for context in contexts if context is not None)
    asked = any(profile is not None and profile.type != "Unconfined" for profile in profiles)
    if host.app_armor or not asked:
        return None
    return Rejection("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")


def _predicate(name: str, why: str) -> Rejection:
    return Rejection(name, f"Predicate {name} failed: {why}")


def _ports(spec: core.PodSpec) -> set[tuple[str, str, int]]:
    return {
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port or port.container_port)
        for container, _ in every(spec)
        for port in container.ports
        if port.host_port or spec.host_network
    }


def _port_conflict(spec: core.PodSpec, others: Iterable[core.Pod]) -> Rejection | None:
    wanted = _ports(spec)
    if not wanted:
        return None
    taken = set().union(*(_ports(other.spec) for other in others))
    conflict = any(
        number == their_number and protocol == their_protocol and (ip == their_ip or "0.0.0.0" in (ip, their_ip))
        for ip, protocol, number in wanted
        for their_ip, their_protocol, their_number in taken
    )
    if not conflict:
        return None
    return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
