"""Tells from the heartbeats whether a node is alive, and marks it and its pods when it is not.

A node renews its Lease; the control plane stamps the time, so clocks of nodes do not matter. A lease that is too old
makes the node's conditions Unknown; conditions become taints; the pods of a node that is not Ready are not ready
either, so that no service sends to them. Who leaves because of a taint is decided in `tainteviction`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from controlplane.reconcilers import podstate, zones
from mizzen.api import kinds, times
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Effect, Emit, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
HEALTH = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
EMPTYING = frozenset((NOT_READY, UNREACHABLE))
MANAGED = {NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURE.values()}


def controller(grace_ms: int, since: Instant) -> Controller:
    """The controller; a node without a heartbeat for `grace_ms` counts as lost (Kubernetes: 50 s).

    Silence counts from `since`, when this leader took office: before then there may have been nobody to hear a node,
    and a control plane that was away must not find all its nodes lost when it is back.
    """

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        return decide(key, view, now, grace_ms, since)

    return Controller(
        name="node_lifecycle", kind=kinds.NODE, reconcile=reconcile, watches=((kinds.LEASE, _node_of_lease),)
    )


def decide(key: Key, view: View, now: Instant, grace_ms: int, since: Instant) -> Decision:
    """One node: conditions by the age of its heartbeat, taints by its conditions, then its pods."""
    node = view.get(kinds.NODE, "", key.name)
    if node is None:
        return Decision()
    left_ms = max(_heartbeat_ms(node, view), since) + grace_ms - now
    wake = left_ms if left_ms > 0 else None
    if left_ms <= 0:
        lost = _lost(node, now)
        if lost is not None:
            event = Emit(node, "Normal", "NodeNotReady", f"Node {key.name} status is now: NodeNotReady", COMPONENT)
            return Decision((UpdateStatus(lost), event))
    taints, brake_ms = wanted_taints(node, view, now)
    wake = min((ms for ms in (wake, brake_ms) if ms is not None), default=None)
    if taints != node.spec.taints:
        spec = msgspec.structs.replace(node.spec, taints=taints)
        return Decision((Update(msgspec.structs.replace(node, spec=spec)),), wake_after_ms=wake)
    return Decision(tuple(_unready_pods(node, view, now)), wake_after_ms=wake)


def _heartbeat_ms(node: core_v1.Node, view: View) -> int:
    """When the node was last heard of; a node that never was counts from its creation."""
    lease = view.get(kinds.LEASE, LEASE_NAMESPACE, node.metadata.name)
    text = lease.spec.renew_time if lease is not None else None
    return times.parse(text or node.metadata.creation_timestamp) if text or node.metadata.creation_timestamp else 0


def condition(node: core_v1.Node, type_: str) -> core_v1.NodeCondition | None:
    """A node's condition of a type."""
    return next((c for c in node.status.conditions if c.type == type_), None)


def _lost(node: core_v1.Node, now: Instant) -> core_v1.Node | None:
    """The node with its health unknown; None when it is so already."""
    stamp = times.render(now)
    by_type = {c.type: c for c in node.status.conditions}
    changed = False
    for type_ in HEALTH:
        before = by_type.get(type_)
        if before is not None and before.status == "Unknown":
            continue
        changed = True
        never = before is None
        by_type[type_] = core_v1.NodeCondition(
            type=type_,
            status="Unknown",
            reason="NodeStatusNeverUpdated" if never else "NodeStatusUnknown",
            message="Kubelet never posted node status." if never else "Kubelet stopped posting node status.",
            last_heartbeat_time=node.metadata.creation_timestamp if before is None else before.last_heartbeat_time,
            last_transition_time=stamp,
        )
    if not changed:
        return None
    status = msgspec.structs.replace(node.status, conditions=tuple(by_type.values()))
    return msgspec.structs.replace(node, status=status)


def wanted_taints(node: core_v1.Node, view: View, now: Instant) -> tuple[tuple[core_v1.Taint, ...], int | None]:
    """The node's taints: what users set, and what its conditions and its schedulability say; and when to look again.

    A taint that empties a lost node waits for the brake; one that is there stays, unless nobody may be emptied.
    """
    wanted: list[tuple[str, str]] = []
    ready = condition(node, "Ready")
    wake_ms = None
    if ready is None or ready.status != "True":
        key = UNREACHABLE if ready is not None and ready.status == "Unknown" else NOT_READY
        wanted.append((key, "NoSchedule"))
        brake = zones.brake(node, view.list(kinds.NODE), EMPTYING, now)
        begun = any(taint.key in EMPTYING and taint.effect == "NoExecute" for taint in node.spec.taints)
        if brake.allowed or (begun and not brake.released):
            wanted.append((key, "NoExecute"))
        # One that is being emptied looks again too: it may have to be called off.
        wake_ms = brake.wake_ms if not begun or brake.released else zones.LOOK_MS
    for type_, key in PRESSURE.items():
        found = condition(node, type_)
        if found is not None and found.status == "True":
            wanted.append((key, "NoSchedule"))
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    kept = [t for t in node.spec.taints if t.key not in MANAGED or (t.key, t.effect) in wanted]
    have = {(t.key, t.effect) for t in kept}
    stamp = times.render(now)
    made = [core_v1.Taint(key=k, effect=e, time_added=stamp) for k, e in wanted if (k, e) not in have]
    return (*kept, *made), wake_ms


def _unready_pods(node: core_v1.Node, view: View, now: Instant) -> Iterable[Effect]:
    """The pods of a node that is not Ready stop being ready; what runs on there nobody can tell."""
    ready = condition(node, "Ready")
    if ready is None or ready.status == "True":
        return
    stamp = times.render(now)
    for pod in view.select(indexes.PODS_BY_NODE, node.metadata.name):
        if not podstate.is_ready(pod):
            continue
        conditions = tuple(
            msgspec.structs.replace(c, status="False", reason="NodeNotReady", last_transition_time=stamp)
            if c.type == "Ready"
            else c
            for c in pod.status.conditions
        )
        status = msgspec.structs.replace(pod.status, conditions=conditions)
        yield UpdateStatus(msgspec.structs.replace(pod, status=status))
        yield Emit(pod, "Warning", "NodeNotReady", "Node is not ready", COMPONENT)


def _node_of_lease(obj: Object, view: View) -> Iterable[Key]:
    in_place = obj.metadata.namespace == LEASE_NAMESPACE
    return [Key(kinds.NODE.resource, "", obj.metadata.name)] if in_place else []
