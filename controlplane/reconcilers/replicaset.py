"""Keeps the number of pods that a ReplicaSet, or its ancestor the ReplicationController, asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from controlplane.reconcilers import ownership, podstate, podtemplate, victims
from mizzen.api import kinds, selectors, workloads
from mizzen.api.kinds import Kind
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

Replicated: TypeAlias = apps_v1.ReplicaSet | core_v1.ReplicationController
REPLICA_FAILURE = "ReplicaFailure"
"""The condition of an owner whose pods may not be made; set by who performs, taken back when all pods are there."""
BURST = 500
"""Pods created or deleted in one decision; what is left over follows at once, on the view that shows these."""


def controller(name: str, kind: Kind[Any], component: str) -> Controller:
    """The controller of a kind; `component` is who its events come from."""

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        owner = view.get(kind, key.namespace, key.name)
        return Decision() if owner is None else decide(owner, view, now, ids, component)

    return Controller(name=name, kind=kind, reconcile=reconcile, watches=((kinds.POD, ownership.keys_of(kind)),))


def decide(owner: Replicated, view: View, now: Instant, ids: Ids, component: str) -> Decision:
    """One owner: claim its pods, create or delete the difference, report what there is."""
    selector = selectors.of_workload(owner.spec.selector)
    claimed = ownership.claim(owner, selector, ownership.pods(view, owner, selector))
    active = [pod for pod in claimed.owned if podstate.is_active(pod)]
    leaving = [ms for pod in active if (ms := workloads.leaves_for_ms(pod, now)) is not None]
    effects: list[Effect] = list(claimed.effects)
    # What there is is reported first: a pod that may not be made ends the run.
    status = _status(owner, claimed.owned, active, now)
    if status != owner.status:
        effects.append(UpdateStatus(msgspec.structs.replace(owner, status=status)))
    if owner.metadata.deletion_timestamp is None and not claimed.effects:
        wanted = _wanted(owner) and _wanted(owner) + len(leaving)
        effects += _make(owner, wanted - len(active), ids, component)
        effects += _give_up(owner, active, len(active) - wanted, view, now, component)
    wakes = (_next_available(owner, active, now), *leaving)
    return Decision(tuple(effects), wake_after_ms=min((ms for ms in wakes if ms is not None), default=None))


def _make(owner: Replicated, missing: int, ids: Ids, component: str) -> list[Effect]:
    effects: list[Effect] = []
    for _ in range(min(BURST, missing)):
        pod = podtemplate.pod_of(owner, _template(owner), ids)
        effects.append(Create(pod))
        effects.append(Emit(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}", component))
    return effects


def _give_up(
    owner: Replicated, active: Sequence[core_v1.Pod], surplus: int, view: View, now: Instant, component: str
) -> list[Effect]:
    if surplus <= 0:
        # Most turns have nothing to delete, and the order costs as much as all the rest.
        return []
    effects: list[Effect] = []
    for pod in victims.of_replicas(active, _related(owner, active, view), now)[: min(surplus, BURST)]:
        name = pod.metadata.name
        effects.append(Delete(Key(kinds.POD.resource, pod.metadata.namespace, name), pod.metadata.uid))
        effects.append(Emit(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}", component))
    return effects


def _related(owner: Replicated, active: Sequence[core_v1.Pod], view: View) -> Sequence[core_v1.Pod]:
    """The pods of all ReplicaSets of the same Deployment: where several are on one node, one of them is spared."""
    above = ownership.controller_of(owner)
    if above is None or owner.kind != "ReplicaSet":
        return active
    sets = view.select(indexes.REPLICA_SETS_BY_CONTROLLER, above.uid)
    return [pod for rs in sets for pod in view.select(indexes.PODS_BY_CONTROLLER, rs.metadata.uid)]


def _wanted(owner: Replicated) -> int:
    return owner.spec.replicas if owner.spec.replicas is not None else 1


def _template(owner: Replicated) -> core_v1.PodTemplateSpec:
    """The template; validation lets none go without, though one kind's type would."""
    return owner.spec.template or core_v1.PodTemplateSpec()


def _status(
    owner: Replicated, owned: Sequence[core_v1.Pod], active: Sequence[core_v1.Pod], now: Instant
) -> apps_v1.ReplicaSetStatus | core_v1.ReplicationControllerStatus:
    labels = _template(owner).metadata.labels
    more: dict[str, Any] = {}
    if len(active) >= _wanted(owner):
        more["conditions"] = tuple(c for c in owner.status.conditions if c.type != REPLICA_FAILURE)
    if owner.kind == "ReplicaSet":
        more["terminating_replicas"] = sum(map(podstate.is_terminating, owned))
    return msgspec.structs.replace(
        owner.status,
        **more,
        replicas=len(active),
        fully_labeled_replicas=sum(_has_all(pod.metadata.labels.items(), labels.items()) for pod in active),
        ready_replicas=sum(map(podstate.is_ready, active)),
        available_replicas=sum(podstate.available_in_ms(p, owner.spec.min_ready_seconds, now) == 0 for p in active),
        observed_generation=owner.metadata.generation,
    )


def _has_all(have: Iterable[tuple[str, str]], wanted: Iterable[tuple[str, str]]) -> bool:
    return set(wanted) <= set(have)


def _next_available(owner: Replicated, active: Sequence[core_v1.Pod], now: Instant) -> int | None:
    if not owner.spec.min_ready_seconds:
        return None
    waits = [podstate.available_in_ms(pod, owner.spec.min_ready_seconds, now) for pod in active]
    return min((wait for wait in waits if wait), default=None)


CONTROLLER = controller("replicaset", kinds.REPLICA_SET, "replicaset-controller")
REPLICATION_CONTROLLERS = controller("replicationcontroller", kinds.REPLICATION_CONTROLLER, "replication-controller")
