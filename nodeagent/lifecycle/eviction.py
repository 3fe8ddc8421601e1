"""Who goes when the node runs out of something, and who goes for taking more of the disk than its pod may. Pure.

Order, as in the kubelet: first those that use more than they asked for, then those of lower priority, then those that
are furthest above what they asked for. Critical pods never go. One pod goes at a time; what that brings is seen first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mizzen.api import quantity, resources
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.memory import PodFailure
from nodeagent.lifecycle.pressure import DISK, MEMORY, PIDS
from nodeagent.lifecycle.static import is_static
from nodeagent.lifecycle.stops import grace_s
from nodeagent.lifecycle.thresholds import Crossed

REASON = "Evicted"
CRITICAL_PRIORITY = 2_000_000_000
GRACE_S = 1
"""Who takes what the node lacks gets no time to take more."""
PROCESSES = "pids"
RESOURCES = {MEMORY: resources.MEMORY, DISK: resources.EPHEMERAL_STORAGE, PIDS: PROCESSES}
"""What pods give back by going, by the node's condition."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one pod uses of one resource: bytes, or processes."""

    pod: core.Pod
    containers: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)
    """Folders of its own on the node's disk, by the names of its volumes."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.containers.values()) + sum(self.volumes.values())


def is_critical(pod: core.Pod) -> bool:
    """Whether the node keeps a pod whatever it lacks."""
    return is_static(pod) or (pod.spec.priority or 0) >= CRITICAL_PRIORITY


def evicted(uses: Iterable[Use], crossed: Crossed, soft_grace_s: int = 0) -> tuple[core.Pod, PodFailure] | None:
    """Who goes for what the node lacks, and what is told of it; None when there is nobody to go.

    `soft_grace_s`: what a pod gets at most to end where the node could bear it for a while.
    """
    resource = RESOURCES.get(crossed.threshold.condition, "")
    candidates = [use for use in uses if resource and not is_critical(use.pod)]
    if not candidates:
        return None
    first = min(candidates, key=lambda use: _rank(use, resource))
    grace = min(grace_s(first.pod.spec), soft_grace_s) if crossed.threshold.patience_ms else GRACE_S
    return first.pod, PodFailure(REASON, _message(first, resource, crossed), grace, disrupted=True)


def _rank(use: Use, resource: str) -> tuple[bool, int, int, str]:
    asked = resources.pod_requests(use.pod.spec).get(resource, 0)
    # Nobody asks for processes: all that counts is who matters less, and who has more.
    within = resource != PROCESSES and use.total <= asked
    return within, use.pod.spec.priority or 0, asked - use.total, use.pod.metadata.uid


def _message(use: Use, resource: str, crossed: Crossed) -> str:
    signal = crossed.threshold.signal
    lacking = "inodes" if signal.endswith("inodesFree") else resource
    numbers = (crossed.least, crossed.available)
    least, available = (str(n) if lacking in ("inodes", PROCESSES) else _text(n) for n in numbers)
    text = f"The node was low on resource: {lacking}. Threshold quantity: {least}, available: {available}. "
    if resource == PROCESSES:
        return text  # nobody asks for them
    for container in (*use.pod.spec.init_containers, *use.pod.spec.containers):
        asked = resources.amounts(container.resources.requests).get(resource, 0)
        used = use.containers.get(container.name, 0)
        if used > asked:
            text += f"Container {container.name} was using {_text(used)}, request is {_text(asked)}, "
            text += f"has larger consumption of {resource}. "
    return text


def over_limit(use: Use) -> PodFailure | None:
    """Why a pod goes for what it has on the disk: a folder, all of it, or a container has more than it may."""
    message = _volume_over(use) or _pod_over(use) or _container_over(use)
    return PodFailure(REASON, message, GRACE_S, disrupted=False) if message else None


def _volume_over(use: Use) -> str:
    for volume in use.pod.spec.volumes:
        scratch = volume.empty_dir
        limit = quantity.units(scratch.size_limit) if scratch is not None and scratch.size_limit else 0
        if scratch is not None and limit and scratch.medium != "Memory" and use.volumes.get(volume.name, 0) > limit:
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{scratch.size_limit}". '
    return ""


def _pod_over(use: Use) -> str:
    limits = [_limit(container) for container in use.pod.spec.containers]
    total = sum(limits)
    # One container without a limit may use what it likes, and so may the pod.
    if not total or not all(limits) or use.total <= total:
        return ""
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {_text(total)}. "


def _container_over(use: Use) -> str:
    for container in use.pod.spec.containers:
        limit = _limit(container)
        if limit and use.containers.get(container.name, 0) > limit:
            return f'Container {container.name} exceeded its local ephemeral storage limit "{_text(limit)}". '
    return ""


def has_limits(pod: core.Pod) -> bool:
    """Whether anything of a pod on the disk is bounded, so that it has to be measured."""
    bounded = any(v.empty_dir is not None and v.empty_dir.size_limit for v in pod.spec.volumes)
    return bounded or any(_limit(container) for container in pod.spec.containers)


def _limit(container: core.Container) -> int:
    return resources.amounts(container.resources.limits).get(resources.EPHEMERAL_STORAGE, 0)


def _text(amount: int) -> str:
    return quantity.of_units(amount, quantity.Format.BINARY)
