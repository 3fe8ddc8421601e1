"""Assigning a pod to a node, once and for all."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from mizzen.api import kinds, times
from mizzen.api.errors import Conflict
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant

_SCHEDULED = "PodScheduled"


def bind(
    pod: core.Pod, node: str, now: Instant, *, uid: str = "", annotations: Mapping[str, str] | None = None
) -> core.Pod:
    """The pod on its node. Raises Conflict when it is another pod, is being deleted, waits for a gate or has a node."""
    name = pod.metadata.name
    if uid and uid != pod.metadata.uid:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod.metadata.uid}"
        raise Conflict(kinds.POD, name, why)
    if pod.metadata.deletion_timestamp:
        raise Conflict(kinds.POD, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod.spec.node_name:
        raise Conflict(kinds.POD, name, f'pod {name} is already assigned to node "{pod.spec.node_name}"')
    if pod.spec.scheduling_gates:
        raise Conflict(kinds.POD, name, f"pod {name} has non-empty .spec.schedulingGates")
    metadata = replace(pod.metadata, annotations={**pod.metadata.annotations, **(annotations or {})})
    return replace(
        pod,
        metadata=metadata,
        spec=replace(pod.spec, node_name=node),
        status=replace(pod.status, conditions=_scheduled(pod, now)),
    )


def _scheduled(pod: core.Pod, now: Instant) -> tuple[core.PodCondition, ...]:
    before = next((c for c in pod.status.conditions if c.type == _SCHEDULED), None)
    if before is not None and before.status == "True":
        return pod.status.conditions
    others = tuple(c for c in pod.status.conditions if c.type != _SCHEDULED)
    condition = core.PodCondition(
        type=_SCHEDULED,
        status="True",
        last_transition_time=times.render(now),
        observed_generation=pod.metadata.generation,
    )
    return (*others, condition)
