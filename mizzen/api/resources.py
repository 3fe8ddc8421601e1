"""What pods ask for and nodes offer, as numbers that can be added and compared.

An *amount* of CPU is in millicores, of anything else in its base unit (bytes, pods, devices), rounded up. A set of
amounts is a plain `dict[str, int]` by resource name; a resource that is not in it counts as zero.

Vocabulary: a *sidecar* is an init container with `restartPolicy: Always`; it runs beside the containers until the pod
ends. *Overhead* is what the runtime itself takes for a pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mizzen.api import conditions, quantity
from mizzen.api.edit import edited
from mizzen.api.types import core_v1 as core

Amounts = dict[str, int]

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"
HUGE_PAGES_PREFIX = "hugepages-"

GUARANTEED = "Guaranteed"
BURSTABLE = "Burstable"
BEST_EFFORT = "BestEffort"

_SEEN_AS_BYTES = (MEMORY, EPHEMERAL_STORAGE)


def amounts(quantities: Mapping[str, str]) -> Amounts:
    """The numbers for a resource list. Raises QuantityError."""
    return {name: amount(name, text) for name, text in quantities.items()}


def amount(name: str, text: str) -> int:
    """The number for one resource. Raises QuantityError."""
    return quantity.milli(text) if name == CPU else quantity.units(text)


def quantities(numbers: Mapping[str, int]) -> dict[str, str]:
    """The resource list for numbers, by name; bytes are written with binary suffixes."""
    return {name: _text(name, numbers[name]) for name in sorted(numbers)}


def add(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    """The sums, over the names of either side."""
    total = dict(left)
    for name, number in right.items():
        total[name] = total.get(name, 0) + number
    return total


def maximum(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    """The larger numbers, over the names of either side."""
    most = dict(left)
    for name, number in right.items():
        if number > most.get(name, 0):
            most[name] = number
    return most


def total(parts: Iterable[Mapping[str, int]]) -> Amounts:
    """The sum of many."""
    result: Amounts = {}
    for part in parts:
        for name, number in part.items():
            result[name] = result.get(name, 0) + number
    return result


def pod_requests(spec: core.PodSpec) -> Amounts:
    """What the scheduler must find free for a pod: containers, init containers, sidecars, overhead.

    Requests of the pod as a whole, where it has them, stand in for those of its containers.
    """
    running: Amounts = {}
    for container in spec.containers:
        running = add(running, amounts(container.resources.requests))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.init_containers:
        wanted = amounts(container.resources.requests)
        if is_sidecar(container):
            running = add(running, wanted)
            sidecars = add(sidecars, wanted)
            wanted = sidecars
        else:
            # While a plain init container runs, so do the sidecars started before it.
            wanted = add(wanted, sidecars)
        starting = maximum(starting, wanted)
    result = maximum(running, starting)
    if spec.resources is not None:
        result |= {name: n for name, n in amounts(spec.resources.requests).items() if is_of_whole_pods(name)}
    return add(result, amounts(spec.overhead)) if spec.overhead else result


def reserved(pod: core.Pod) -> core.PodSpec:
    """The pod's spec with what it holds on its node: of each container the most of what is wanted, granted and in use.

    What is wanted does not count where the node has said that it will never grant it.
    """
    spec, status = pod.spec, pod.status
    mains = _reserved_by(spec.containers, status.container_statuses, status)
    inits = _reserved_by(spec.init_containers, status.init_container_statuses, status)
    return edited(spec, containers=mains, init_containers=inits)


def _reserved_by(
    containers: tuple[core.Container, ...], statuses: tuple[core.ContainerStatus, ...], status: core.PodStatus
) -> tuple[core.Container, ...]:
    granted = {s.name: s for s in statuses}
    if all((s := granted.get(c.name)) is None or _has(s, c.resources.requests) for c in containers):
        return containers
    never = any(c.type == conditions.RESIZE_PENDING and c.reason == "Infeasible" for c in status.conditions)
    return tuple(_reserving(container, granted.get(container.name), never=never) for container in containers)


def _has(status: core.ContainerStatus, wanted: Mapping[str, str]) -> bool:
    """Whether a container holds just what it wants."""
    actual = status.resources
    return status.allocated_resources in ({}, wanted) and (actual is None or actual.requests in ({}, wanted))


def _reserving(container: core.Container, status: core.ContainerStatus | None, *, never: bool) -> core.Container:
    if status is None:
        return container
    most = maximum(amounts(status.allocated_resources), amounts(status.resources.requests if status.resources else {}))
    if not never or not most:
        most = maximum(most, amounts(container.resources.requests))
    return edited(container, resources=edited(container.resources, requests=quantities(most)))


def is_sidecar(container: core.Container) -> bool:
    """Whether an init container keeps running beside the others."""
    return container.restart_policy == "Always"


def qos_class(spec: core.PodSpec) -> str:
    """The quality of service that follows from requests and limits of CPU and memory."""
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        wants = [spec.resources]
    else:
        wants = [container.resources for container in (*spec.init_containers, *spec.containers)]
    requests = [_of_quality(resources.requests) for resources in wants]
    limits = [_of_quality(resources.limits) for resources in wants]
    if not any(requests) and not any(limits):
        return BEST_EFFORT
    guaranteed = all(
        len(limit) == 2 and all(request.get(name, number) == number for name, number in limit.items())
        for request, limit in zip(requests, limits, strict=True)
    )
    return GUARANTEED if guaranteed else BURSTABLE


def is_extended(name: str) -> bool:
    """Whether a resource is what devices and others bring (`example.com/gpu`), as opposed to one of Kubernetes' own."""
    return "/" in name and "kubernetes.io/" not in name


def is_of_whole_pods(name: str) -> bool:
    """Whether a pod as a whole may ask for a resource."""
    return name in (CPU, MEMORY) or name.startswith(HUGE_PAGES_PREFIX)


def _of_quality(listed: Mapping[str, str]) -> Amounts:
    """The non-zero amounts that decide on the quality of service."""
    return {name: n for name in (CPU, MEMORY) if name in listed and (n := amount(name, listed[name])) > 0}


def _text(name: str, number: int) -> str:
    if name == CPU:
        return quantity.of_milli(number)
    binary = name in _SEEN_AS_BYTES or name.startswith(HUGE_PAGES_PREFIX)
    return quantity.of_units(number, quantity.Format.BINARY if binary else quantity.Format.DECIMAL)
