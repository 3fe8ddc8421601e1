"""Takes away the folders of this node's volumes that have been deleted, and lets the control plane know.

Level-triggered: every volume that is being deleted is looked at whenever one has changed and after every complete
round, so that neither a restart nor a lost session leaves a folder behind.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import LOCAL, VOLUME_FINALIZER, home_of
from nodeagent.drive.objects import Objects
from nodeagent.drive.outbox import Outbox

RETRY_S = 10.0

_LOG = structlog.get_logger(__name__)


class LocalVolumes:
    """The folders of this node's own volumes."""

    def __init__(self, node: str, folder: Path, objects: Objects, outbox: Outbox) -> None:
        """Nothing happens before `run`. `folder` is where the volumes are, each by its name."""
        self._node = node
        self._folder = folder
        self._objects = objects
        self._outbox = outbox
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
            and LOCAL in meta.finalizers
            and VOLUME_FINALIZER not in meta.finalizers
            and volume.spec.persistent_volume_reclaim_policy == "Delete"
            and home_of(volume) == self._node
        )

    async def _remove(self, volume: core.PersistentVolume) -> None:
        name = volume.metadata.name
        folder = self._folder / name
        path = volume.spec.local.path if volume.spec.local is not None else ""
        if str(folder) != path:
            # Nobody may have the agent remove another folder by writing its path into a volume.
            _LOG.error("volume_not_removed", volume=name, path=path, hint=f"only folders in {self._folder} are removed")
            return
        try:
            await asyncio.to_thread(_removed, folder)
        except OSError as error:
            _LOG.warning("volume_not_removed", volume=name, path=path, error=str(error), retry_s=RETRY_S)
            asyncio.get_running_loop().call_later(RETRY_S, self.changed)
            return
        _LOG.info("volume_removed", volume=name, path=path)
        self._outbox.volume_gone(volume)


def _removed(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
