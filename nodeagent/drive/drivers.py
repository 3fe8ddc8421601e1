"""What the node's storage drivers (CSI) come to for the rest of the agent.

Who has registered is told to the control plane as the node's CSINode; pods whose volumes wait for a driver or for an
attachment look again when one has come; and drivers that renew what is in their volumes are asked again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from mizzen.api import csivolumes, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import storage_v1 as storage
from mizzen.engine.values import Key
from nodeagent.csi.registrations import Registrations
from nodeagent.csi.volumes import CsiVolumes
from nodeagent.drive.context import NodeContext
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.pods import Pods
from nodeagent.drive.volume_stats import VolumeStats

RENEW_EVERY_S = 60.0
_CONCERNING = (kinds.VOLUME_ATTACHMENT.resource, kinds.CSI_DRIVER.resource, kinds.PERSISTENT_VOLUME.resource)


class Drivers:
    """The node's storage drivers."""

    def __init__(
        self,
        registrations: Registrations,
        volumes: CsiVolumes,
        node: NodeContext,
        pods: Pods,
        outbox: Outbox,
        tell_status: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        """Nothing happens before `run`. `tell_status` reports the node's status if it has changed."""
        self._registrations = registrations
        self._volumes = volumes
        self._node = node
        self._pods = pods
        self._outbox = outbox
        self._stats = VolumeStats(volumes, pods, metrics.registry)
        self._is_told = False
        registrations.changed = self._drivers_changed
        volumes.grown = outbox.claim_grown
        # At once: what is not known to be mounted may be detached.
        volumes.used = tell_status

    async def run(self) -> None:
        """Take drivers in and have volumes renewed until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registrations.run())
            group.create_task(self._renew())
            group.create_task(self._stats.run())

    def welcomed(self) -> None:
        """A session has begun: what was told in another may be gone."""
        if self._is_told:
            self._tell()

    def changed(self, keys: Iterable[Key]) -> None:
        """Objects have changed."""
        own = Key(kinds.NODE.resource, "", self._node.name)
        if any(key.resource in _CONCERNING or key == own for key in keys):
            self._look_again()

    def _drivers_changed(self) -> None:
        self._tell()
        self._look_again()

    def _tell(self) -> None:
        self._is_told = True
        labels: dict[str, str] = {}
        drivers = []
        for name, found in sorted(self._registrations.drivers.items()):
            labels.update(found.info.topology)
            most = found.info.volumes_max
            drivers.append(
                storage.CSINodeDriver(
                    name=name,
                    node_id=found.info.node_id,
                    topology_keys=tuple(sorted(found.info.topology)),
                    allocatable=storage.VolumeNodeResources(count=most) if most > 0 else None,
                )
            )
        metadata = meta.ObjectMeta(name=self._node.name, labels=labels)
        self._outbox.drivers(storage.CSINode(metadata=metadata, spec=storage.CSINodeSpec(drivers=tuple(drivers))))

    def _look_again(self) -> None:
        for slot in tuple(self._pods.slots()):
            if csivolumes.drivers_of(slot.pod, self._behind(slot.pod)):
                self._pods.set_up_again(slot.pod.metadata.uid)

    def _behind(self, pod: core.Pod) -> Iterable[core.PersistentVolume]:
        return self._node.volumes_of(pod).values()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            for uid in await asyncio.to_thread(self._volumes.renewed):
                self._pods.set_up_again(uid)
