"""Shows storage that outlives pods in a pod's own folder. Blocking, needs root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nodeagent.volumes import mounts
from nodeagent.volumes.nfs import Nfs
from nodeagent.volumes.plan import BlockDevice, Persistent
from nodeagent.volumes.port import VolumeFailure

_FOR_GROUP = 0o660
_FOLDER_FOR_GROUP = 0o110 | stat.S_ISGID


def show(wanted: Persistent, target: Path, group: int | None, nfs: Nfs) -> None:
    """Mount it at the target, unless that is done. Raises VolumeFailure, OSError."""
    if str(target) in mounts.mounted_under(str(target)):
        return
    if wanted.server:
        target.mkdir(parents=True, exist_ok=True)
        if wanted.place is not None:
            nfs.mount_own(wanted.server, wanted.place, wanted.options, target)
        else:
            nfs.mount(wanted.server, wanted.path, wanted.options, target)
        return
    source = Path(wanted.path)
    if wanted.is_own and not source.exists():
        source.mkdir(mode=0o777, parents=True)
        source.chmod(0o777)
    if not source.exists():
        raise VolumeFailure(f'path "{wanted.path}" does not exist')
    if group is not None and wanted.is_owned_by_group:
        _give(source, group, unless_done=wanted.is_given_once)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.mkdir(exist_ok=True) if source.is_dir() else target.touch()
    mounts.bind(str(source), str(target))


def point(wanted: BlockDevice, target: Path) -> None:
    """Have the target lead to the device. Raises VolumeFailure, OSError."""
    if not Path(wanted.path).is_block_device():
        raise VolumeFailure(f'path "{wanted.path}" is not a block device')
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    target.symlink_to(wanted.path)


def _give(source: Path, group: int, *, unless_done: bool) -> None:
    """Give all files to a group; perhaps not where the folder itself shows that this was done."""
    root = source.stat()
    if (
        unless_done
        and root.st_gid == group
        and root.st_mode & (_FOR_GROUP | _FOLDER_FOR_GROUP) == _FOR_GROUP | _FOLDER_FOR_GROUP
    ):
        return
    for folder, _, files in os.walk(source, topdown=False):
        for name in files:
            _give_one(os.path.join(folder, name), group, 0)  # noqa: PTH118
        _give_one(folder, group, _FOLDER_FOR_GROUP)


def _give_one(path: str, group: int, more: int) -> None:
    found = os.lstat(path)
    os.lchown(path, -1, group)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(path, stat.S_IMODE(found.st_mode) | _FOR_GROUP | more)  # noqa: PTH101
