"""Removes pods from nodes with NoExecute taints that they do not tolerate, or not for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.reconcilers import podstate
from mizzen.api import budgets, kinds, times
from mizzen.api.kinds import Object
from mizzen.api.tolerations import tolerates
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Emit, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "taint-eviction-controller"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One pod: stay, leave now, or leave when its tolerations run out."""
    pod = view.get(kinds.POD, key.namespace, key.name)
    if pod is None or not pod.spec.node_name or not podstate.is_active(pod):
        return Decision()
    node = view.get(kinds.NODE, "", pod.spec.node_name)
    taints = [t for t in node.spec.taints if t.effect == "NoExecute"] if node is not None else []
    leaves_at = leaves_at_ms(pod, taints)
    if leaves_at is None:
        return Decision()
    if leaves_at > now:
        message = f"leaves node {pod.spec.node_name} at {times.render(leaves_at)} unless its taints go"
        waiting = Waiting("Tolerating", message, Key(kinds.NODE.resource, "", pod.spec.node_name))
        return Decision(wake_after_ms=leaves_at - now, waiting=(waiting,))
    message = f"Marking for deletion Pod {key.namespace}/{key.name}"
    told = Emit(pod, "Normal", "TaintManagerEviction", message, COMPONENT)
    # Its controller should learn that this is not the pod's own failure.
    why = "Taint manager: deleting due to NoExecute taint"
    marked = UpdateStatus(budgets.targeted(pod, "DeletionByTaintManager", why, now))
    return Decision((told, marked, Delete(key, pod.metadata.uid)))


def leaves_at_ms(pod: core_v1.Pod, taints: Sequence[core_v1.Taint]) -> Instant | None:
    """When the pod must leave; None for never, 0 for at once."""
    limits = []
    for taint in taints:
        matching = [t for t in pod.spec.tolerations if tolerates(t, taint)]
        if not matching:
            return 0
        seconds = [t.toleration_seconds for t in matching]
        finite = [s for s in seconds if s is not None]
        # As in Kubernetes, the shortest of the matching tolerations counts.
        if finite:
            added = times.parse(taint.time_added) if taint.time_added else 0
            limits.append(added + max(0, min(finite)) * 1000)
    return min(limits, default=None)


def _pods_of_node(obj: Object, view: View) -> Iterable[Key]:
    return [
        Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name)
        for pod in view.select(indexes.PODS_BY_NODE, obj.metadata.name)
    ]


def _evictable(pod: core_v1.Pod) -> tuple[object, ...] | None:
    """What of a pod decides whether it stays; nothing where no node has it or it ends anyway."""
    if not pod.spec.node_name or not podstate.is_active(pod):
        return None
    return pod.metadata.uid, pod.spec.node_name, pod.spec.tolerations


def _taints(node: core_v1.Node) -> tuple[core_v1.Taint, ...]:
    return node.spec.taints


CONTROLLER = Controller(
    name="taint_eviction",
    kind=kinds.POD,
    reconcile=reconcile,
    watches=((kinds.NODE, _pods_of_node),),
    sees={kinds.POD: _evictable, kinds.NODE: _taints},
)
