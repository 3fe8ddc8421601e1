"""What every new pod gets: an account, a priority, and time to outlive a short loss of its node."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission.request import Request
from mizzen.api.errors import Forbidden
from mizzen.api.types import core_v1 as core

_ACCOUNT = "default"
_TOLERATION_S = 300
"""How long a pod stays on a node that is not ready or not reachable."""
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_EVICTS = "NoExecute"
_PRIORITIES = {"": 0, "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def complete(request: Request, pod: core.Pod) -> core.Pod:
    """The new pod with what it left out. Raises Forbidden for a priority that can't be."""
    account = pod.spec.service_account_name or pod.spec.service_account or _ACCOUNT
    spec = replace(
        pod.spec,
        service_account_name=account,
        service_account=account,
        priority=_priority(request, pod),
        preemption_policy=pod.spec.preemption_policy or "PreemptLowerPriority",
        tolerations=_tolerations(pod.spec.tolerations),
    )
    return replace(pod, spec=spec)


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


def _priority(request: Request, pod: core.Pod) -> int:
    name, given = pod.spec.priority_class_name, pod.spec.priority
    if name not in _PRIORITIES:
        raise Forbidden(request.kind, pod.metadata.name, f"no PriorityClass with name {name} was found")
    priority = _PRIORITIES[name]
    if given is not None and given != priority:
        why = (
            f"the integer value of priority ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {priority} from the given PriorityClass name"
        )
        raise Forbidden(request.kind, pod.metadata.name, why)
    return priority


def _tolerations(given: tuple[core.Toleration, ...]) -> tuple[core.Toleration, ...]:
    missing = tuple(
        core.Toleration(key=key, operator="Exists", effect=_EVICTS, toleration_seconds=_TOLERATION_S)
        for key in (_NOT_READY, _UNREACHABLE)
        if not any(t.key in ("", key) and t.effect in ("", _EVICTS) for t in given)
    )
    return given + missing
