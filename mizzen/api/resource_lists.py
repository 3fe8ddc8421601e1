"""Arithmetic over resource lists as the API writes them: `{"cpu": "250m", "memory": "64Mi"}`.

Exact, and in the suffixes that people wrote, for sums that people read. Where only numbers are compared,
`mizzen.api.resources` is faster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from mizzen.api import quantity, resources
from mizzen.api.types import core_v1 as core

Listed = dict[str, str]
ZERO = "0"


def add(left: Mapping[str, str], right: Mapping[str, str]) -> Listed:
    """The sums, over the names of either side. Raises QuantityError."""
    sums = dict(left)
    for name, text in right.items():
        sums[name] = _sum(sums[name], text) if name in sums else text
    return sums


@lru_cache(maxsize=4096)
def _sum(left: str, right: str) -> str:
    """Pods of one workload ask for the same, so that the same sums are made over and over."""
    return quantity.add(left, right)


def total(lists: Iterable[Mapping[str, str]], names: Iterable[str]) -> Listed:
    """The sums of many, under these names only: zero where nothing is listed. Raises QuantityError."""
    sums = {name: quantity.Quantity(0) for name in names}
    # Most of what is summed up is of a few workloads, so that equal lists are many.
    for listed, count in Counter(tuple(listed.items()) for listed in lists).items():
        for name, text in listed:
            if name in sums:
                nano, family = sums[name]
                more = quantity.parse(text)
                sums[name] = quantity.Quantity(nano + more.nano * count, family if nano else more.format)
    return {name: quantity.render(amount) for name, amount in sums.items()}


def most(left: Mapping[str, str], right: Mapping[str, str]) -> Listed:
    """The larger amounts, over the names of either side. Raises QuantityError."""
    result = dict(left)
    for name, text in right.items():
        if name not in result or quantity.compare(text, result[name]) > 0:
            result[name] = text
    return result


def less(left: Mapping[str, str], right: Mapping[str, str]) -> Listed:
    """What the left side has more than the right, by the left side's names; never negative. Raises QuantityError."""
    rest = {name: quantity.sub(text, right.get(name, ZERO)) for name, text in left.items()}
    return {name: text if quantity.compare(text, ZERO) > 0 else ZERO for name, text in rest.items()}


def only(listed: Mapping[str, str], names: Iterable[str]) -> Listed:
    """What is listed under these names."""
    return {name: listed[name] for name in names if name in listed}


def same(left: Mapping[str, str], right: Mapping[str, str]) -> bool:
    """Whether both list the same names with the same amounts, however they are written. Raises QuantityError."""
    return left.keys() == right.keys() and all(quantity.compare(left[name], right[name]) == 0 for name in left)


def text(listed: Mapping[str, str]) -> str:
    """As messages show it: `cpu=1,memory=64Mi`. Raises QuantityError."""
    return ",".join(f"{name}={quantity.canonical(listed[name])}" for name in sorted(listed))


def pod_requests(pod: core.Pod, *, overhead: bool = True) -> Listed:
    """What a pod asks for: containers, init containers, sidecars, overhead. Raises QuantityError."""
    spec = pod.spec
    asked = _of_containers(pod, limits=False)
    if spec.resources is not None:
        asked |= _of_whole_pod(spec.resources.requests)
    return add(asked, spec.overhead) if overhead and spec.overhead else asked


def pod_limits(pod: core.Pod, *, overhead: bool = True) -> Listed:
    """What a pod may use at most; overhead comes on top of what is limited. Raises QuantityError."""
    spec = pod.spec
    limited = _of_containers(pod, limits=True)
    if spec.resources is not None:
        limited |= _of_whole_pod(spec.resources.limits)
    return add(limited, only(spec.overhead, limited)) if overhead and spec.overhead else limited


def _of_whole_pod(listed: Mapping[str, str]) -> Listed:
    return {name: amount for name, amount in listed.items() if resources.is_of_whole_pods(name)}


def _of_containers(pod: core.Pod, *, limits: bool) -> Listed:
    running: Listed = {}
    for container in pod.spec.containers:
        running = add(running, _wanted(container, pod.status.container_statuses, limits=limits))
    sidecars: Listed = {}
    starting: Listed = {}
    for container in pod.spec.init_containers:
        wanted = _wanted(container, pod.status.init_container_statuses, limits=limits)
        if resources.is_sidecar(container):
            running, sidecars = add(running, wanted), add(sidecars, wanted)
            wanted = sidecars
        else:
            # While a plain init container runs, so do the sidecars started before it.
            wanted = add(wanted, sidecars)
        starting = most(starting, wanted)
    return most(running, starting) if starting else running


def _wanted(
    container: core.Container, statuses: tuple[core.ContainerStatus, ...], *, limits: bool
) -> Mapping[str, str]:
    """What a container asks for, or still has where it has more since before it was resized."""
    own = container.resources.limits if limits else container.resources.requests
    if not statuses:
        return own
    status = next((status for status in statuses if status.name == container.name), None)
    if status is None or status.resources is None:
        return own
    if limits:
        return most(own, status.resources.limits)
    return most(own, most(status.resources.requests, status.allocated_resources))
