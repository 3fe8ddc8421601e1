"""Which of several pods are given up first.

Kubernetes' order: not bound, not running, not ready; of a ReplicaSet's pods then the cheaper by annotation and those
with more of their own on their node; ready for a shorter time, restarted more often, younger. Of a ReplicaSet's pods
times are compared by the power of two that they are near to, and where that is the same chance decides (the uid), so
that it is not always the same few that go and come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cmp_to_key

from controlplane.reconcilers import podstate
from mizzen.api import times
from mizzen.api.types import core_v1
from mizzen.engine.values import Instant

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}
_NS_PER_MS = 1_000_000


def of_work(pods: Sequence[core_v1.Pod]) -> list[core_v1.Pod]:
    """The pods of a Job, first those that it gives up first; the name decides between equals."""

    def rank(pod: core_v1.Pod) -> tuple[object, ...]:
        since = podstate.ready_since_ms(pod) or 0
        return (*_state(pod), -since, *_restarts(pod), -_made_ms(pod), pod.metadata.name)

    return sorted(pods, key=rank)


def of_replicas(pods: Sequence[core_v1.Pod], related: Iterable[core_v1.Pod], now: Instant) -> list[core_v1.Pod]:
    """The pods of a ReplicaSet, first those that a scale-down takes first; `related` are all pods of its Deployment."""
    per_node = Counter(pod.spec.node_name for pod in related if podstate.is_active(pod))

    def compare(one: core_v1.Pod, other: core_v1.Pod) -> int:
        for key in (_state, _cost, lambda pod: -per_node[pod.spec.node_name]):
            if by_state := _sign(key(one), key(other)):
                return by_state
        if by_time := _by_time(one, other, podstate.ready_since_ms(one), podstate.ready_since_ms(other), now):
            return by_time
        if by_restarts := _sign(_restarts(one), _restarts(other)):
            return by_restarts
        return _by_time(one, other, _made_ms(one), _made_ms(other), now) or _sign(one.metadata.uid, other.metadata.uid)

    return sorted(pods, key=cmp_to_key(compare))


def _by_time(one: core_v1.Pod, other: core_v1.Pod, at: Instant | None, other_at: Instant | None, now: Instant) -> int:
    """The later one comes first; 0 only where the times are the same, or not known."""
    if at is None or other_at is None or at == other_at:
        return 0
    return _sign(_power(now - at), _power(now - other_at)) or _sign(one.metadata.uid, other.metadata.uid)


def _power(age_ms: int) -> int:
    """The power of two below an age in nanoseconds."""
    return (max(0, age_ms) * _NS_PER_MS).bit_length() - 1


def _sign(one: object, other: object) -> int:
    return (one > other) - (one < other)  # type: ignore[operator, no-any-return]  # both come from one function


def _state(pod: core_v1.Pod) -> tuple[bool, int, bool]:
    return pod.spec.node_name != "", _PHASE_RANK.get(pod.status.phase, 0), podstate.is_ready(pod)


def _cost(pod: core_v1.Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _restarts(pod: core_v1.Pod) -> tuple[int, int]:
    """How often its containers, and then its sidecars, were restarted; with minus, because those come first."""
    sidecars = {one.name for one in pod.spec.init_containers if one.restart_policy == "Always"}
    beside = (one.restart_count for one in pod.status.init_container_statuses if one.name in sidecars)
    own = (one.restart_count for one in pod.status.container_statuses)
    return -max(own, default=0), -max(beside, default=0)


def _made_ms(pod: core_v1.Pod) -> Instant:
    return times.parse(pod.metadata.creation_timestamp) if pod.metadata.creation_timestamp else 0
