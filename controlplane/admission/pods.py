"""What every new pod gets: an account, a priority, and time to outlive a short loss of its node."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission import classes, limits, nodes
from controlplane.admission.request import Request
from mizzen.api import workloads
from mizzen.api.edit import edited
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_pod import MIRROR
from mizzen.engine.view import View

_ACCOUNT = "default"
_TOLERATION_S = 300
"""How long a pod stays on a node that is not ready or not reachable."""
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_EVICTS = "NoExecute"


def complete(request: Request, pod: core.Pod, view: View) -> core.Pod:
    """The new pod with what it left out. Raises Forbidden for classes that can't be."""
    pod = nodes.placed(limits.fill(pod, request.namespace, view), pod.spec.node_name, view)
    pod = classes.run_by(request, classes.prioritised(request, pod, view), view)
    account = pod.spec.service_account_name or pod.spec.service_account
    if not account and MIRROR not in pod.metadata.annotations:
        account = _ACCOUNT
    spec = replace(
        pod.spec,
        service_account_name=account,
        service_account=account,
        tolerations=_tolerations(pod.spec.tolerations),
    )
    return _gated(replace(pod, spec=spec))


def _gated(pod: core.Pod) -> core.Pod:
    """The pod with the gate that holds it until what it depends on is there."""
    waits = workloads.DEPENDS_ON in pod.metadata.annotations and not pod.spec.node_name
    if not waits or workloads.is_gated(pod):
        return pod
    gates = (*pod.spec.scheduling_gates, core.PodSchedulingGate(name=workloads.DEPENDS_ON))
    return replace(pod, spec=replace(pod.spec, scheduling_gates=gates))


def keep(pod: core.Pod, old: core.Pod) -> core.Pod:
    """The changed pod with what new pods get, where the change leaves it out."""
    before = old.spec
    spec = replace(
        pod.spec,
        priority=before.priority if pod.spec.priority is None else pod.spec.priority,
        preemption_policy=pod.spec.preemption_policy or before.preemption_policy,
        tolerations=_tolerations(pod.spec.tolerations),
    )
    return replace(pod, spec=spec)


def with_ephemeral(pod: core.Pod, old: core.Pod) -> core.Pod:
    """The stored pod with the ephemeral containers of the changed one."""
    spec = edited(old.spec, ephemeral_containers=pod.spec.ephemeral_containers)
    return replace(old, metadata=_managed(pod, old), spec=spec)


def with_resources(pod: core.Pod, old: core.Pod) -> core.Pod:
    """The stored pod with the resources of the changed one's containers; with its containers if they are others."""
    metadata = _managed(pod, old)
    after, before = pod.spec, old.spec
    if len(after.containers) != len(before.containers) or len(after.init_containers) != len(before.init_containers):
        return replace(old, metadata=metadata, spec=after)
    spec = edited(
        before,
        containers=_resized(after.containers, before.containers),
        init_containers=_resized(after.init_containers, before.init_containers),
        resources=after.resources,
    )
    return replace(old, metadata=metadata, spec=spec)


def _resized(new: tuple[core.Container, ...], old: tuple[core.Container, ...]) -> tuple[core.Container, ...]:
    if [container.name for container in new] != [container.name for container in old]:
        return new
    return tuple(
        edited(before, resources=after.resources, resize_policy=after.resize_policy)
        for after, before in zip(new, old, strict=True)
    )


def _managed(pod: core.Pod, old: core.Pod) -> meta.ObjectMeta:
    """The stored metadata with the account of fields that the change is to start from."""
    return edited(old.metadata, managed_fields=pod.metadata.managed_fields)


def _tolerations(given: tuple[core.Toleration, ...]) -> tuple[core.Toleration, ...]:
    missing = tuple(
        core.Toleration(key=key, operator="Exists", effect=_EVICTS, toleration_seconds=_TOLERATION_S)
        for key in (_NOT_READY, _UNREACHABLE)
        if not any(t.key in ("", key) and t.effect in ("", _EVICTS) for t in given)
    )
    return given + missing
