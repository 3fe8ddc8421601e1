"""The storage drivers that have registered on this node.

A driver puts a socket into the folder of plugins and serves `pluginregistration` on it; the agent asks who it is, asks
the driver about the node, and says whether it is taken. A socket that goes away takes its driver with it. The folder is
looked at again and again: what a watch would save is small beside what it could miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from nodeagent.csi import session
from nodeagent.csi.session import NodeInfo
from nodeagent.volumes.port import VolumeFailure

LOOK_EVERY_S = 1.0
RETRY_FIRST_LOOKS, RETRY_MAX_LOOKS = 1, 60
"""After how many looks a socket that failed is tried again; doubling."""
CSI_PLUGIN = "CSIPlugin"

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """A driver of this node."""

    endpoint: str
    info: NodeInfo


@dataclass(slots=True)
class _Socket:
    made: tuple[int, int]
    """Inode and time: another socket at the same path is another registration."""
    driver: str = ""
    tries: int = 0
    rests: int = 0


class Registrations:
    """Who has registered, and the loop that keeps it true."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where plugins put their sockets; it is made when it is not there."""
        self._folder = folder
        self._sockets: dict[Path, _Socket] = {}
        self._drivers: dict[str, Registered] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called when a driver has come or gone."""

    @property
    def drivers(self) -> Mapping[str, Registered]:
        """The drivers by name."""
        return self._drivers

    def endpoint(self, driver: str) -> str:
        """Where a driver is served. Raises VolumeFailure when it has not registered."""
        found = self._drivers.get(driver)
        if found is None:
            raise VolumeFailure(f"driver name {driver} not found in the list of registered CSI drivers")
        return found.endpoint

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Take in who has come and who has gone."""
        there = await asyncio.to_thread(_sockets, self._folder)
        before = dict(self._drivers)
        for path in [path for path, known in self._sockets.items() if there.get(path) != known.made]:
            gone = self._sockets.pop(path)
            if gone.driver:
                _LOG.info("driver_gone", driver=gone.driver, socket=str(path))
                self._drivers.pop(gone.driver, None)
        for path, made in sorted(there.items()):
            known = self._sockets.setdefault(path, _Socket(made))
            if known.driver:
                continue
            if known.rests > 0:
                known.rests -= 1
                continue
            try:
                known.driver = await self._register(str(path))
            except VolumeFailure as error:
                known.rests = min(RETRY_FIRST_LOOKS << known.tries, RETRY_MAX_LOOKS)
                known.tries = min(known.tries + 1, RETRY_MAX_LOOKS.bit_length())
                _LOG.warning("driver_not_registered", socket=str(path), error=error.message)
        if self._drivers != before:
            self.changed()

    async def _register(self, socket: str) -> str:
        """The name of the driver that registers at a socket. Raises VolumeFailure."""
        plugin = await session.plugin_of(socket)
        why = _refusal(plugin)
        if why:
            await session.answer(socket, why)
            raise VolumeFailure(why)
        try:
            info = await session.node_info(plugin.endpoint)
        except VolumeFailure as error:
            await session.answer(socket, f"NodeGetInfo failed: {error.message}")
            raise
        self._drivers[plugin.name] = Registered(plugin.endpoint, info)
        await session.answer(socket, "")
        _LOG.info("driver_registered", driver=plugin.name, endpoint=plugin.endpoint, node_id=info.node_id)
        return plugin.name


def _refusal(plugin: session.Plugin) -> str:
    if plugin.type != CSI_PLUGIN:
        return f"no handler registered for plugin type: {plugin.type}"
    if not any(version.removeprefix("v").split(".")[0] == "1" for version in plugin.versions):
        return f"CSI driver {plugin.name} serves versions {', '.join(plugin.versions) or 'none'}; this node speaks 1"
    return ""


def _sockets(folder: Path) -> dict[Path, tuple[int, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for path in folder.rglob("*"):
        if path.name.startswith("."):
            continue
        try:
            if path.is_socket():
                state = path.stat()
                found[path] = (state.st_ino, state.st_ctime_ns)
        except OSError:
            continue  # gone between the two looks
    return found
