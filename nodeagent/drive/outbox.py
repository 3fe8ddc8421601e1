"""What the node has to tell the control plane and has not yet been told is stored.

Statuses are kept by what they are about, so a newer one takes the place of an older: however long the control plane
is away, what waits is bounded by the number of pods, and of events only the latest are kept. Nothing here is lost by
a broken session: what was sent and not acknowledged is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from mizzen.api import quantity, times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import storage_v1 as storage
from mizzen.api.volumes import STORAGE
from mizzen.engine.values import Clock, Instant
from nodeagent.lifecycle.actions import Record

EVENTS_MAX = 1000
BATCH_MAX = 256

STATUS, GONE, NODE, EVENT, VOLUME_GONE = "status", "gone", "node", "event", "volume-gone"
CSI_NODE, CLAIM_GROWN = "csi-node", "claim-grown"


@dataclass(frozen=True, slots=True)
class Item:
    """One report: what it is about and its value."""

    kind: str
    namespace: str
    name: str
    uid: str
    value: core.PodStatus | core.NodeStatus | core.Event | core.PersistentVolumeClaimStatus | storage.CSINode | None

    def json(self) -> bytes:
        """The value in canonical JSON; what is gone has none."""
        return b"" if self.value is None else msgspec.json.encode(self.value)


class Outbox:
    """Reports waiting and in flight."""

    def __init__(self, node: str) -> None:
        """Begin empty; `node` stands in events as their source."""
        self._node = node
        self._waiting: dict[tuple[str, ...], Item] = {}
        self._in_flight: dict[tuple[str, ...], Item] = {}
        self._events = 0
        self.dropped = 0
        """Events that were given up because too many waited."""
        self.filled = asyncio.Event()
        """Set while something waits."""

    def status(self, pod: core.Pod, status: core.PodStatus) -> None:
        """A pod's status."""
        metadata = pod.metadata
        self._put((STATUS, metadata.uid), Item(STATUS, metadata.namespace, metadata.name, metadata.uid, status))

    def gone(self, pod: core.Pod) -> None:
        """Nothing is left of a pod."""
        metadata = pod.metadata
        self._put((GONE, metadata.uid), Item(GONE, metadata.namespace, metadata.name, metadata.uid, None))

    def volume_gone(self, volume: core.PersistentVolume) -> None:
        """The folder of a volume of this node is removed."""
        metadata = volume.metadata
        self._put((VOLUME_GONE, metadata.uid), Item(VOLUME_GONE, "", metadata.name, metadata.uid, None))

    def node(self, status: core.NodeStatus) -> None:
        """The node's own status."""
        self._put((NODE,), Item(NODE, "", self._node, "", status))

    def drivers(self, found: storage.CSINode) -> None:
        """The storage drivers of the node; as labels where they say that it is."""
        self._put((CSI_NODE,), Item(CSI_NODE, "", self._node, "", found))

    def claim_grown(self, namespace: str, name: str, size_bytes: int) -> None:
        """The volume of a claim of a pod of this node shows all that it has."""
        status = core.PersistentVolumeClaimStatus(
            capacity={STORAGE: quantity.of_units(size_bytes, quantity.Format.BINARY)}
        )
        self._put((CLAIM_GROWN, namespace, name), Item(CLAIM_GROWN, namespace, name, "", status))

    def event(self, pod: core.Pod, record: Record, now: Instant) -> None:
        """Something that happened to a pod; repeats that wait are counted."""
        self._happened("Pod", pod.metadata, record, now)

    def volume_event(self, volume: core.PersistentVolume, record: Record, now: Instant) -> None:
        """Something that happened to a volume whose folder this node is to take away."""
        self._happened("PersistentVolume", volume.metadata, record, now)

    def node_event(self, record: Record, now: Instant) -> None:
        """Something that happened to the node itself."""
        # As its uid such events have the node's name, everywhere in Kubernetes.
        self._happened("Node", meta.ObjectMeta(name=self._node, uid=self._node), record, now)

    def teller(self, clock: Clock) -> Callable[[Record], None]:
        """Tells what happened to the node, at the time that the clock shows then."""
        return lambda record: self.node_event(record, clock.now())

    def _happened(self, kind: str, metadata: meta.ObjectMeta, record: Record, now: Instant) -> None:
        key = (EVENT, metadata.uid, record.reason, record.message, record.field_path)
        before = self._waiting.get(key)
        if before is not None and isinstance(before.value, core.Event):
            stamp = times.render(now)
            counted = msgspec.structs.replace(before.value, count=before.value.count + 1, last_timestamp=stamp)
            self._waiting[key] = replace(before, value=counted)
            return
        if self._events >= EVENTS_MAX:
            self._drop_oldest_event()
        self._events += 1
        about = core.ObjectReference(
            kind=kind,
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            api_version="v1",
            resource_version=metadata.resource_version,
            field_path=record.field_path,
        )
        event = core.Event(
            metadata=meta.ObjectMeta(namespace=metadata.namespace),
            involved_object=about,
            reason=record.reason,
            message=record.message,
            source=core.EventSource(component="kubelet", host=self._node),
            first_timestamp=times.render(now),
            last_timestamp=times.render(now),
            count=1,
            type=record.type,
            reporting_component="kubelet",
            reporting_instance=self._node,
        )
        self._put(key, Item(EVENT, metadata.namespace, metadata.name, metadata.uid, event))

    def take(self) -> list[Item]:
        """The next batch, oldest first; it counts as in flight until `stored` or `lost`."""
        assert not self._in_flight, "one batch at a time"
        keys = list(self._waiting)[:BATCH_MAX]
        for key in keys:
            self._in_flight[key] = self._waiting.pop(key)
            self._events -= key[0] == EVENT
        if not self._waiting:
            self.filled.clear()
        return list(self._in_flight.values())

    def stored(self) -> None:
        """The batch in flight is stored."""
        self._in_flight = {}

    def lost(self) -> None:
        """The session broke: the batch in flight waits again, before everything else; newer statuses win."""
        returned, self._in_flight = self._in_flight, {}
        newer = self._waiting
        self._waiting = {**{key: item for key, item in returned.items() if key not in newer}, **newer}
        self._events = sum(1 for key in self._waiting if key[0] == EVENT)
        if self._waiting:
            self.filled.set()

    def has_status(self, uid: str) -> bool:
        """Whether a status of this pod has not been stored yet."""
        key = (STATUS, uid)
        return key in self._waiting or key in self._in_flight

    def forget(self, uid: str) -> None:
        """The control plane no longer has a pod: nothing about it needs telling."""
        for key in [key for key in self._waiting if len(key) > 1 and key[1] == uid]:
            del self._waiting[key]
            self._events -= key[0] == EVENT

    @property
    def idle(self) -> bool:
        """Whether everything has been told and stored."""
        return not self._waiting and not self._in_flight

    def waiting(self) -> Iterable[Item]:
        """What waits, oldest first."""
        return self._waiting.values()

    def _put(self, key: tuple[str, ...], item: Item) -> None:
        self._waiting.pop(key, None)
        self._waiting[key] = item
        self.filled.set()

    def _drop_oldest_event(self) -> None:
        oldest = next(key for key in self._waiting if key[0] == EVENT)
        del self._waiting[oldest]
        self._events -= 1
        self.dropped += 1
