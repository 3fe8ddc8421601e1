"""Stores what node agents report: pod and node status, heartbeats, events, and pods that are gone.

A report never touches a pod of another node or another pod of the same name, and never takes a finished pod back to
life. A report that comes too late (its pod is gone) is done, not an error; so is one that can never be stored. What
can't be stored *now* raises: it is not acknowledged, and the agent sends it again.

Nodes are not trusted with more than their own: what they send is read as strictly as what users send, because a value
that nobody can read would stop those who decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
import structlog

from controlplane.admission.reports import FINISHED, merged_node_status, merged_pod_status, new_node
from controlplane.server.node_storage import StorageReports
from controlplane.store.registry import Registry
from mizzen.api import codec, errors, kinds, times, volumes
from mizzen.api.kinds import Object
from mizzen.api.managed import objects as managed
from mizzen.api.managed.entries import Writer
from mizzen.api.types import coordination_v1, core_v1, meta_v1, storage_v1
from mizzen.engine.effects import Emit
from mizzen.engine.happenings import Happening, writes_of
from mizzen.engine.values import Clock, Ids, Instant
from mizzen.wire.gen.mizzen.v1 import node_pb2

LEASE_NAMESPACE = "kube-node-lease"
LEASE_DURATION_S = 40
MANAGER = "kubelet"
"""Whom tools know as the manager of the fields that a node's agent sets."""
ATTEMPTS = 8
"""Others write to pods and nodes too; each conflict means that somebody got on, so a few rounds suffice."""
AT_ONCE = 64
"""Reports of one batch that are stored at the same time; the store groups them."""
REPORT_MAX_BYTES = 512 * 1024
"""What is larger will not fit into the store beside the rest of its object."""
MESSAGE_MAX = 1024
FIELD_PATH_MAX = 256
COUNT_MAX = 1_000_000

T = TypeVar("T")
OBJ = TypeVar("OBJ", bound=Object)
Report = node_pb2.Report
_LOG = structlog.get_logger(__name__)


class Reports:
    """Applies reports to the registry."""

    def __init__(self, registry: Registry, clock: Clock, ids: Ids) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._storage = StorageReports(registry, clock, ids, self)

    async def store(self, node: str, items: Sequence[Report]) -> None:
        """A batch, side by side, so that it travels in few transactions; the ends of pods come last.

        Raises StoreError or ApiError when something can't be stored now.
        """
        ends = [report for report in items if report.kind == Report.POD_GONE]
        rest = [self.apply(node, report) for report in items if report.kind not in (Report.POD_GONE, Report.EVENT)]
        await _side_by_side([*rest, *(self._events(node, events) for events in _by_object(node, items))])
        # An event on a pod that is gone would be lost.
        await _side_by_side([self.apply(node, report) for report in ends])

    async def apply(self, node: str, report: Report) -> None:
        """One report that is no event. Raises StoreError or ApiError when it can't be stored now.

        What never can be is logged.
        """
        try:
            match report.kind:
                case Report.POD_STATUS:
                    await self._pod_status(node, report)
                case Report.POD_GONE:
                    await self._pod_gone(node, report)
                case Report.NODE_STATUS:
                    await self._node_status(node, _read(report, core_v1.NodeStatus))
                case Report.VOLUME_GONE:
                    await self._volume_gone(node, report)
                case Report.CSI_NODE:
                    await self._storage.drivers(node, _read(report, storage_v1.CSINode))
                case Report.CLAIM_GROWN:
                    status = _read(report, core_v1.PersistentVolumeClaimStatus)
                    await self._storage.claim_grown(node, report.namespace, report.name, status)
                case _:
                    raise errors.BadRequest(f"unknown kind of report {report.kind}")
        except (errors.BadRequest, errors.InternalError) as error:
            _log_refused(node, report, error)

    async def _pod_status(self, node: str, report: Report) -> None:
        reported = _read(report, core_v1.PodStatus)
        for _ in range(ATTEMPTS):
            pod = self._own_pod(node, report)
            if pod is None or (pod.status.phase in FINISHED and reported.phase not in FINISHED):
                return
            status = merged_pod_status(pod.status, reported)
            if status == pod.status or await self.replaced(msgspec.structs.replace(pod, status=status), pod, "status"):
                return
        raise errors.Conflict(kinds.POD, report.name)

    async def _pod_gone(self, node: str, report: Report) -> None:
        for _ in range(ATTEMPTS):
            pod = self._own_pod(node, report)
            if pod is None or pod.metadata.deletion_timestamp is None:
                return
            if pod.metadata.finalizers:
                # It goes with its last finalizer; the node has nothing more to do for it.
                metadata = msgspec.structs.replace(pod.metadata, deletion_grace_period_seconds=0)
                if metadata == pod.metadata or await self.replaced(
                    msgspec.structs.replace(pod, metadata=metadata), pod
                ):
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

    async def _volume_gone(self, node: str, report: Report) -> None:
        """The node's folder is removed, so the node lets go of the volume."""
        for _ in range(ATTEMPTS):
            volume = self._registry.view.get(kinds.PERSISTENT_VOLUME, "", report.name)
            if volume is None or volume.metadata.uid != report.uid or volumes.home_of(volume) != node:
                return
            if volume.metadata.deletion_timestamp is None:
                return
            rest = tuple(name for name in volume.metadata.finalizers if name not in (volumes.LOCAL, volumes.NFS))
            if rest:
                metadata = msgspec.structs.replace(volume.metadata, finalizers=rest)
                if await self.replaced(msgspec.structs.replace(volume, metadata=metadata), volume):
                    return
                continue
            try:
                await self._registry.delete(kinds.PERSISTENT_VOLUME, "", report.name, version_of(volume))
                return
            except errors.NotFound:
                return
            except errors.Conflict:
                await self._registry.fresh()
        raise errors.Conflict(kinds.PERSISTENT_VOLUME, report.name)

    def _own_pod(self, node: str, report: Report) -> core_v1.Pod | None:
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
            if changed == node or await self.replaced(changed, node, "status"):
                return
        raise errors.Conflict(kinds.NODE, name)

    async def _events(self, node: str, events: Sequence[core_v1.Event]) -> None:
        """Counts or stores what happened to a pod of the node, or to the node itself; all about one object."""
        for _ in range(ATTEMPTS):
            regarding = self._regarding(node, events[0].involved_object)
            if regarding is None:
                return
            happenings = [_happening(event, regarding, self._clock.now()) for event in events]
            try:
                await self._registry.commit(writes_of(happenings, self._registry.view, self._ids))
                return
            except (errors.AlreadyExists, errors.Conflict, errors.NotFound):
                await self._registry.fresh()
        why = "others write the same events all the time"
        _LOG.warning("events_dropped", node=node, events=len(events), reason=events[0].reason, why=why)

    def _regarding(self, node: str, about: core_v1.ObjectReference) -> Any | None:
        """The object of an event, if the node may speak of it."""
        if about.kind == "PersistentVolume":
            volume = self._registry.view.get(kinds.PERSISTENT_VOLUME, "", about.name)
            is_mine = volume is not None and volume.metadata.uid == about.uid and volumes.home_of(volume) == node
            return volume if is_mine else None
        if about.kind != "Pod":
            return self._registry.view.get(kinds.NODE, "", node)
        pod = self._registry.view.get(kinds.POD, about.namespace, about.name)
        if pod is None or pod.metadata.uid != about.uid or pod.spec.node_name != node:
            return None
        return pod

    async def register(self, name: str, wanted: core_v1.Node) -> core_v1.Node:
        """The Node object of an agent that has come: made, or brought up to date, with its first heartbeat."""
        await self._registry.fresh()
        for _ in range(ATTEMPTS):
            node = self._registry.view.get(kinds.NODE, "", name)
            if node is None:
                made = self.owned(new_node(name, wanted, self._clock.now(), self._ids), ("status",))
                try:
                    node = await self._registry.create(made)
                except errors.AlreadyExists:
                    await self._registry.fresh()
                    continue
                await self.heartbeat(name)
                return node
            # Before its status says that it is well: seen with its old lease, a node that was lost would be so again.
            await self.heartbeat(name)
            labels = {**node.metadata.labels, **wanted.metadata.labels}
            annotations = {**node.metadata.annotations, **wanted.metadata.annotations}
            changed = msgspec.structs.replace(
                node,
                metadata=msgspec.structs.replace(node.metadata, labels=labels, annotations=annotations),
                status=merged_node_status(node.status, wanted.status),
            )
            if changed == node or await self.replaced(changed, node):
                return changed
        raise errors.Conflict(kinds.NODE, name)

    async def heartbeat(self, name: str) -> None:
        """Renews the node's lease with the control plane's own time; a node that was deleted gets none."""
        for _ in range(ATTEMPTS):
            node = self._registry.view.get(kinds.NODE, "", name)
            if node is None:
                return
            lease = self._registry.view.get(kinds.LEASE, LEASE_NAMESPACE, name)
            renewed = self._renewed(lease or self._new_lease(name), node)
            try:
                if lease is None:
                    await self._registry.create(self.owned(renewed))
                    return
                if await self.replaced(renewed, lease):
                    return
            except errors.AlreadyExists:
                await self._registry.fresh()

    def _renewed(self, lease: coordination_v1.Lease, node: core_v1.Node) -> coordination_v1.Lease:
        """The lease as of now; it belongs to the node and goes with it."""
        name = node.metadata.name
        stamp = times.render_micro(self._clock.now())
        spec = msgspec.structs.replace(
            lease.spec,
            holder_identity=name,
            lease_duration_seconds=LEASE_DURATION_S,
            acquire_time=lease.spec.acquire_time or stamp,
            renew_time=stamp,
        )
        owner = meta_v1.OwnerReference(api_version="v1", kind="Node", name=name, uid=node.metadata.uid)
        metadata = msgspec.structs.replace(lease.metadata, owner_references=(owner,))
        return msgspec.structs.replace(lease, metadata=metadata, spec=spec)

    def _new_lease(self, name: str) -> coordination_v1.Lease:
        metadata = meta_v1.ObjectMeta(
            name=name,
            namespace=LEASE_NAMESPACE,
            uid=self._ids.uid("lease"),
            creation_timestamp=times.render(self._clock.now()),
        )
        return coordination_v1.Lease(metadata=metadata)

    def owned(self, made: OBJ, without: tuple[str, ...] = ()) -> OBJ:
        """A new object whose fields are known to be the agent's."""
        entries = managed.created(made, _writer(made.api_version, ""), self._time(), without=without)
        return managed.with_entries(made, entries)

    def _time(self) -> str:
        now = self._clock.now()
        # Whole seconds are what it shows, and mostly the same as the last time.
        return times.render(now - now % 1000)

    async def replaced(self, changed: Any, old: Any, subresource: str = "") -> bool:
        """Whether the object could be replaced; False after a conflict, with the cache brought up to date."""
        writer = _writer(changed.api_version, subresource)
        entries = managed.updated(old, changed, writer, self._time())
        changed = managed.with_entries(changed, entries)
        try:
            await self._registry.update(changed, version_of(changed))
        except errors.Conflict:
            await self._registry.fresh()
            return False
        except errors.NotFound:
            return True
        return True


@cache
def _writer(api_version: str, subresource: str) -> Writer:
    return Writer(MANAGER, api_version, subresource=subresource)


async def _side_by_side(storing: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all. Raises the first failure."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(work: Coroutine[Any, Any, None]) -> None:
        async with gate:
            await work

    try:
        async with asyncio.TaskGroup() as group:
            for work in storing:
                group.create_task(one(work))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _by_object(node: str, items: Iterable[Report]) -> Iterable[Sequence[core_v1.Event]]:
    """The events among some reports, those about one object together; what can't be read is logged."""
    found: dict[tuple[str, ...], list[core_v1.Event]] = {}
    for report in items:
        if report.kind != Report.EVENT:
            continue
        try:
            event = _read(report, core_v1.Event)
        except errors.BadRequest as error:
            _log_refused(node, report, error)
            continue
        about = event.involved_object
        found.setdefault((about.kind, about.namespace, about.name, about.uid), []).append(event)
    return found.values()


def _happening(event: core_v1.Event, regarding: Any, now: Instant) -> Happening:
    component = event.source.component or "kubelet"
    part = event.involved_object.field_path[:FIELD_PATH_MAX]
    emit = Emit(regarding, event.type, event.reason, event.message[:MESSAGE_MAX], component, part)
    return Happening(emit, min(max(1, event.count), COUNT_MAX), now)


def _log_refused(node: str, report: Report, error: errors.ApiError) -> None:
    _LOG.warning("report_refused", node=node, pod=f"{report.namespace}/{report.name}", error=str(error))


def version_of(obj: Any) -> int:
    """The resource version as a number."""
    return int(obj.metadata.resource_version)


def _read(report: Report, type_: type[T]) -> T:
    """What a report says. Raises BadRequest for what can't be read or stored."""
    if len(report.json) > REPORT_MAX_BYTES:
        raise errors.BadRequest(f"a report has at most {REPORT_MAX_BYTES} bytes, not {len(report.json)}")
    return codec.decode_json(report.json, type_, validation="Ignore")[0]
