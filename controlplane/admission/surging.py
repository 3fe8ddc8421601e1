"""Whether a pod's replacement has to be there before it is evicted, where its Deployment asks for that.

The eviction notes at the pod that it is wanted away; its ReplicaSet does not count such a pod, so it makes another.
Once there is one ready pod more than there have to be, the pod may go.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from mizzen.api import times, workloads
from mizzen.api.errors import TooManyRequests
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine.values import Instant

_RETRY_S = 5


def is_held(
    pod: core_v1.Pod,
    owner: apps_v1.Deployment | None,
    replica_set: apps_v1.ReplicaSet | None,
    siblings: Sequence[core_v1.Pod],
) -> bool:
    """Whether the pod has to wait; `siblings` are all pods of its ReplicaSet, itself too."""
    if owner is None or replica_set is None or not workloads.is_on(owner.metadata, workloads.SURGE_BEFORE_EVICT):
        return False
    if not _serves(pod):
        return False
    return sum(map(_serves, siblings)) - 1 < (replica_set.spec.replicas or 0)


def _serves(pod: core_v1.Pod) -> bool:
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
    return ready and not pod.metadata.deletion_timestamp and pod.status.phase == "Running"


def wanted_away(pod: core_v1.Pod, now: Instant) -> core_v1.Pod:
    """The pod with the note that it is to be replaced; the same where that was noted not long ago."""
    left_ms = workloads.leaves_for_ms(pod, now)
    if left_ms is not None and left_ms > workloads.LEAVING_MS // 2:
        return pod
    annotations = {**pod.metadata.annotations, workloads.EVICTION_WANTED: times.render(now)}
    return replace(pod, metadata=replace(pod.metadata, annotations=annotations))


def refusal(owner_name: str) -> TooManyRequests:
    """The answer to an eviction that has to wait."""
    why = f"The deployment {owner_name} surges before its pods are evicted, and the replacement is not ready yet."
    cause = meta_v1.StatusCause(reason="SurgeBeforeEvict", message=why)
    return TooManyRequests("Cannot evict pod before its replacement is ready.", _RETRY_S, (cause,))
