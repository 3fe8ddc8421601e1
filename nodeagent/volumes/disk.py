"""The volumes port over the node's real disk. Needs root for volumes in memory and for `subPath`.

Under the agent's folder, each pod has its own: `<uid>/volumes/<volume>`, `<uid>/files/...` and
`<uid>/subpaths/<container>/<number>`. What is mounted there is learnt from the kernel, so a restart needs no memory.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.lifecycle.env import expand_path
from nodeagent.runtime.values import Device, Mount
from nodeagent.volumes import atomic, host_path, mounts, persistent, subpath
from nodeagent.volumes.nfs import Nfs
from nodeagent.volumes.plan import BlockDevice, Files, HostPath, Persistent, Plan, Scratch, plan
from nodeagent.volumes.port import Usage, VolumeFailure
from nodeagent.volumes.translate import device_of, is_read_only, mount_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OPEN_TO_ALL = 0o777
_UNFINISHED = "..new"  # in no volume's name


class DiskVolumes:
    """`port.Volumes` on a disk; the port's docstrings are the contract of these methods."""

    def __init__(self, root: Path, nfs: Nfs | None = None) -> None:
        self._root = root
        self._nfs = nfs or Nfs()

    async def setup(self, pod: core.Pod, sources: Sources) -> Mapping[str, str]:
        """Make the volumes ready or up to date."""
        return await asyncio.to_thread(self._setup, pod, sources)

    async def mounts(self, pod: core.Pod, container: core.Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
        """A container's mounts."""
        return await asyncio.to_thread(self._mounts, pod, container, variables)

    async def devices(self, pod: core.Pod, container: core.Container) -> tuple[Device, ...]:
        """A container's devices."""
        return await asyncio.to_thread(self._devices, pod, container)

    async def write(self, pod_uid: str, name: str, content: bytes, mode: int = 0o644) -> str:
        """Keep a file with the pod."""
        return await asyncio.to_thread(self._write, pod_uid, name, content, mode)

    async def read(self, pod_uid: str, name: str, limit_bytes: int) -> bytes:
        """The end of a kept file."""
        return await asyncio.to_thread(self._read, pod_uid, name, limit_bytes)

    async def read_inside(self, pod_uid: str, volume: str, path: str, limit_bytes: int) -> bytes | None:
        """A file in a volume."""
        return await asyncio.to_thread(self._read_inside, pod_uid, volume, path, limit_bytes)

    async def usage(self, pod_uid: str, volume: str) -> Usage | None:
        """How full a volume is."""
        return await asyncio.to_thread(self._usage, pod_uid, volume)

    async def teardown(self, pod_uid: str) -> None:
        """Take everything of a pod away."""
        await asyncio.to_thread(self._teardown, pod_uid)

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """The pods that nobody knows."""
        return await asyncio.to_thread(self._orphans, frozenset(known))

    def _folder(self, pod_uid: str, *parts: str) -> Path:
        for part in (pod_uid, *parts):
            if not _NAME.fullmatch(part):
                raise VolumeFailure(f'"{part}" cannot be the name of a folder on the node')
        return self._root.joinpath(pod_uid, *parts)

    def _setup(self, pod: core.Pod, sources: Sources) -> dict[str, str]:
        context = pod.spec.security_context
        group = context.fs_group if context is not None else None
        found = {}
        for volume in pod.spec.volumes:
            with _failing(f'MountVolume.SetUp failed for volume "{volume.name}" : '):
                folder = self._folder(pod.metadata.uid, "volumes", volume.name)
                found[volume.name] = str(_make(plan(pod, volume, sources), folder, group, self._nfs))
        return found

    def _mounts(self, pod: core.Pod, container: core.Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        found = []
        for number, wanted in enumerate(container.volume_mounts):
            volume = volumes.get(wanted.name)
            if volume is None:
                raise ConfigError(f'container "{container.name}" mounts volume "{wanted.name}", which the pod lacks')
            path = volume.host_path.path if volume.host_path else self._volume(pod.metadata.uid, volume.name)
            sub_path = expand_path(wanted.sub_path_expr, variables) or wanted.sub_path
            if sub_path:
                target = self._folder(pod.metadata.uid, "subpaths", container.name, str(number))
                context = f'failed to prepare subPath for volumeMount "{wanted.name}" of container "{container.name}": '
                with _failing(context, ConfigError):
                    subpath.show(path, sub_path, target, may_make=not is_read_only(volume))
                path = str(target)
            if wanted.read_only and wanted.recursive_read_only in ("Enabled", "IfPossible"):
                target = self._folder(pod.metadata.uid, "read-only", container.name, str(number))
                path = _fixed(path, target, wanted)
            found.append(mount_of(wanted, volume, path))
        return tuple(found)

    def _devices(self, pod: core.Pod, container: core.Container) -> tuple[Device, ...]:
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        found = []
        for wanted in container.volume_devices:
            volume = volumes.get(wanted.name)
            folder = self._folder(pod.metadata.uid, "volumes", wanted.name)
            if volume is None or not folder.is_block_device():
                why = f'is given volume "{wanted.name}", which the pod lacks as a block device'
                raise ConfigError(f'container "{container.name}" {why}')
            found.append(device_of(wanted, volume, str(folder.resolve())))
        return tuple(found)

    def _usage(self, pod_uid: str, volume: str) -> Usage | None:
        folder = self._folder(pod_uid, "volumes", volume)
        if not folder.is_dir():
            return None
        with _failing(f'cannot measure volume "{volume}": '):
            found = os.statvfs(folder)
        return Usage(
            capacity_bytes=found.f_blocks * found.f_frsize,
            available_bytes=found.f_bavail * found.f_frsize,
            used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
            inodes=found.f_files,
            inodes_free=found.f_ffree,
            inodes_used=found.f_files - found.f_ffree,
        )

    def _volume(self, pod_uid: str, name: str) -> str:
        return str(self._folder(pod_uid, "volumes", name))

    def _write(self, pod_uid: str, name: str, content: bytes, mode: int) -> str:
        path = self._folder(pod_uid, "files", *name.split("/"))
        with _failing(f"cannot write {path}: "):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        return str(path)

    def _read(self, pod_uid: str, name: str, limit_bytes: int) -> bytes:
        path = self._folder(pod_uid, "files", *name.split("/"))
        try:
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - limit_bytes))
                return file.read(limit_bytes)
        except FileNotFoundError:
            return b""

    def _read_inside(self, pod_uid: str, volume: str, path: str, limit_bytes: int) -> bytes | None:
        where = f'file "{path}" of volume "{volume}"'
        with _failing(f"cannot read {where}: ", ConfigError):
            content = subpath.read(self._volume(pod_uid, volume), path, limit_bytes)
            if content is not None and len(content) > limit_bytes:
                raise ConfigError(f"it has more than {limit_bytes} bytes")
            return content

    def _teardown(self, pod_uid: str) -> None:
        folder = self._folder(pod_uid)
        with _failing(f"cannot remove the volumes of pod {pod_uid}: "):
            for point in mounts.mounted_under(str(folder)):
                mounts.unmount(point)
            # Removing through a mount that is still there would delete what is behind it.
            if left := mounts.mounted_under(str(folder)):
                raise VolumeFailure(f"{left[0]} is still mounted")
            if folder.exists():
                shutil.rmtree(folder)

    def _orphans(self, known: frozenset[str]) -> tuple[str, ...]:
        if not self._root.exists():
            return ()
        return tuple(sorted(entry.name for entry in self._root.iterdir() if entry.name not in known))


@contextmanager
def _failing(context: str, kind: type[VolumeFailure | ConfigError] = VolumeFailure) -> Iterator[None]:
    """What goes wrong inside, as a failure that says where."""
    try:
        yield
    except (ConfigError, VolumeFailure) as error:
        raise kind(context + error.message) from error
    except OSError as error:
        raise kind(f"{context}{error.strerror or error} ({error.filename})") from error


def _fixed(path: str, target: Path, wanted: core.VolumeMount) -> str:
    """Where the volume is read-only with all that is mounted below it. Raises ConfigError."""
    try:
        subpath.show_all(path, target)
        return str(target)
    except OSError as error:
        if wanted.recursive_read_only == "IfPossible" and error.errno == errno.ENOSYS:
            return path
        why = f'cannot make volumeMount "{wanted.name}" read-only recursively: {error.strerror or error}'
        raise ConfigError(why) from error


def _make(wanted: Plan, folder: Path, group: int | None, nfs: Nfs) -> Path:
    """Bring one volume to what it should be; where it is."""
    match wanted:
        case HostPath():
            host_path.ensure(wanted)
            return Path(wanted.path)
        case Persistent():
            persistent.show(wanted, folder, group, nfs)
        case BlockDevice():
            persistent.point(wanted, folder)
        case Scratch():
            if not folder.exists() or ((wanted.in_memory or wanted.page_bytes) and not _is_mounted(folder)):
                _make_scratch(wanted, folder, group)
        case Files():
            folder.mkdir(parents=True, exist_ok=True)
            if wanted.in_memory and not _is_mounted(folder):
                mounts.mount_tmpfs(str(folder), mode=0o755, size_bytes=0, executable=False)
            atomic.publish(folder, {**atomic.present(folder, wanted.kept), **wanted.files}, group)
    return folder


def _make_scratch(wanted: Scratch, folder: Path, group: int | None) -> None:
    if wanted.page_bytes:
        folder.mkdir(parents=True, exist_ok=True)
        mounts.mount_huge_pages(str(folder), page_bytes=wanted.page_bytes, size_bytes=wanted.size_bytes)
        _open_up(folder, group)
        return
    if wanted.in_memory:
        folder.mkdir(parents=True, exist_ok=True)
        mounts.mount_tmpfs(str(folder), mode=_OPEN_TO_ALL, size_bytes=wanted.size_bytes, executable=True)
        _open_up(folder, group)
        return
    # Made beside its place: a folder that is there has its mode, and containers may have changed that since.
    beside = folder.with_name(f"{folder.name}{_UNFINISHED}")
    beside.mkdir(parents=True, exist_ok=True)
    _open_up(beside, group)
    beside.replace(folder)


def _open_up(folder: Path, group: int | None) -> None:
    if group is not None:
        os.chown(folder, -1, group)
    folder.chmod(_OPEN_TO_ALL | (stat.S_ISGID if group is not None else 0))


def _is_mounted(folder: Path) -> bool:
    return str(folder) in mounts.mounted_under(str(folder))
