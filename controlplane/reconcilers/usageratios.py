"""How many pods there should be for what the present ones use or are, by Kubernetes' rules for pods that are not ready.

A pod that is not ready yet counts as using nothing where that would mean more pods. One that nobody has measured counts
as using nothing where that would mean more, and as using all of its target where it would mean fewer. What they add
must never turn the direction round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from controlplane.reconcilers import podstate
from mizzen.api import quantity, resources, spans, times
from mizzen.api.types import core_v1, metrics_v1beta1
from mizzen.engine.values import Instant

CPU_INITIALIZATION_MS = 300_000
"""For so long after its start a pod's processor time may be that of starting."""
READINESS_DELAY_MS = 30_000
"""A pod that was not ready any later than this after its start has never been."""

_NO_PODS = "no pods returned by selector while calculating replica count"
_NOT_RECEIVED = "did not receive metrics for targeted pods (pods might be unready)"

Measured = Mapping[str, metrics_v1beta1.PodMetrics]
"""What pods use, by their names."""


class NoMetric(Exception):
    """Nothing can be said."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from 1 a ratio may be without anything being done."""

    down: float = 0.1
    up: float = 0.1

    def holds(self, ratio: float) -> bool:
        """Whether a ratio is near enough."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a metric asks for, and what it was."""

    replicas: int
    average: int
    """The mean of a pod, in thousandths of the resource's unit."""
    utilization: int | None = None
    """The percentage of what was requested; None where that is not what is aimed at."""


@dataclass(frozen=True, slots=True)
class _Groups:
    ready: int
    unready: tuple[str, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aim:
    """What pods are to use: of one resource, in one container or in all."""

    resource: str
    container: str = ""
    utilization: int | None = None
    """A percentage of what is requested."""
    value: int | None = None
    """Thousandths of the resource's unit for each pod."""


def wanted(
    aim: Aim, current: int, pods: Sequence[core_v1.Pod], measured: Measured, tolerance: Tolerance, now: Instant
) -> Wanted:
    """How many pods the aim asks for. Raises NoMetric."""
    used = _used(aim, pods, measured)
    if not pods:
        raise NoMetric(_NO_PODS)
    groups = _grouped(pods, measured, used, aim.resource, now)
    out = {*groups.unready, *groups.ignored}
    used = {name: amount for name, amount in used.items() if name not in out}
    if not used:
        raise NoMetric(_NOT_RECEIVED)
    if aim.utilization is None:
        return _plain(aim.value or 0, used, groups, current, tolerance)
    requests, percent = _requests(aim, pods), aim.utilization

    def relative(amounts: Mapping[str, int]) -> float:
        return _percentage(amounts, requests) / percent

    full = {name: requests[name] * max(100, percent) // 100 for name in groups.missing}
    utilization, average = _percentage(used, requests), sum(used.values()) // len(used)
    return Wanted(_replicas(relative, used, groups, current, tolerance, full), average, utilization)


def by_values(
    target: int, current: int, pods: Sequence[core_v1.Pod], values: Mapping[str, int], tolerance: Tolerance
) -> Wanted:
    """How many pods there should be for their mean to be `target`; both in thousandths. Raises NoMetric."""
    if not pods:
        raise NoMetric(_NO_PODS)
    groups = _grouped(pods, {}, values, "", 0)
    out = {*groups.unready, *groups.ignored}
    found = {name: amount for name, amount in values.items() if name not in out}
    if not found:
        raise NoMetric(_NOT_RECEIVED)
    return _plain(target, found, groups, current, tolerance)


def by_ratio(ratio: float, current: int, pods: Sequence[core_v1.Pod], tolerance: Tolerance) -> int:
    """How many pods there should be where something is so many times what it is to be. Raises NoMetric."""
    if current == 0:
        return ceil(round(ratio, 9))
    if tolerance.holds(ratio):
        return current
    if not pods:
        raise NoMetric(f"unable to calculate ready pods: {_NO_PODS}")
    ready = sum(pod.status.phase == "Running" and podstate.is_ready(pod) for pod in pods)
    return ceil(round(ratio * ready, 9))


def by_share(value: int, target: int, current: int, tolerance: Tolerance) -> int:
    """How many pods there should be for each to have a share of `target`, where there are `current` now."""
    if current and tolerance.holds(value / (target * current)):
        return current
    return ceil(round(value / target, 9))


def _plain(target: int, used: Mapping[str, int], groups: _Groups, current: int, tolerance: Tolerance) -> Wanted:
    def ratio(amounts: Mapping[str, int]) -> float:
        return sum(amounts.values()) / len(amounts) / target

    replicas = _replicas(ratio, used, groups, current, tolerance, dict.fromkeys(groups.missing, target))
    return Wanted(replicas, sum(used.values()) // len(used))


def _percentage(used: Mapping[str, int], requests: Mapping[str, int]) -> int:
    total = sum(requests[name] for name in used)
    if not total:
        raise NoMetric("no metrics returned matched known pods")
    return sum(used.values()) * 100 // total


def _replicas(
    ratio_of: Callable[[Mapping[str, int]], float],
    used: Mapping[str, int],
    groups: _Groups,
    current: int,
    tolerance: Tolerance,
    full: Mapping[str, int],
) -> int:
    """The number of pods; `full` is what those that nobody has measured use where the others use little."""
    ratio = ratio_of(used)
    counted_in = groups.unready if ratio > 1.0 else ()
    if not counted_in and not groups.missing:
        return current if tolerance.holds(ratio) else ceil(round(ratio * groups.ready, 9))
    amounts = dict(used)
    if ratio < 1.0:
        amounts.update(full)
    elif ratio > 1.0:
        amounts.update(dict.fromkeys((*groups.missing, *counted_in), 0))
    fairer = ratio_of(amounts)
    if tolerance.holds(fairer) or (ratio < 1.0 < fairer) or (fairer < 1.0 < ratio):
        return current
    replicas = ceil(round(fairer * len(amounts), 9))
    turned = (fairer < 1.0 and replicas > current) or (fairer > 1.0 and replicas < current)
    return current if turned else replicas


def _used(aim: Aim, pods: Sequence[core_v1.Pod], measured: Measured) -> dict[str, int]:
    found = {}
    for pod in pods:
        metrics = measured.get(pod.metadata.name)
        if metrics is None:
            continue
        amounts = [
            quantity.milli(container.usage[aim.resource])
            for container in metrics.containers
            if aim.resource in container.usage and aim.container in ("", container.name)
        ]
        if amounts:
            found[pod.metadata.name] = sum(amounts)
    if not found:
        text = "no metrics returned from resource metrics API"
        raise NoMetric(f"unable to get metrics for resource {aim.resource}: {text}")
    return found


def _requests(aim: Aim, pods: Sequence[core_v1.Pod]) -> dict[str, int]:
    return {pod.metadata.name: _requested(aim, pod) for pod in pods}


def _requested(aim: Aim, pod: core_v1.Pod) -> int:
    whole = pod.spec.resources.requests.get(aim.resource) if pod.spec.resources is not None else None
    if whole is not None and not aim.container:
        return quantity.milli(whole)
    sidecars = [container for container in pod.spec.init_containers if container.restart_policy == "Always"]
    total = 0
    for container in (*pod.spec.containers, *sidecars):
        if aim.container not in ("", container.name):
            continue
        text = container.resources.requests.get(aim.resource)
        if text is None:
            what = f"missing request for {aim.resource} in container {container.name} of Pod {pod.metadata.name}"
            raise NoMetric(what)
        total += quantity.milli(text)
    return total


def _grouped(
    pods: Sequence[core_v1.Pod], measured: Measured, used: Mapping[str, int], resource: str, now: Instant
) -> _Groups:
    ready, unready, missing, ignored = 0, [], [], []
    for pod in pods:
        name = pod.metadata.name
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            ignored.append(name)
        elif pod.status.phase == "Pending":
            unready.append(name)
        elif name not in used:
            missing.append(name)
        elif resource == resources.CPU and _is_unready(pod, measured[name], now):
            unready.append(name)
        else:
            ready += 1
    return _Groups(ready, tuple(unready), tuple(missing), tuple(ignored))


def _is_unready(pod: core_v1.Pod, metrics: metrics_v1beta1.PodMetrics, now: Instant) -> bool:
    """Whether a pod's processor time is not that of work."""
    condition = podstate.condition(pod, "Ready")
    if condition is None or not pod.status.start_time:
        return True
    start = times.parse(pod.status.start_time)
    since = times.parse(condition.last_transition_time) if condition.last_transition_time else 0
    if start + CPU_INITIALIZATION_MS > now:
        window_ms = spans.parse(metrics.window) // 1_000_000
        measured_at = times.parse(metrics.timestamp) if metrics.timestamp else 0
        return condition.status == "False" or measured_at < since + window_ms
    return condition.status == "False" and start + READINESS_DELAY_MS > since
