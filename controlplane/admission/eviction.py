"""Whether a pod may be evicted: the disruption budgets that are for it have the last word.

What an eviction takes from a budget and what it leaves of the pod are stored in one transaction, so evictions that
happen at the same time, through any server, never take more than there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from controlplane.admission import deletion, surging
from controlplane.admission.deletion import Deletion
from mizzen.api import budgets, kinds, selectors, times
from mizzen.api.errors import ApiError, Forbidden, TooManyRequests
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types.policy_v1 import PodDisruptionBudget
from mizzen.engine import indexes
from mizzen.engine.values import Instant
from mizzen.engine.view import View

DISRUPTED_MAX = 2000
"""Evictions that a budget may have open."""
_RETRY_S = 10
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_NOT_AT_WORK = ("Pending", "Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Evicted:
    """What is to be stored, together."""

    pod: core.Pod | None
    """What is left of the pod; None: it goes at once."""
    budget: PodDisruptionBudget | None
    """The budget that pays for it; None: it is free."""
    refusal: TooManyRequests | None = None
    """What to answer once that is stored; None: the pod goes."""


def asked(pod: core.Pod, view: View, how: Deletion, now: Instant) -> Evicted:
    """Evicts a pod of a view, if its replacement is there where that has to be first. Raises as `evict`."""
    owner, replica_set = _owners(pod, view)
    siblings = view.select(indexes.PODS_BY_CONTROLLER, replica_set.metadata.uid) if replica_set else ()
    if owner is not None and surging.is_held(pod, owner, replica_set, siblings):
        return Evicted(surging.wanted_away(pod, now), None, surging.refusal(owner.metadata.name))
    return evict(pod, budgets_of(pod, view), how, now)


def budgets_of(pod: core.Pod, view: View) -> list[PodDisruptionBudget]:
    """The budgets that select a pod."""
    found = view.list(kinds.POD_DISRUPTION_BUDGET, pod.metadata.namespace)
    return [one for one in found if selectors.from_field(one.spec.selector).matches(pod.metadata.labels)]


def _owners(pod: core.Pod, view: View) -> tuple[apps.Deployment | None, apps.ReplicaSet | None]:
    """The Deployment that a pod comes from, with the ReplicaSet between them."""
    namespace = pod.metadata.namespace
    above = _controller(pod, "ReplicaSet")
    replica_set = view.get(kinds.REPLICA_SET, namespace, above) if above else None
    above = _controller(replica_set, "Deployment") if replica_set is not None else ""
    return view.get(kinds.DEPLOYMENT, namespace, above) if above else None, replica_set


def _controller(obj: Object, kind: str) -> str:
    """The name of the controlling owner, if it is of a kind."""
    return next((one.name for one in obj.metadata.owner_references if one.controller and one.kind == kind), "")


def evict(pod: core.Pod, found: Sequence[PodDisruptionBudget], how: Deletion, now: Instant) -> Evicted:
    """Evicts a pod against the budgets that select it. Raises TooManyRequests where none may go now, ApiError."""
    budget = _paying(pod, found)
    paid = None if budget is None else _paid(pod, budget, now)
    if not pod.metadata.deletion_timestamp:
        pod = budgets.targeted(pod, "EvictionByEvictionAPI", "Eviction API: evicting", now)
    return Evicted(deletion.delete(pod, how, now), paid)


def _paying(pod: core.Pod, found: Sequence[PodDisruptionBudget]) -> PodDisruptionBudget | None:
    """The budget that is asked; None where nobody would miss the pod."""
    if pod.status.phase in _NOT_AT_WORK or pod.metadata.deletion_timestamp:
        return None
    if len(found) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(message, code=500)
    if not found:
        return None
    status, policy = found[0].status, found[0].spec.unhealthy_pod_eviction_policy
    if _is_ready(pod):
        return found[0]
    healthy = status.current_healthy >= status.desired_healthy > 0
    return None if policy == "AlwaysAllow" or healthy else found[0]


def _is_ready(pod: core.Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _paid(pod: core.Pod, budget: PodDisruptionBudget, now: Instant) -> PodDisruptionBudget:
    status, name = budget.status, budget.metadata.name
    if status.observed_generation < budget.metadata.generation:
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", _RETRY_S)
    if status.disruptions_allowed < 0:
        raise Forbidden(kinds.POD_DISRUPTION_BUDGET, name, "pdb disruptions allowed is negative")
    if len(status.disrupted_pods) > DISRUPTED_MAX:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise Forbidden(kinds.POD_DISRUPTION_BUDGET, name, why)
    if status.disruptions_allowed == 0:
        raise _refusal(_why_none(budget))
    disrupted = {**status.disrupted_pods, pod.metadata.name: times.render(now)}
    status = budgets.with_allowed(replace(status, disrupted_pods=disrupted), status.disruptions_allowed - 1, now)
    return replace(budget, status=status)


def _why_none(budget: PodDisruptionBudget) -> str:
    status, name = budget.status, budget.metadata.name
    said = budgets.condition(status)
    closed = f"The disruption budget {name} does not allow evicting pods currently"
    speaks = said is not None and said.status == "False" and said.message
    if said is not None and speaks and said.reason == budgets.SYNC_FAILED:
        return f"{closed} because it failed sync: {said.message}"
    if status.current_healthy <= status.desired_healthy:
        return (
            f"The disruption budget {name} needs {status.desired_healthy} healthy pods "
            f"and has {status.current_healthy} currently"
        )
    return f"{closed} ({said.reason}): {said.message}" if said is not None and speaks else closed


def _refusal(why: str, retry_after_s: int = 0) -> TooManyRequests:
    return TooManyRequests(_VIOLATES, retry_after_s, (meta.StatusCause(reason="DisruptionBudget", message=why),))
