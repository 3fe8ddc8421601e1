"""What pods use up of a ResourceQuota, and the scopes that they are in; see `mizzen.api.quota`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from mizzen.api import resource_lists, times
from mizzen.api.resource_lists import Listed
from mizzen.api.resources import BEST_EFFORT as BEST_EFFORT_CLASS
from mizzen.api.resources import CPU, EPHEMERAL_STORAGE, HUGE_PAGES_PREFIX, MEMORY, PODS, qos_class
from mizzen.api.selectors import Selector
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import is_native
from mizzen.api.validate_quota import (
    BEST_EFFORT,
    COMPUTE,
    CROSS_NAMESPACE,
    NOT_BEST_EFFORT,
    NOT_TERMINATING,
    PRIORITY_CLASS,
    TERMINATING,
)

_REQUESTS, _LIMITS = "requests.", "limits."
_ENDED = ("Succeeded", "Failed")
_USED = (
    PODS, *COMPUTE, EPHEMERAL_STORAGE, _REQUESTS + EPHEMERAL_STORAGE, _LIMITS + EPHEMERAL_STORAGE,
)  # fmt: skip
_OF_BOTH = (CPU, MEMORY, EPHEMERAL_STORAGE)


def is_used(name: str) -> bool:
    """Whether pods use a resource of a quota."""
    if name in _USED or name.startswith((HUGE_PAGES_PREFIX, _REQUESTS + HUGE_PAGES_PREFIX)):
        return True
    return name.startswith(_REQUESTS) and not is_native(name)


def usage(pod: core.Pod, now: int) -> Listed:
    """What a pod uses; nothing when it has ended, or should have. Raises QuantityError."""
    if pod.status.phase in _ENDED:
        return {}
    late_at = overdue_at(pod)
    if late_at is not None and now > late_at:
        return {}
    return compute(resource_lists.pod_requests(pod), resource_lists.pod_limits(pod))


def overdue_at(pod: core.Pod) -> int | None:
    """When a pod that is being deleted is used no more, in milliseconds since the epoch: its node may be lost."""
    grace_s = pod.metadata.deletion_grace_period_seconds
    if not pod.metadata.deletion_timestamp or grace_s is None:
        return None
    return times.parse(pod.metadata.deletion_timestamp) + grace_s * 1000


def compute(requests: Mapping[str, str], limits: Mapping[str, str]) -> Listed:
    """The resources of a quota that requests and limits stand for."""
    return _compute(tuple(requests.items()), tuple(limits.items())).copy()


@lru_cache(maxsize=4096)
def _compute(requests: tuple[tuple[str, str], ...], limited: tuple[tuple[str, str], ...]) -> Listed:
    used = {PODS: "1"}
    limits = dict(limited)
    for name, amount in requests:
        if name in _OF_BOTH or name.startswith(HUGE_PAGES_PREFIX):
            used[name] = used[_REQUESTS + name] = amount
        elif not is_native(name):
            used[_REQUESTS + name] = amount
    used |= {_LIMITS + name: limits[name] for name in _OF_BOTH if name in limits}
    return used


def unspecified(pod: core.Pod, names: Iterable[str]) -> str:
    """What containers must say because a quota bounds it, such as `limits.cpu for: c`; empty when they do."""
    if pod.spec.resources is not None and (pod.spec.resources.requests or pod.spec.resources.limits):
        return ""
    wanted = sorted(name for name in names if name in COMPUTE)
    if not wanted:
        return ""
    said = {
        container.name: compute(container.resources.requests, container.resources.limits)
        for container in (*pod.spec.containers, *pod.spec.init_containers)
    }
    silent = {name: sorted(container for container, own in said.items() if name not in own) for name in wanted}
    return "; ".join(f"{name} for: {','.join(silent[name])}" for name in wanted if silent[name])


def in_scope(pod: core.Pod, term: core.ScopedResourceSelectorRequirement, selector: Selector) -> bool:
    """Whether a pod is in a scope; the selector is what the term says about the scope's value."""
    scope = term.scope_name
    if scope in (TERMINATING, NOT_TERMINATING):
        return (pod.spec.active_deadline_seconds is not None) == (scope == TERMINATING)
    if scope in (BEST_EFFORT, NOT_BEST_EFFORT):
        return (qos_class(pod.spec) == BEST_EFFORT_CLASS) == (scope == BEST_EFFORT)
    if scope == PRIORITY_CLASS:
        name = pod.spec.priority_class_name
        return selector.matches({scope: name} if name else {})
    return scope == CROSS_NAMESPACE and _reaches_out(pod.spec.affinity)


def _reaches_out(affinity: core.Affinity | None) -> bool:
    """Whether pods of other namespaces attract or repel the pod."""
    if affinity is None:
        return False
    near = [rule for rule in (affinity.pod_affinity, affinity.pod_anti_affinity) if rule is not None]
    required = [term for rule in near for term in rule.required_during_scheduling_ignored_during_execution]
    weighted = [term for rule in near for term in rule.preferred_during_scheduling_ignored_during_execution]
    terms = [*required, *(term.pod_affinity_term for term in weighted)]
    return any(term.namespaces or term.namespace_selector is not None for term in terms)
