"""Folders whose files change all at once, in the layout that programs know from Kubernetes.

    volume/key        -> ..data/key          what a container opens
    volume/..data     -> ..v8f3k2            replaced by one rename when anything changes
    volume/..v8f3k2/key                      the files themselves

A reader sees all of the old files or all of the new ones, also when the agent dies in the middle.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from nodeagent.volumes.plan import File

_DATA = "..data"
_NEXT = "..data_tmp"
_VERSION = "..v"
_GROUP_READ = 0o440
_FOLDER = 0o755


def publish(folder: Path, files: Mapping[str, File], group: int | None) -> bool:
    """Make the folder show exactly these files; whether anything had to change.

    With a group (a pod's `fsGroup`) the files belong to it and are readable for it.
    """
    wanted = {path: _for_group(file) for path, file in files.items()} if group is not None else dict(files)
    current = folder / _DATA
    if current.is_symlink() and current.exists() and _content(current.resolve()) == wanted:
        _link(folder, wanted)
        return False
    version = _write(folder, wanted, group)
    following = folder / _NEXT
    following.unlink(missing_ok=True)
    following.symlink_to(version.name)
    following.replace(current)
    _link(folder, wanted)
    for old in folder.glob(f"{_VERSION}*"):
        if old.name != version.name:
            shutil.rmtree(old)
    return True


def present(folder: Path, paths: Iterable[str]) -> dict[str, File]:
    """Those of the paths that the folder shows now."""
    current = folder / _DATA
    found = _content(current.resolve()) if current.is_symlink() and current.exists() else {}
    return {path: found[path] for path in paths if path in found}


def _for_group(file: File) -> File:
    return File(file.content, file.mode | _GROUP_READ)


def _content(version: Path) -> dict[str, File]:
    return {
        str(path.relative_to(version)): File(path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in version.rglob("*")
        if path.is_file()
    }


def _write(folder: Path, files: Mapping[str, File], group: int | None) -> Path:
    version = Path(tempfile.mkdtemp(prefix=_VERSION, dir=folder))
    version.chmod(_FOLDER)
    for path, file in files.items():
        target = version / path
        for parent in reversed(target.relative_to(version).parents[:-1]):
            (version / parent).mkdir(exist_ok=True)
            (version / parent).chmod(_FOLDER)
        target.write_bytes(file.content)
        if group is not None:
            os.chown(target, -1, group)
        target.chmod(file.mode)
    return version


def _link(folder: Path, files: Mapping[str, File]) -> None:
    """The visible names: links that never change while their file stays."""
    names = sorted({path.partition("/")[0] for path in files})
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
