"""The few system calls for mounts and safe path walks that Python's `os` lacks.

Blocking and Linux only; needs root. `openat2` needs Linux 5.6.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC = 2, 4, 8, 4096, 16384
_MS_PRIVATE = 1 << 18
_MOUNT_SETATTR = 442  # as well
_MOUNT_ATTR_RDONLY = 1
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_OCTAL = re.compile(rb"\\([0-7]{3})")

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def mount_tmpfs(target: str, *, mode: int, size_bytes: int, executable: bool) -> None:
    """A file system in memory; a size of 0 leaves it to the kernel (half of the memory). Raises OSError."""
    flags = _MS_NOSUID | _MS_NODEV | (0 if executable else _MS_NOEXEC)
    size = f",size={size_bytes}" if size_bytes else ""
    _mount("tmpfs", target, "tmpfs", flags, f"mode={mode:o}{size}")


def bind(source: str, target: str) -> None:
    """Show a file or folder at a second place. Raises OSError."""
    _mount(source, target, "", _MS_BIND, "")


def bind_all(source: str, target: str) -> None:
    """Show a folder at a second place, with all that is mounted below it. Raises OSError.

    What is done to the second place, such as taking mounts away, says nothing to the first.
    """
    _mount(source, target, "", _MS_BIND | _MS_REC, "")
    _mount("", target, "", _MS_PRIVATE | _MS_REC, "")


def fix_all(target: str) -> None:
    """Make a mount read-only with all that is mounted below it. Raises OSError; ENOSYS before Linux 5.12."""
    wanted = _MountAttr(attr_set=_MOUNT_ATTR_RDONLY)
    done = _libc.syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, ctypes.byref(wanted), ctypes.sizeof(wanted)
    )
    if done != 0:
        raise _error(target)


def mount_huge_pages(target: str, *, page_bytes: int, size_bytes: int) -> None:
    """A file system of huge pages of one size; a size of 0 leaves it to what the machine has. Raises OSError."""
    size = f",size={size_bytes}" if size_bytes else ""
    _mount("hugetlbfs", target, "hugetlbfs", _MS_NOSUID | _MS_NODEV, f"pagesize={page_bytes},mode=1777{size}")


def unmount(target: str) -> None:
    """Take the topmost mount at a path away, as soon as nobody uses it. Raises OSError."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise _error(target)


def mounted_under(folder: str) -> tuple[str, ...]:
    """All mount points at or below a folder in this mount namespace, the deepest first; stacked ones repeat."""
    prefix = os.fsencode(folder)
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ")[4])
        if point == prefix or point.startswith(prefix + b"/"):
            found.append(os.fsdecode(point))
    return tuple(sorted(found, key=lambda point: point.count("/"), reverse=True))


def open_beneath(folder_fd: int, path: str) -> int:
    """Open what a path means below an open folder, as a handle without access (`O_PATH`).

    Symbolic links are followed as long as they stay below; one that leads out is an OSError (EXDEV).
    """
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    found = _libc.syscall(_OPENAT2, folder_fd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if found < 0:
        raise _error(path)
    return int(found)


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), data.encode()) != 0:
        raise _error(target)


def _error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
