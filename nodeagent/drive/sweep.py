"""After every complete round, takes away what belongs to no pod that the control plane knows of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from nodeagent.drive.addresses import Addresses
from nodeagent.drive.observe import Watcher
from nodeagent.drive.pods import Pods
from nodeagent.network.port import Network, NetworkError
from nodeagent.volumes.port import VolumeFailure, Volumes

_LOG = structlog.get_logger(__name__)


class Sweep:
    """The broom."""

    def __init__(self, watcher: Watcher, pods: Pods, addresses: Addresses, network: Network, volumes: Volumes) -> None:
        """Nothing happens before `run`."""
        self._watcher = watcher
        self._pods = pods
        self._addresses = addresses
        self._network = network
        self._volumes = volumes
        self.round_done = asyncio.Event()
        """Set when everything has been told."""

    async def run(self) -> None:
        """Sweep after every round until cancelled."""
        await self._watcher.ready.wait()
        while True:
            await self.round_done.wait()
            self.round_done.clear()
            # A look after the round: what was made a moment ago for a pod that has just gone is seen, too.
            await self._watcher.refresh()
            self._pods.adopt_orphans()
            known = {slot.pod.metadata.uid for slot in self._pods.slots()}
            await self._sweep_network(known)
            await self._sweep_volumes(known)

    async def _sweep_network(self, known: Iterable[str]) -> None:
        for uid in self._addresses.uids():
            if uid not in known:
                try:
                    await self._network.detach(uid)
                except NetworkError as error:
                    _LOG.warning("orphan_not_detached", uid=uid, error=str(error))
                else:
                    self._addresses.release(uid)

    async def _sweep_volumes(self, known: Iterable[str]) -> None:
        for uid in await self._volumes.orphans(known):
            try:
                await self._volumes.teardown(uid)
            except VolumeFailure as error:
                _LOG.warning("orphan_volumes_not_removed", uid=uid, error=str(error))
