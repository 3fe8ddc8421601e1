"""A volumes port over another: what one does not do itself, the other does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import Sources
from nodeagent.runtime.values import Device, Mount
from nodeagent.volumes.port import Usage, Volumes


class Over:
    """`port.Volumes` over another; the port's docstrings are the contract of these methods."""

    def __init__(self, others: Volumes) -> None:
        self._others = others

    async def setup(self, pod: core.Pod, sources: Sources) -> Mapping[str, str]:
        """Make the volumes ready or up to date."""
        return await self._others.setup(pod, sources)

    async def mounts(self, pod: core.Pod, container: core.Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
        """A container's mounts."""
        return await self._others.mounts(pod, container, variables)

    async def devices(self, pod: core.Pod, container: core.Container) -> tuple[Device, ...]:
        """A container's devices."""
        return await self._others.devices(pod, container)

    async def write(self, pod_uid: str, name: str, content: bytes, mode: int = 0o644) -> str:
        """Keep a file with the pod."""
        return await self._others.write(pod_uid, name, content, mode)

    async def read(self, pod_uid: str, name: str, limit_bytes: int) -> bytes:
        """The end of a kept file."""
        return await self._others.read(pod_uid, name, limit_bytes)

    async def read_inside(self, pod_uid: str, volume: str, path: str, limit_bytes: int) -> bytes | None:
        """A file in one of the pod's volumes."""
        return await self._others.read_inside(pod_uid, volume, path, limit_bytes)

    async def usage(self, pod_uid: str, volume: str) -> Usage | None:
        """How full a volume is."""
        return await self._others.usage(pod_uid, volume)

    async def teardown(self, pod_uid: str) -> None:
        """Take everything of a pod away."""
        await self._others.teardown(pod_uid)

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """The pods that nobody knows."""
        return await self._others.orphans(known)
