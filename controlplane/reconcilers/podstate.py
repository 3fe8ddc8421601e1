"""What controllers ask of a pod: is it active, ready, available."""

from __future__ import annotations

from mizzen.api import times
from mizzen.api.types import core_v1
from mizzen.engine.values import Instant


def is_active(pod: core_v1.Pod) -> bool:
    """Neither finished nor on its way out."""
    return not is_finished(pod) and pod.metadata.deletion_timestamp is None


def is_terminating(pod: core_v1.Pod) -> bool:
    """On its way out and not finished yet."""
    return not is_finished(pod) and pod.metadata.deletion_timestamp is not None


def is_finished(pod: core_v1.Pod) -> bool:
    """It has succeeded or failed for good."""
    return pod.status.phase in ("Succeeded", "Failed")


def condition(pod: core_v1.Pod, type_: str) -> core_v1.PodCondition | None:
    """The pod's condition of a type."""
    for found in pod.status.conditions:
        if found.type == type_:
            return found
    return None


def is_ready(pod: core_v1.Pod) -> bool:
    """The Ready condition is True."""
    found = condition(pod, "Ready")
    return found is not None and found.status == "True"


def ready_since_ms(pod: core_v1.Pod) -> int | None:
    """When the pod became ready; None while it is not."""
    found = condition(pod, "Ready")
    if found is None or found.status != "True" or not found.last_transition_time:
        return None
    return times.parse(found.last_transition_time)


def available_in_ms(pod: core_v1.Pod, min_ready_s: int, now: Instant) -> int | None:
    """0 when the pod counts as available, else the milliseconds until it will; None while it is not ready."""
    if not min_ready_s:
        return 0 if is_ready(pod) else None
    since = ready_since_ms(pod)
    return None if since is None else max(0, since + min_ready_s * 1000 - now)


def restarts(pod: core_v1.Pod) -> int:
    """The highest restart count of the pod's containers."""
    return max((status.restart_count for status in pod.status.container_statuses), default=0)
