"""Mounts folders of NFS servers, and makes and removes those that belong to a volume. Blocking, needs root.

The program `mount` is called and not the kernel: its helper of the NFS package negotiates the version and finds the
ports, which the bare system call does not.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mizzen.api.nfsvolumes import Place
from nodeagent.volumes import mounts, subpath
from nodeagent.volumes.port import VolumeFailure

MOUNT_DEADLINE_S = 60.0
"""A server that does not answer in this time is tried again later."""
HELPERS = "/sbin:/usr/sbin"
"""Where `mount` looks for the helper of a kind of file system."""
_OPEN_TO_ALL = 0o777


class Nfs:
    """NFS, or in tests another kind of file system that stands for it."""

    def __init__(self, kind: str = "nfs") -> None:
        """`kind` is what `mount -t` is given; its helper is the program `mount.KIND`."""
        self._kind = kind

    @property
    def has_client(self) -> bool:
        """Whether this machine has the program that mounts such file systems."""
        return shutil.which(f"mount.{self._kind}", path=HELPERS) is not None

    def mount(self, server: str, path: str, options: tuple[str, ...], target: Path) -> None:
        """Show a folder of a server. Raises VolumeFailure with what `mount` said."""
        if not self.has_client:
            raise VolumeFailure(
                f"mount failed: this machine has no mount.{self._kind}; install its NFS client (Debian: nfs-common)"
            )
        said = ("-o", ",".join(options)) if options else ()
        command = ["mount", "-t", self._kind, *said, f"{_in_brackets(server)}:{path}", str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MOUNT_DEADLINE_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise VolumeFailure(f"{server} did not answer within {MOUNT_DEADLINE_S:.0f} s") from error
        if done.returncode != 0:
            why = f"mount failed: exit status {done.returncode}: {done.stderr.strip()}"
            raise VolumeFailure(f"{why} (arguments: {' '.join(command[1:])})")

    def mount_own(self, server: str, place: Place, options: tuple[str, ...], target: Path) -> None:
        """Show a volume's own folder, which is made when it is not there. Raises VolumeFailure, OSError."""
        path = posixpath.join(place.share, place.folder)
        try:
            self.mount(server, path, options, target)
        except VolumeFailure:
            with self._share(server, place, options) as share:
                if not subpath.make(share, place.folder, _OPEN_TO_ALL):
                    raise  # it is there, so that is not why
            self.mount(server, path, options, target)

    def remove(self, server: str, place: Place, options: tuple[str, ...]) -> None:
        """Take a volume's own folder away; none there is success. Raises VolumeFailure, OSError."""
        with self._parent(server, place, options) as (parent, name):
            if parent >= 0 and _is_in(parent, name):
                shutil.rmtree(name, dir_fd=parent)

    def archive(self, server: str, place: Place, options: tuple[str, ...], volume: str) -> None:
        """Give a volume's own folder a name that says that it is no longer used. Raises VolumeFailure, OSError."""
        with self._parent(server, place, options) as (parent, name):
            if parent >= 0 and _is_in(parent, name):
                new = f"archived-{name}"
                # What was put aside before under this name is somebody's data, too.
                new = f"{new}-{volume}" if _is_in(parent, new) else new
                os.rename(name, new, src_dir_fd=parent, dst_dir_fd=parent)

    @contextmanager
    def _share(self, server: str, place: Place, options: tuple[str, ...]) -> Iterator[int]:
        """The whole share for a moment, as a handle."""
        writable = tuple(option for option in options if option != "ro")
        with tempfile.TemporaryDirectory(prefix="mizzen-nfs-") as folder:
            self.mount(server, place.share, writable, Path(folder))
            try:
                handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
                try:
                    yield handle
                finally:
                    os.close(handle)
            finally:
                mounts.unmount(folder)

    @contextmanager
    def _parent(self, server: str, place: Place, options: tuple[str, ...]) -> Iterator[tuple[int, str]]:
        """The folder in which a volume's own is, and its name there; -1 when that folder is gone."""
        above, _, name = place.folder.rpartition("/")
        with self._share(server, place, options) as share:
            try:
                walked = mounts.open_beneath(share, above or ".")
            except FileNotFoundError:
                yield -1, name
                return
            parent = -1
            try:
                parent = os.open(f"/proc/self/fd/{walked}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                yield parent, name
            finally:
                os.close(walked)
                if parent >= 0:
                    os.close(parent)


def _is_in(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _in_brackets(server: str) -> str:
    return f"[{server}]" if ":" in server and not server.startswith("[") else server
