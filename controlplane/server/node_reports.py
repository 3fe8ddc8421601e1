"""Stores what node agents report: pod and node status, heartbeats, events, and pods that are gone.

A report never touches a pod of another node or another pod of the same name, and never takes a finished pod back to
life. A report that comes too late (its pod is gone) is done, not an error.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from controlplane.admission.reports import FINISHED, merged_node_status, merged_pod_status, new_node
from controlplane.store.registry import Registry
from mizzen.api import errors, kinds, times
from mizzen.api.types import coordination_v1, core_v1, meta_v1
from mizzen.engine.effects import Emit
from mizzen.engine.happenings import Happening, writes_of
from mizzen.engine.values import Clock, Ids
from mizzen.wire.gen.mizzen.v1 import node_pb2

LEASE_NAMESPACE = "kube-node-lease"
LEASE_DURATION_S = 40
ATTEMPTS = 8
"""Others write to pods and nodes too; each conflict means that somebody got on, so a few rounds suffice."""

_LOG = structlog.get_logger(__name__)


class Reports:
    """Applies reports to the registry."""

    def __init__(self, registry: Registry, clock: Clock, ids: Ids) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = ids

    async def apply(self, node: str, report: node_pb2.Report) -> None:
        """One report. Raises StoreError while the store does not answer; what can never be stored is logged."""
        try:
            match report.kind:
                case node_pb2.Report.POD_STATUS:
                    await self._pod_status(node, report)
                case node_pb2.Report.POD_GONE:
                    await self._pod_gone(node, report)
                case node_pb2.Report.NODE_STATUS:
                    await self._node_status(node, msgspec.json.decode(report.json, type=core_v1.NodeStatus))
                case node_pb2.Report.EVENT:
                    await self._event(node, msgspec.json.decode(report.json, type=core_v1.Event))
                case _:
                    _LOG.warning("report of unknown kind", node=node, kind=report.kind)
        except (msgspec.DecodeError, errors.ApiError) as error:
            _LOG.warning("report refused", node=node, pod=f"{report.namespace}/{report.name}", error=str(error))

    async def _pod_status(self, node: str, report: node_pb2.Report) -> None:
        reported = msgspec.json.decode(report.json, type=core_v1.PodStatus)
        for _ in range(ATTEMPTS):
            pod = self._own_pod(node, report)
            if pod is None or (pod.status.phase in FINISHED and reported.phase not in FINISHED):
                return
            status = merged_pod_status(pod.status, reported)
            if status == pod.status or await self._replaced(msgspec.structs.replace(pod, status=status)):
                return
        raise errors.Conflict(kinds.POD, report.name)

    async def _pod_gone(self, node: str, report: node_pb2.Report) -> None:
        for _ in range(ATTEMPTS):
            pod = self._own_pod(node, report)
            if pod is None or pod.metadata.deletion_timestamp is None:
                return
            if pod.metadata.finalizers:
                metadata = msgspec.structs.replace(pod.metadata, deletion_grace_period_seconds=0)
                if await self._replaced(msgspec.structs.replace(pod, metadata=metadata)):
                    return
                continue
            try:
                await self._registry.delete(kinds.POD, report.namespace, report.name, version_of(pod))
                return
            except errors.NotFound:
                return
            except errors.Conflict:
                await self._registry.fresh()
        raise errors.Conflict(kinds.POD, report.name)

    def _own_pod(self, node: str, report: node_pb2.Report) -> core_v1.Pod | None:
        pod = self._registry.view.get(kinds.POD, report.namespace, report.name)
        if pod is None or pod.metadata.uid != report.uid or pod.spec.node_name != node:
            return None
        return pod

    async def _node_status(self, name: str, reported: core_v1.NodeStatus) -> None:
        for _ in range(ATTEMPTS):
            node = self._registry.view.get(kinds.NODE, "", name)
            if node is None:
                return
            changed = msgspec.structs.replace(node, status=merged_node_status(node.status, reported))
            if changed == node or await self._replaced(changed):
                return
        raise errors.Conflict(kinds.NODE, name)

    async def _event(self, node: str, event: core_v1.Event) -> None:
        """Counts or stores what happened to a pod of the node, or to the node itself."""
        about = event.involved_object
        regarding: Any = self._registry.view.get(kinds.NODE, "", node)
        if about.kind == "Pod":
            regarding = self._registry.view.get(kinds.POD, about.namespace, about.name)
            if regarding is None or regarding.metadata.uid != about.uid or regarding.spec.node_name != node:
                return
        if regarding is None:
            return
        emit = Emit(regarding, event.type, event.reason, event.message, event.source.component or "kubelet")
        happening = Happening(emit, max(1, event.count), self._clock.now())
        for write in writes_of((happening,), self._registry.view, self._ids):
            await self._registry.commit((write,))

    async def register(self, name: str, wanted: core_v1.Node) -> core_v1.Node:
        """The Node object of an agent that has come: made, or brought up to date."""
        for _ in range(ATTEMPTS):
            node = self._registry.view.get(kinds.NODE, "", name)
            if node is None:
                made = new_node(name, wanted, self._clock.now(), self._ids)
                try:
                    return await self._registry.create(made)
                except errors.AlreadyExists:
                    await self._registry.fresh()
                    continue
            labels = {**node.metadata.labels, **wanted.metadata.labels}
            changed = msgspec.structs.replace(
                node,
                metadata=msgspec.structs.replace(node.metadata, labels=labels),
                status=merged_node_status(node.status, wanted.status),
            )
            if changed == node or await self._replaced(changed):
                return changed
        raise errors.Conflict(kinds.NODE, name)

    async def heartbeat(self, name: str) -> None:
        """Renews the node's lease with the control plane's own time."""
        stamp = times.render_micro(self._clock.now())
        for _ in range(ATTEMPTS):
            lease = self._registry.view.get(kinds.LEASE, LEASE_NAMESPACE, name)
            try:
                if lease is None:
                    await self._registry.create(self._new_lease(name, stamp))
                    return
                spec = msgspec.structs.replace(lease.spec, renew_time=stamp, holder_identity=name)
                if await self._replaced(msgspec.structs.replace(lease, spec=spec)):
                    return
            except errors.AlreadyExists:
                await self._registry.fresh()

    def _new_lease(self, name: str, stamp: str) -> coordination_v1.Lease:
        metadata = meta_v1.ObjectMeta(
            name=name,
            namespace=LEASE_NAMESPACE,
            uid=self._ids.uid("lease"),
            creation_timestamp=times.render(self._clock.now()),
        )
        spec = coordination_v1.LeaseSpec(
            holder_identity=name, lease_duration_seconds=LEASE_DURATION_S, acquire_time=stamp, renew_time=stamp
        )
        return coordination_v1.Lease(metadata=metadata, spec=spec)

    async def _replaced(self, changed: Any) -> bool:
        """Whether the object could be replaced; False after a conflict, with the cache brought up to date."""
        try:
            await self._registry.update(changed, version_of(changed))
        except errors.Conflict:
            await self._registry.fresh()
            return False
        except errors.NotFound:
            return True
        return True


def version_of(obj: Any) -> int:
    """The resource version as a number."""
    return int(obj.metadata.resource_version)
