"""Takes a Deployment's revision back when it fails, where the Deployment asks for that.

A revision that was fully available once is noted at its ReplicaSet: such a one is what to go back to, and is never
taken back itself. So nothing goes back and forth, and it takes a change by the user to try again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec.structs import replace

from controlplane.reconcilers import canary, deployment_status, ownership, podstate, revisions, rollout
from mizzen.api import kinds, selectors, workloads
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import ByMembership, Controller
from mizzen.engine.effects import Decision, Emit, Update, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

T = TypeVar("T", apps_v1.Deployment, apps_v1.ReplicaSet)

COMPONENT = "deployment-rollback"
RESTARTS_MAX = 3
"""Restarts of a container after which its pod is one that keeps crashing."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Deployment: note that its revision is good, or take it back."""
    owner = view.get(kinds.DEPLOYMENT, key.namespace, key.name)
    if owner is None or not _asks(owner) or not _is_settled(owner):
        return Decision()
    found = ownership.candidates(view, indexes.REPLICA_SETS_BY_CONTROLLER, owner)
    claimed = ownership.claim(owner, selectors.from_field(owner.spec.selector), found)
    sets = revisions.split(owner, claimed.owned)
    if sets.new is None or _was_available(sets.new):
        return Decision()
    if owner.spec.replicas != 0 and deployment_status.is_complete(owner, owner.status):
        return Decision((Update(_noted(sets.new, workloads.WAS_AVAILABLE, "true")),))
    trying = canary.is_on(owner, sets)
    why = ""
    if trying or workloads.is_on(owner.metadata, workloads.AUTO_ROLLBACK):
        why = _failure(owner, sets.new, view, strict=trying)
    if why:
        return _back(owner, sets, sets.new, why)
    if workloads.FAILED_REVISION in owner.metadata.annotations:
        return Decision((Update(_noted(owner, workloads.FAILED_REVISION, None)),))
    return Decision()


def _asks(owner: apps_v1.Deployment) -> bool:
    return workloads.CANARY in owner.metadata.annotations or workloads.is_on(owner.metadata, workloads.AUTO_ROLLBACK)


def _is_settled(owner: apps_v1.Deployment) -> bool:
    """Nobody changes it at this moment, and its status speaks of what it is."""
    going = owner.spec.paused or owner.metadata.deletion_timestamp is not None
    return not going and owner.status.observed_generation >= owner.metadata.generation


def _was_available(rs: apps_v1.ReplicaSet) -> bool:
    return workloads.WAS_AVAILABLE in rs.metadata.annotations


def _failure(owner: apps_v1.Deployment, new: apps_v1.ReplicaSet, view: View, *, strict: bool) -> str:
    """Why the newest revision counts as failed; empty while it does not. One restart is enough for a `strict` eye."""
    if _is_overdue(owner, new):
        return f"it made no progress for {owner.spec.progress_deadline_seconds} seconds"
    pods = [pod for pod in view.select(indexes.PODS_BY_CONTROLLER, new.metadata.uid) if podstate.is_active(pod)]
    restarted = next((pod.metadata.name for pod in pods if podstate.restarts(pod)), "")
    if strict and restarted:
        return f"pod {restarted} of its canary has restarted"
    if any(map(podstate.is_ready, pods)):
        return ""
    crashing = next((pod.metadata.name for pod in pods if _keeps_crashing(pod)), "")
    return f"pod {crashing} keeps crashing and none is available" if crashing else ""


def _is_overdue(owner: apps_v1.Deployment, new: apps_v1.ReplicaSet) -> bool:
    """The condition may still be the one of the revision before; its message names the ReplicaSet."""
    return any(
        c.type == "Progressing" and c.reason == "ProgressDeadlineExceeded" and new.metadata.name in c.message
        for c in owner.status.conditions
    )


def _keeps_crashing(pod: core_v1.Pod) -> bool:
    return any(
        status.restart_count >= RESTARTS_MAX or (status.restart_count and _backs_off(status))
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )


def _restarts(pod: core_v1.Pod) -> bool:
    return any(s.restart_count for s in (*pod.status.init_container_statuses, *pod.status.container_statuses))


def _backs_off(status: core_v1.ContainerStatus) -> bool:
    return status.state.waiting is not None and status.state.waiting.reason == "CrashLoopBackOff"


def _back(owner: apps_v1.Deployment, sets: revisions.Sets, failed: apps_v1.ReplicaSet, why: str) -> Decision:
    good = max(filter(_was_available, sets.old), key=revisions.revision_of, default=None)
    if good is None and canary.is_on(owner, sets):
        good = max((rs for rs in sets.old if rs.spec.replicas), key=revisions.revision_of)
    number = revisions.revision_of(failed)
    if good is None:
        message = f"Revision {number} has failed ({why}), and no earlier one was ever fully available"
        waiting = Waiting("NothingToRollBackTo", message)
        return Decision((Emit(owner, "Warning", waiting.reason, message, COMPONENT),), waiting=(waiting,))
    metadata = good.spec.template.metadata
    metadata = replace(metadata, labels=rollout.without_hash(metadata.labels))
    template = replace(good.spec.template, metadata=metadata)
    changed = _noted(owner, workloads.FAILED_REVISION, str(number))
    changed = replace(changed, spec=replace(changed.spec, template=template))
    message = f"Rolled back from revision {number} to revision {revisions.revision_of(good)}: {why}"
    return Decision((Update(changed), Emit(owner, "Warning", "DeploymentRolledBack", message, COMPONENT)))


def _noted(obj: T, name: str, value: str | None) -> T:
    """The object with an annotation set; None takes it away."""
    annotations = {key: text for key, text in obj.metadata.annotations.items() if key != name}
    if value is not None:
        annotations[name] = value
    return replace(obj, metadata=replace(obj.metadata, annotations=annotations))


def _set_owner(obj: Object, view: View) -> Iterable[Key]:
    reference = ownership.controller_of(obj)
    if reference is not None and reference.kind == "Deployment":
        owner = view.get(kinds.DEPLOYMENT, obj.metadata.namespace, reference.name)
        if owner is not None and _asks(owner):
            yield Key(kinds.DEPLOYMENT.resource, obj.metadata.namespace, reference.name)


def _pod_owner(pod: core_v1.Pod, view: View) -> Iterable[Key]:
    """Only pods that restart are bad news before the deadline."""
    reference = ownership.controller_of(pod)
    if reference is not None and reference.kind == "ReplicaSet" and _restarts(pod):
        rs = view.get(kinds.REPLICA_SET, pod.metadata.namespace, reference.name)
        yield from _set_owner(rs, view) if rs is not None else ()


def _asking(owner: apps_v1.Deployment) -> apps_v1.Deployment | None:
    return owner if _asks(owner) else None


def _restarting(pod: core_v1.Pod) -> core_v1.Pod | None:
    return pod if _restarts(pod) else None


CONTROLLER = Controller(
    name="deployment-rollback",
    kind=kinds.DEPLOYMENT,
    reconcile=reconcile,
    watches=((kinds.REPLICA_SET, ByMembership(_set_owner)), (kinds.POD, _pod_owner)),
    sees={kinds.DEPLOYMENT: _asking, kinds.POD: _restarting},
)
