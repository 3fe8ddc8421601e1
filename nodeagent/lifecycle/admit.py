"""Whether the node takes a pod that was assigned to it: the last check, against what really runs here.

The scheduler decides on what it knew; a node that was assigned too much says so instead of starving its pods. A
rejected pod has failed, and its owner makes another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mizzen.api import resources
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.containers import every
from nodeagent.lifecycle.observation import Rejection

_FIRST = (resources.PODS, resources.CPU, resources.MEMORY, resources.EPHEMERAL_STORAGE)


def admit(pod: core.Pod, others: Iterable[core.Pod], allocatable: Mapping[str, int]) -> Rejection | None:
    """Why the node can't take the pod beside the others that it already has; None when it can.

    `allocatable` holds amounts as `mizzen.api.resources` counts them; a resource that is not in it is not there.
    """
    others = tuple(others)
    port = _port_conflict(pod.spec, others)
    if port:
        message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        return Rejection("NodePorts", message)
    wanted = resources.add(resources.pod_requests(pod.spec), {resources.PODS: 1})
    used = resources.total([resources.pod_requests(other.spec) for other in others])
    used[resources.PODS] = len(others)
    names = [*_FIRST, *sorted(name for name in wanted if name not in _FIRST)]
    for name in names:
        amount = wanted.get(name, 0)
        if amount and amount + used.get(name, 0) > allocatable.get(name, 0):
            numbers = f"requested: {amount}, used: {used.get(name, 0)}, capacity: {allocatable.get(name, 0)}"
            return Rejection(f"OutOf{name}", f"Node didn't have enough resource: {name}, {numbers}")
    return None


def _ports(spec: core.PodSpec) -> set[tuple[str, str, int]]:
    return {
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port or port.container_port)
        for container, _ in every(spec)
        for port in container.ports
        if port.host_port or spec.host_network
    }


def _port_conflict(spec: core.PodSpec, others: Iterable[core.Pod]) -> bool:
    wanted = _ports(spec)
    if not wanted:
        return False
    taken = set().union(*(_ports(other.spec) for other in others))
    return any(
        number == their_number and protocol == their_protocol and (ip == their_ip or "0.0.0.0" in (ip, their_ip))
        for ip, protocol, number in wanted
        for their_ip, their_protocol, their_number in taken
    )
