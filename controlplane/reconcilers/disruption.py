"""How many pods of a PodDisruptionBudget may be evicted now, from how many are healthy and how many there should be.

The eviction itself takes from the number that stands in the status, see `controlplane.admission.eviction`. A pod that
was evicted and has not begun to end yet counts as gone for a while, so that two evictions in a row see each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from controlplane.reconcilers import ownership, podstate
from mizzen.api import budgets, custom, intstr, kinds, selectors, times
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind, Object
from mizzen.api.types import core_v1, meta_v1, policy_v1
from mizzen.engine import indexes, selected
from mizzen.engine.controller import ByMembership, Controller
from mizzen.engine.effects import Decision, Effect, Emit, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

_OWNERS: tuple[Kind[Any], ...] = (
    kinds.DEPLOYMENT,
    kinds.REPLICA_SET,
    kinds.STATEFUL_SET,
    kinds.REPLICATION_CONTROLLER,
)
COMPONENT = "controllermanager"


class CannotCount(Exception):
    """How many pods there should be can't be told."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """How many pods a budget is about."""

    pods: int
    healthy: int
    unmanaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Disrupted:
    """Evicted pods that have not begun to end."""

    since: Mapping[str, str] = field(default_factory=dict)
    overdue: tuple[core_v1.Pod, ...] = ()
    recheck_ms: int | None = None


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One budget: count, and say how many may go."""
    budget = view.get(kinds.POD_DISRUPTION_BUDGET, key.namespace, key.name)
    if budget is None or budget.metadata.deletion_timestamp is not None:
        return Decision()
    pods = selected.pods(view, key.namespace, selectors.from_field(budget.spec.selector))
    try:
        expected = _expected(budget, pods, view)
    except CannotCount as error:
        return Decision((*_failed(budget, str(error), now),))
    disrupted = _disrupted(budget, pods, now)
    status = _status(budget, pods, expected, disrupted, now)
    effects: list[Effect] = []
    if status != budget.status:
        effects.append(UpdateStatus(msgspec.structs.replace(budget, status=status)))
        # Events go with a change, or they would repeat for ever.
        effects += _events(budget, pods, expected)
    told = f"Pod was expected by PDB {key.namespace}/{key.name} to be deleted but it wasn't"
    effects += (Emit(pod, "Warning", "NotDeleted", told, COMPONENT) for pod in disrupted.overdue)
    return Decision(tuple(effects), wake_after_ms=disrupted.recheck_ms)


def _events(budget: policy_v1.PodDisruptionBudget, pods: Sequence[core_v1.Pod], expected: _Expected) -> Iterable[Emit]:
    if not pods:
        yield Emit(budget, "Normal", "NoPods", "No matching pods found", COMPONENT)
    if expected.unmanaged:
        told = (
            f"Pods selected by this PodDisruptionBudget (selector: {selectors.from_field(budget.spec.selector)}) were "
            "found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may "
            'result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB '
            "to an integer value."
        )
        yield Emit(budget, "Warning", "UnmanagedPods", told, COMPONENT)


def _expected(budget: policy_v1.PodDisruptionBudget, pods: Sequence[core_v1.Pod], view: View) -> _Expected:
    spec = budget.spec
    if spec.max_unavailable is not None:
        total, unmanaged = _wanted_by_owners(pods, view)
        spared = intstr.scaled(spec.max_unavailable, total, round_up=True)
        return _Expected(total, max(0, total - spared), unmanaged)
    if spec.min_available is None:
        return _Expected(len(pods), 0)
    if isinstance(spec.min_available, int):
        return _Expected(len(pods), spec.min_available)
    total, unmanaged = _wanted_by_owners(pods, view)
    return _Expected(total, intstr.scaled(spec.min_available, total, round_up=True), unmanaged)


def _wanted_by_owners(pods: Sequence[core_v1.Pod], view: View) -> tuple[int, tuple[str, ...]]:
    """The replicas that the pods' owners ask for, each owner once, and the pods that nobody owns."""
    wanted: dict[str, int] = {}
    unmanaged = []
    for pod in pods:
        reference = ownership.controller_of(pod)
        if reference is None:
            unmanaged.append(pod.metadata.name)
        elif reference.uid not in wanted:
            wanted.update([_wanted_by(pod, reference, view)])
    return sum(wanted.values()), tuple(unmanaged)


def _wanted_by(pod: core_v1.Pod, reference: meta_v1.OwnerReference, view: View) -> tuple[str, int]:
    """The uid of whoever says how many pods there are, and the number: a ReplicaSet's Deployment speaks for it."""
    namespace = pod.metadata.namespace
    named = (reference.api_version, reference.kind)
    kind, stored = view.catalog.by_type.get(named), view.catalog.by_kind.get(named)
    if kind is None or stored is None or "scale" not in kind.subresources:
        raise CannotCount(f'found no controllers for pod "{pod.metadata.name}"')
    owner: Any = view.get(stored, namespace, reference.name)
    if owner is None or owner.metadata.uid != reference.uid:
        raise CannotCount(f'found no controllers for pod "{pod.metadata.name}"')
    if kind is kinds.REPLICA_SET and (above := ownership.controller_of(owner)) and above.kind == "Deployment":
        deployment = view.get(kinds.DEPLOYMENT, namespace, above.name)
        if deployment is not None and deployment.metadata.uid == above.uid:
            return above.uid, _replicas(deployment)
    if isinstance(kind, CustomKind) and kind.scale is not None:
        number = custom.at(owner.content, kind.scale.spec)
        return reference.uid, number if isinstance(number, int) else 0
    return reference.uid, _replicas(owner)


def _replicas(owner: Any) -> int:
    replicas: int | None = owner.spec.replicas
    return 1 if replicas is None else replicas


def _disrupted(budget: policy_v1.PodDisruptionBudget, pods: Sequence[core_v1.Pod], now: Instant) -> _Disrupted:
    since, overdue, waits = {}, [], []
    for pod in pods:
        stamp = budget.status.disrupted_pods.get(pod.metadata.name)
        if stamp is None or pod.metadata.deletion_timestamp is not None:
            continue
        left_ms = times.parse(stamp) + budgets.DELETION_TIMEOUT_MS - now
        if left_ms <= 0:
            overdue.append(pod)
        else:
            since[pod.metadata.name] = stamp
            waits.append(left_ms)
    return _Disrupted(since, tuple(overdue), min(waits, default=None))


def _status(
    budget: policy_v1.PodDisruptionBudget,
    pods: Sequence[core_v1.Pod],
    expected: _Expected,
    disrupted: _Disrupted,
    now: Instant,
) -> policy_v1.PodDisruptionBudgetStatus:
    healthy = sum(
        podstate.is_ready(pod)
        for pod in pods
        if pod.metadata.deletion_timestamp is None and pod.metadata.name not in disrupted.since
    )
    allowed = max(0, healthy - expected.healthy) if expected.pods > 0 else 0
    status = msgspec.structs.replace(
        budget.status,
        current_healthy=healthy,
        desired_healthy=expected.healthy,
        expected_pods=expected.pods,
        disrupted_pods=disrupted.since,
        observed_generation=budget.metadata.generation,
    )
    return budgets.with_allowed(status, allowed, now)


def _failed(budget: policy_v1.PodDisruptionBudget, why: str, now: Instant) -> Iterable[Effect]:
    """Nothing may go while nobody knows how many there should be."""
    observed = msgspec.structs.replace(budget.status, observed_generation=budget.metadata.generation)
    status = budgets.with_failure(observed, why, now)
    if status == budget.status:
        return
    yield UpdateStatus(msgspec.structs.replace(budget, status=status))
    told = f"Failed to calculate the number of expected pods: {why}"
    yield Emit(budget, "Warning", "CalculateExpectedPodCountFailed", told, COMPONENT)


def _budgets_of_pod(obj: Object, view: View) -> Iterable[Key]:
    return _budgets_of(obj.metadata.namespace, obj.metadata.labels, view)


def _budgets_of_owner(obj: Any, view: View) -> Iterable[Key]:
    """A changed number of replicas concerns the budgets of the pods that are made; others tell themselves."""
    template = obj.spec.template
    return _budgets_of(obj.metadata.namespace, template.metadata.labels, view) if template is not None else ()


def _budgets_of_custom(obj: Object, view: View) -> Iterable[Key]:
    """What pods an object of a user's kind makes nobody knows, so it concerns all budgets of its namespace."""
    return map(_key, view.list(kinds.POD_DISRUPTION_BUDGET, obj.metadata.namespace))


def _budgets_of(namespace: str, labels: Mapping[str, str], view: View) -> Iterable[Key]:
    possible = selected.candidates(view, indexes.BUDGETS_BY_SELECTED, namespace, labels)
    return [_key(budget) for budget in possible if selectors.from_field(budget.spec.selector).matches(labels)]


def _key(budget: policy_v1.PodDisruptionBudget) -> Key:
    return Key(kinds.POD_DISRUPTION_BUDGET.resource, budget.metadata.namespace, budget.metadata.name)


def _wanted(owner: Any) -> tuple[Any, ...]:
    """What of an owner says how many pods there should be, and of which budgets they are."""
    template = owner.spec.template
    labels = template.metadata.labels if template is not None else None
    return owner.metadata.uid, owner.metadata.owner_references, owner.spec.replicas, labels


CONTROLLER = Controller(
    name="disruption",
    kind=kinds.POD_DISRUPTION_BUDGET,
    reconcile=reconcile,
    watches=(
        (kinds.POD, ByMembership(_budgets_of_pod)),
        *((kind, _budgets_of_owner) for kind in _OWNERS),
    ),
    custom=_budgets_of_custom,
    sees=dict.fromkeys(_OWNERS, _wanted),
)


def steady(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One pod whose eviction was announced and did not come: it is no target any longer."""
    pod = view.get(kinds.POD, key.namespace, key.name)
    if pod is None or pod.metadata.deletion_timestamp is not None or podstate.is_finished(pod):
        return Decision()
    target = podstate.condition(pod, budgets.TARGET)
    if target is None or target.status != "True":
        return Decision()
    left_ms = times.parse(target.last_transition_time or times.render(now)) + budgets.DELETION_TIMEOUT_MS - now
    if left_ms > 0:
        return Decision(wake_after_ms=left_ms)
    cleared = core_v1.PodCondition(type=budgets.TARGET, status="False", last_transition_time=times.render(now))
    conditions = (*(c for c in pod.status.conditions if c.type != budgets.TARGET), cleared)
    return Decision(
        (UpdateStatus(msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, conditions=conditions))),)
    )


def _announced(pod: core_v1.Pod) -> core_v1.PodCondition | None:
    return podstate.condition(pod, budgets.TARGET)


STALE = Controller(name="stale-pod-disruption", kind=kinds.POD, reconcile=steady, sees={kinds.POD: _announced})
