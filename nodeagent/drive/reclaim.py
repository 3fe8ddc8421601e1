"""Takes away the folders of deleted volumes that this node is to take away, and lets the control plane know.

Level-triggered: every volume that is being deleted is looked at whenever one has changed and after every complete
round, so that neither a restart nor a lost session leaves a folder behind.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from mizzen.api import kinds, nfsvolumes
from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import LOCAL, NFS, VOLUME_FINALIZER, home_of
from mizzen.engine.values import Clock
from nodeagent.drive.objects import Objects
from nodeagent.drive.outbox import Outbox
from nodeagent.lifecycle.actions import Record
from nodeagent.volumes.nfs import Nfs
from nodeagent.volumes.port import VolumeFailure

RETRY_S = 10.0

_LOG = structlog.get_logger(__name__)


class Reclaimer:
    """The folders of volumes: this node's own, and those of shares that it was chosen for."""

    def __init__(self, *, node: str, folder: Path, nfs: Nfs, objects: Objects, outbox: Outbox, clock: Clock) -> None:
        """Nothing happens before `run`. `folder` is where the node's own volumes are, each by its name."""
        self._node = node
        self._folder = folder
        self._nfs = nfs
        self._objects = objects
        self._outbox = outbox
        self._clock = clock
        self._woken = asyncio.Event()

    def changed(self) -> None:
        """A volume has changed, or everything was told anew."""
        self._woken.set()

    async def run(self) -> None:
        """Remove what is to go until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            for volume in self._objects.cache.list(kinds.PERSISTENT_VOLUME):
                if self._is_to_go(volume):
                    await self._remove(volume)

    def _is_to_go(self, volume: core.PersistentVolume) -> bool:
        meta = volume.metadata
        return (
            meta.deletion_timestamp is not None
            and (LOCAL in meta.finalizers or NFS in meta.finalizers)
            and VOLUME_FINALIZER not in meta.finalizers
            and volume.spec.persistent_volume_reclaim_policy == "Delete"
            and home_of(volume) == self._node
        )

    async def _remove(self, volume: core.PersistentVolume) -> None:
        name = volume.metadata.name
        try:
            # Of its own: a server that does not answer may hold a thread for a minute.
            await asyncio.to_thread(self._taken_away, volume)
        except (OSError, VolumeFailure) as error:
            _LOG.warning("volume_not_removed", volume=name, error=str(error), retry_s=RETRY_S)
            record = Record("Warning", "VolumeFailedDelete", str(error))
            self._outbox.volume_event(volume, record, self._clock.now())
            asyncio.get_running_loop().call_later(RETRY_S, self.changed)
            return
        _LOG.info("volume_removed", volume=name)
        self._outbox.volume_gone(volume)

    def _taken_away(self, volume: core.PersistentVolume) -> None:
        """Remove or put aside the folder. Raises VolumeFailure, OSError."""
        place, nfs = nfsvolumes.place_of(volume), volume.spec.nfs
        if place is not None and nfs is not None:
            options = volume.spec.mount_options
            if volume.metadata.annotations.get(nfsvolumes.ON_DELETE) == nfsvolumes.ARCHIVE:
                self._nfs.archive(nfs.server, place, options, volume.metadata.name)
            else:
                self._nfs.remove(nfs.server, place, options)
            return
        folder = self._folder / volume.metadata.name
        path = volume.spec.local.path if volume.spec.local is not None else ""
        if str(folder) != path:
            # Nobody may have the agent remove another folder by writing its path into a volume.
            raise VolumeFailure(f"only folders in {self._folder} are removed, not {path!r}")
        if folder.exists():
            shutil.rmtree(folder)
