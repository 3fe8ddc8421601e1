"""The volumes port in memory, for tests of the agent: decides as the disk does and touches none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.lifecycle.env import expand_path
from nodeagent.runtime.values import Device, Mount
from nodeagent.volumes.plan import HostPath, Plan, plan
from nodeagent.volumes.port import Usage, VolumeFailure
from nodeagent.volumes.translate import device_of, mount_of


class FakeVolumes:
    """`port.Volumes` in memory; the port's docstrings are the contract of these methods."""

    def __init__(self) -> None:
        self.plans: dict[str, dict[str, Plan]] = {}
        """What was set up, by pod uid and volume."""
        self.files: dict[str, dict[str, bytes]] = {}
        """What was written, by pod uid and name."""
        self.failures: list[VolumeFailure] = []
        """Raised one by one by the next calls of `setup` and `teardown`."""

    async def setup(self, pod: core.Pod, sources: Sources) -> Mapping[str, str]:
        """Make the volumes ready or up to date."""
        self._trouble()
        uid = pod.metadata.uid
        plans = self.plans.setdefault(uid, {})
        for volume in pod.spec.volumes:
            try:
                plans[volume.name] = plan(pod, volume, sources)
            except ConfigError as error:
                context = f'MountVolume.SetUp failed for volume "{volume.name}" : '
                raise VolumeFailure(context + error.message) from error
        return {volume.name: self._path(uid, volume.name) for volume in pod.spec.volumes}

    async def mounts(self, pod: core.Pod, container: core.Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
        """A container's mounts."""
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        found = []
        for wanted in container.volume_mounts:
            if wanted.name not in volumes:
                raise ConfigError(f'container "{container.name}" mounts volume "{wanted.name}", which the pod lacks')
            sub_path = expand_path(wanted.sub_path_expr, variables) or wanted.sub_path
            path = self._path(pod.metadata.uid, wanted.name)
            found.append(mount_of(wanted, volumes[wanted.name], f"{path}/{sub_path}" if sub_path else path))
        return tuple(found)

    async def devices(self, pod: core.Pod, container: core.Container) -> tuple[Device, ...]:
        """A container's devices."""
        volumes, uid = {volume.name: volume for volume in pod.spec.volumes}, pod.metadata.uid
        return tuple(
            device_of(wanted, volumes[wanted.name], self._path(uid, wanted.name)) for wanted in container.volume_devices
        )

    async def write(self, pod_uid: str, name: str, content: bytes, mode: int = 0o644) -> str:
        """Keep a file with the pod."""
        self.files.setdefault(pod_uid, {})[name] = content
        return f"/fake/{pod_uid}/files/{name}"

    async def read(self, pod_uid: str, name: str, limit_bytes: int) -> bytes:
        """The end of a kept file."""
        content = self.files.get(pod_uid, {}).get(name, b"")
        return content[max(0, len(content) - limit_bytes) :]

    async def read_inside(self, pod_uid: str, volume: str, path: str, limit_bytes: int) -> bytes | None:
        """A file in a volume: one that was written as `volume/path`."""
        return self.files.get(pod_uid, {}).get(f"{volume}/{path}")

    async def usage(self, pod_uid: str, volume: str) -> Usage | None:
        """How full a volume is: nothing is on a disk."""
        del pod_uid, volume
        return None

    async def teardown(self, pod_uid: str) -> None:
        """Take everything of a pod away."""
        self._trouble()
        self.plans.pop(pod_uid, None)
        self.files.pop(pod_uid, None)

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """The pods that nobody knows."""
        expected = frozenset(known)
        return tuple(uid for uid in sorted({*self.plans, *self.files}) if uid not in expected)

    def _path(self, uid: str, name: str) -> str:
        found = self.plans.get(uid, {}).get(name)
        return found.path if isinstance(found, HostPath) else f"/fake/{uid}/volumes/{name}"

    def _trouble(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
