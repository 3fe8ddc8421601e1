"""What this machine says of itself: identity, memory, disks, processes, addresses. Reads files; never waits."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from nodeagent.lifecycle.pressure import Disk

_PROC = Path("/proc")


def boot_id() -> str:
    """Changes at every boot."""
    return _line(_PROC / "sys/kernel/random/boot_id")


def machine_id() -> str:
    """The installation's own id."""
    return _line(Path("/etc/machine-id"))


def system_uuid() -> str:
    """The hardware's id, as far as it can be read."""
    return _line(Path("/sys/class/dmi/id/product_uuid"))


def hostname() -> str:
    """The machine's name, in the form of a node name."""
    return socket.gethostname().lower()


def follows_sctp() -> bool:
    """Whether the kernel follows SCTP connections, without which it leads none to a Service's pods.

    Only right once rules are loaded, because these load what follows connections.
    """
    return (_PROC / "sys/net/netfilter/nf_conntrack_sctp_timeout_established").exists()


def has_deep_read_only() -> bool:
    """Whether the kernel can make a mount read-only with all that is mounted below it (Linux 5.12)."""
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (5, 12)


def text(path: str) -> str:
    """A small file's content, empty when it can't be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def memory_free_bytes() -> int:
    """What can be had without swapping."""
    for line in text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def disk(path: str) -> Disk:
    """The file system that holds a path; all zeros when it can't be asked."""
    try:
        found = os.statvfs(path)
    except OSError:
        return Disk()
    return Disk(
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        total_inodes=found.f_files,
        free_inodes=found.f_favail,
    )


def pids() -> tuple[int, int]:
    """How many processes and threads there are, and may be."""
    running = _line(_PROC / "loadavg").split()
    count = int(running[3].partition("/")[2]) if len(running) > 3 else 0
    return count, int(_line(_PROC / "sys/kernel/pid_max") or 0)


def address_towards(host: str, port: int) -> str:
    """The own address from which a host is reached; empty when there is no way to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it only asks the kernel for the route.
            probe.connect((host, port))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _line(path: Path) -> str:
    return text(str(path)).strip()
