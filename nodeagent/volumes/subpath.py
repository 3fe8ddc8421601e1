"""Shows a part of a volume at a place of the agent's own, for a container's `subPath`. Blocking, needs root.

Why not just mount the joined path: a container that writes to the volume could put a symbolic link there and be given
any file of the node. So the path is walked by the kernel in one call that never leaves the volume, and what was found
is bound by its handle, not by its name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodeagent.volumes import mounts


def show(volume: str, sub_path: str, target: Path, *, may_make: bool) -> None:
    """Bind the part to the target, in place of what is bound there. Raises OSError.

    A part that is missing becomes an empty folder where that may be made.
    """
    with _opened(os.open(volume, os.O_PATH | os.O_CLOEXEC)) as folder:
        if may_make:
            make(folder, sub_path, stat.S_IMODE(os.fstat(folder).st_mode))
        with _opened(mounts.open_beneath(folder, sub_path)) as part:
            while str(target) in mounts.mounted_under(str(target)):
                mounts.unmount(str(target))
            _prepare(target, folder=stat.S_ISDIR(os.fstat(part).st_mode))
            mounts.bind(f"/proc/self/fd/{part}", str(target))


def read(volume: str, path: str, limit_bytes: int) -> bytes | None:
    """A plain file in the volume, cut one byte after the limit; None when there is none. Raises OSError."""
    try:
        with (
            _opened(os.open(volume, os.O_PATH | os.O_CLOEXEC)) as folder,
            _opened(mounts.open_beneath(folder, path)) as found,
        ):
            # What is no plain file might never answer.
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file", path)
            with Path(f"/proc/self/fd/{found}").open("rb") as file:
                return file.read(limit_bytes + 1)
    except FileNotFoundError:
        return None


def show_all(volume: str, target: Path) -> None:
    """Bind the volume with all that is mounted below it to the target, read-only all of it. Raises OSError."""
    while above := mounts.mounted_under(str(target)):
        mounts.unmount(above[0])
    _prepare(target, folder=Path(volume).is_dir())
    mounts.bind_all(volume, str(target))
    try:
        mounts.fix_all(str(target))
    except OSError:
        mounts.unmount(str(target))
        raise


def make(folder: int, sub_path: str, mode: int) -> bool:
    """Make the folders of the path that are missing, each inside a parent that was walked to safely; whether any was.

    Raises OSError.
    """
    missed = False
    parts = [part for part in sub_path.split("/") if part not in ("", ".")]
    for depth in range(len(parts)):
        try:
            os.close(mounts.open_beneath(folder, "/".join(parts[: depth + 1])))
        except FileNotFoundError:
            missed = True
            with _opened(mounts.open_beneath(folder, "/".join(parts[:depth]) or ".")) as parent:
                os.mkdir(parts[depth], dir_fd=parent)
            with _opened(mounts.open_beneath(folder, "/".join(parts[: depth + 1]))) as made:
                Path(f"/proc/self/fd/{made}").chmod(mode)
    return missed


def _prepare(target: Path, *, folder: bool) -> None:
    """Something of the right kind to bind to."""
    if target.exists() and target.is_dir() != folder:
        target.rmdir() if target.is_dir() else target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        target.mkdir(exist_ok=True)
    else:
        target.touch()


@contextmanager
def _opened(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)
