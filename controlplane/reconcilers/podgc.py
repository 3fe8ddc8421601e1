"""Removes the objects of pods that no node will ever report gone: their node does not exist any more.

A finished or terminating pod that was never bound is nobody's to clean up either, and one that should end on a node
that a person has declared out of service is not waited for.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from controlplane.reconcilers import podstate
from mizzen.api import kinds, times
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
QUARANTINE_MS = 40_000
"""How long a pod's node must have been absent: a node that is being registered again comes back within this."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One pod: gone when its node is."""
    pod = view.get(kinds.POD, key.namespace, key.name)
    if pod is None:
        return Decision()
    if not pod.spec.node_name:
        orphan = pod.metadata.deletion_timestamp is not None
        return Decision((Delete(key, pod.metadata.uid, grace_period_s=0),) if orphan else ())
    node = view.get(kinds.NODE, "", pod.spec.node_name)
    if node is not None:
        given_up = pod.metadata.deletion_timestamp is not None and _is_out_of_service(node)
        return Decision(
            tuple(_removed(key, pod, msgspec.structs.replace(pod.status, phase="Failed"))) if given_up else ()
        )
    created = times.parse(pod.metadata.creation_timestamp) if pod.metadata.creation_timestamp else now
    if now < created + QUARANTINE_MS:
        return Decision(wake_after_ms=created + QUARANTINE_MS - now)
    return Decision(tuple(_removed(key, pod, _failed(pod, now))))


def _removed(key: Key, pod: core_v1.Pod, status: core_v1.PodStatus) -> Iterable[Effect]:
    """Its controller should learn that it failed, not that it vanished."""
    if not podstate.is_finished(pod):
        yield UpdateStatus(msgspec.structs.replace(pod, status=status))
    yield Delete(key, pod.metadata.uid, grace_period_s=0)


def _is_out_of_service(node: core_v1.Node) -> bool:
    """Whether somebody says that the machine is off and stays so; a node that is well is believed more."""
    ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    return not ready and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def _failed(pod: core_v1.Pod, now: Instant) -> core_v1.PodStatus:
    target = core_v1.PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="DeletionByPodGC",
        message="PodGC: node no longer exists",
        last_transition_time=times.render(now),
    )
    others = tuple(c for c in pod.status.conditions if c.type != target.type)
    return msgspec.structs.replace(pod.status, phase="Failed", conditions=(*others, target))


def _pods_of_node(obj: Object, view: View) -> Iterable[Key]:
    return [
        Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name)
        for pod in view.select(indexes.PODS_BY_NODE, obj.metadata.name)
    ]


def _whereabouts(pod: core_v1.Pod) -> tuple[object, ...] | None:
    """What of a pod says whether a node will end it; nothing as long as it waits for one."""
    leaving = pod.metadata.deletion_timestamp is not None
    return (pod.metadata.uid, pod.spec.node_name, leaving) if pod.spec.node_name or leaving else None


CONTROLLER = Controller(
    name="pod_garbage_collector",
    kind=kinds.POD,
    reconcile=reconcile,
    watches=((kinds.NODE, _pods_of_node),),
    sees={kinds.POD: _whereabouts, kinds.NODE: _is_out_of_service},
)
