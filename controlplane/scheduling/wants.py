"""What a pod wants of a node, reduced to what decides where it can go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgspec

from mizzen.api import resources
from mizzen.api.types import core_v1

DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What a pod without requests counts for in scores (Kubernetes' numbers): else all of them land on one node."""

Port = tuple[str, str, int]
"""Protocol, host address (empty: all), port."""


@dataclass(frozen=True, slots=True)
class Wants:
    """One class of pods; equal wants get equal answers."""

    requests: tuple[tuple[str, int], ...]
    """Amounts by resource name; always with one of `pods`."""
    score_cpu: int
    score_memory: int
    ports: tuple[Port, ...]
    owner: str
    """Uid of the controller whose pods are spread; empty for none."""
    placement: bytes
    """Node selector, node affinity, tolerations and the reach of volumes, encoded."""


class Reach(msgspec.Struct, frozen=True):
    """The nodes on which a claim of a pod has, or can get, its volume."""

    selectors: tuple[core_v1.NodeSelector, ...]
    """Any of them chooses the node."""
    reason: str
    """What to say of other nodes."""


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of a pod that name nodes."""

    node_selector: dict[str, str]
    affinity: core_v1.NodeAffinity | None
    tolerations: tuple[core_v1.Toleration, ...]
    reaches: tuple[Reach, ...] = ()


class _Container(msgspec.Struct, frozen=True, array_like=True):
    resources: core_v1.ResourceRequirements
    ports: tuple[core_v1.ContainerPort, ...]
    restart_policy: str | None


class _Shape(msgspec.Struct, frozen=True, array_like=True):
    """The parts of a pod that need room."""

    init_containers: tuple[_Container, ...]
    containers: tuple[_Container, ...]
    resources: core_v1.ResourceRequirements | None
    overhead: dict[str, str]


class _Demand(msgspec.Struct, frozen=True):
    requests: tuple[tuple[str, int], ...]
    score_cpu: int
    score_memory: int
    ports: tuple[Port, ...]


def wants_of(pod: core_v1.Pod, reaches: tuple[Reach, ...] = ()) -> Wants:
    """The class of a pod, with what it holds where it is on a node; `reaches`: where its claims allow it to be."""
    spec = resources.reserved(pod)
    shape = _Shape(
        tuple([_Container(c.resources, c.ports, c.restart_policy) for c in spec.init_containers]),
        tuple([_Container(c.resources, c.ports, None) for c in spec.containers]),
        spec.resources,
        dict(spec.overhead),
    )
    demand = _demand(msgspec.json.encode(shape))
    owner = next((r.uid for r in pod.metadata.owner_references if r.controller), "")
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    placement = msgspec.json.encode(Placement(dict(spec.node_selector), affinity, spec.tolerations, reaches))
    return Wants(demand.requests, demand.score_cpu, demand.score_memory, demand.ports, owner, placement)


@lru_cache(maxsize=4096)
def _demand(encoded: bytes) -> _Demand:
    """The sums over a pod's containers; pods of one template share the answer."""
    shape = msgspec.json.decode(encoded, type=_Shape)
    spec = core_v1.PodSpec(
        init_containers=tuple(
            core_v1.Container(resources=c.resources, restart_policy=c.restart_policy) for c in shape.init_containers
        ),
        containers=tuple(core_v1.Container(resources=c.resources) for c in shape.containers),
        resources=shape.resources,
        overhead=shape.overhead,
    )
    requests = {**resources.pod_requests(spec), resources.PODS: 1}
    ports = [
        (port.protocol or "TCP", port.host_ip, port.host_port)
        for container in shape.containers
        for port in container.ports
        if port.host_port
    ]
    return _Demand(
        tuple(sorted((name, amount) for name, amount in requests.items() if amount)),
        requests.get(resources.CPU) or DEFAULT_CPU_MILLI * len(shape.containers),
        requests.get(resources.MEMORY) or DEFAULT_MEMORY_BYTES * len(shape.containers),
        tuple(sorted(ports)),
    )
