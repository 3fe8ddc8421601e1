"""Checks, and where Kubernetes says so makes, what a `hostPath` volume asks to be on the machine. Blocking."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from nodeagent.volumes.plan import HostPath
from nodeagent.volumes.port import VolumeFailure

_KINDS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket file", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


def ensure(wanted: HostPath) -> None:
    """Make what may be made and check what has to be there. Raises VolumeFailure, OSError."""
    path = Path(wanted.path)
    if not path.exists():
        if wanted.type in ("", "DirectoryOrCreate"):
            path.mkdir(mode=0o755, parents=True)
        elif wanted.type == "FileOrCreate":
            path.touch(mode=0o644)
    if not wanted.type:
        return
    if wanted.type not in _KINDS:
        raise VolumeFailure(f'hostPath type check failed: "{wanted.type}" is not a type')
    words, is_one = _KINDS[wanted.type]
    if not path.exists() or not is_one(path.stat().st_mode):
        raise VolumeFailure(f"hostPath type check failed: {wanted.path} is not {words}")
