"""What a control group has used of processors, memory and networks, out of the kernel's files of either version.

The group is found by the process, so that it does not matter how the engine names its groups. Version 1 has a tree for
each controller, version 2 one for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_CPU, _MEMORY, _PIDS = "cpuacct", "memory", "pids"
_ALL = ""


class Unreadable(Exception):
    """The group is gone, or its files are not what they should be."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a group, or the machine, has used by now."""

    cpu_ns: int
    """Processor time since the beginning."""
    memory_bytes: int
    """The working set at this moment."""
    usage_bytes: int
    """All memory at this moment, file pages that could be dropped included."""
    group: str = "/"
    """The group's path below its hierarchy's root; the machine is the root."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an interface has carried since it was made."""

    received: Flow
    sent: Flow


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction."""

    bytes: int
    packets: int
    errors: int
    dropped: int


def traffic(text: str) -> Mapping[str, Traffic]:
    """The rows of a `/proc/PID/net/dev` by interface, without the loopback. Raises ValueError."""
    found = {}
    for line in text.splitlines()[2:]:  # below two lines of headings
        name, numbers = line.split(":", 1)
        if (name := name.strip()) != "lo":
            counts = [int(number) for number in numbers.split()]
            found[name] = Traffic(Flow(*counts[:4]), Flow(*counts[8:12]))
    return found


def groups(text: str) -> Mapping[str, str]:
    """The paths in a `/proc/PID/cgroup` by controller; the one of version 2 under the empty name."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def whole(path: str, container_id: str) -> str:
    """The group of the container in the path of one of its processes, which may be in a group below."""
    at = path.find(container_id)
    if at < 0:
        return path
    end = path.find("/", at)
    return path if end < 0 else path[:end]


def field(text: str, name: str, separator: str = " ") -> int:
    """A number in a file of names and numbers. Raises Unreadable."""
    for line in text.splitlines():
        if line.startswith(name + separator):
            return int(line[len(name) + 1 :].split()[0])
    raise Unreadable(f"no {name}")


def working_set(usage: int, inactive_file: int) -> int:
    """Memory without file pages that nobody has touched for a while."""
    return max(0, usage - inactive_file)


def machine_time(stat: str, ticks: int) -> int:
    """The nanoseconds in which processors worked, out of `/proc/stat` with so many ticks a second."""
    # Idle and waiting for disks are no work; guests' time is in their hosts' already.
    user, nice, system, _, _, *more = stat.splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *more))) * 1_000_000_000 // ticks


def machine_memory(meminfo: str) -> tuple[int, int]:
    """The working set and all used memory of the machine in bytes, out of `/proc/meminfo`."""
    used = field(meminfo, "MemTotal", ":") - field(meminfo, "MemFree", ":")
    return working_set(used, field(meminfo, "Inactive(file)", ":")) * 1024, used * 1024


class Cgroups:
    """Reads the files; may take some milliseconds, so not on an event loop."""

    def __init__(self, root: Path = ROOT, proc: Path = PROC) -> None:
        """With the hierarchies mounted below `root`."""
        self._root = root
        self._proc = proc
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._places: dict[tuple[str, int], tuple[bool, Path, Path]] = {}

    def container(self, container_id: str, pid: int) -> Counted:
        """What a container has used, found by the first of its processes. Raises Unreadable."""
        try:
            key = (container_id, pid)
            place = self._places.get(key) or self._places.setdefault(key, self._find(container_id, pid))
            first, cpu, memory = place
            stat = (memory / "memory.stat").read_text()
            if first:
                used_ns = int((cpu / "cpuacct.usage").read_text())
                usage, inactive = (memory / "memory.usage_in_bytes").read_text(), field(stat, "total_inactive_file")
            else:
                used_ns = field((cpu / "cpu.stat").read_text(), "usage_usec") * 1000
                usage, inactive = (memory / "memory.current").read_text(), field(stat, "inactive_file")
            return Counted(used_ns, working_set(int(usage), inactive), int(usage), self._name(first, memory))
        except (OSError, ValueError) as error:
            raise Unreadable(str(error)) from error

    def processes(self, container_id: str, pid: int) -> int:
        """How many processes and threads a container has, found by the first of them. Raises Unreadable."""
        try:
            paths = groups((self._proc / str(pid) / "cgroup").read_text())
            tree = _PIDS if _PIDS in paths else _ALL
            group = self._below(tree, whole(paths[tree], container_id))
            return int((group / "pids.current").read_text())
        except (OSError, ValueError, KeyError) as error:
            raise Unreadable(str(error)) from error

    def machine(self) -> Counted:
        """What the machine has used. Raises Unreadable."""
        try:
            used_ns = machine_time((self._proc / "stat").read_text(), self._ticks)
            return Counted(used_ns, *machine_memory((self._proc / "meminfo").read_text()))
        except (OSError, ValueError) as error:
            raise Unreadable(str(error)) from error

    def network(self, pid: int) -> Mapping[str, Traffic]:
        """The traffic of a process' network by interface, the loopback left out. Raises Unreadable."""
        try:
            return traffic((self._proc / str(pid) / "net/dev").read_text())
        except (OSError, ValueError) as error:
            raise Unreadable(str(error)) from error

    def keep(self, running: Iterable[tuple[str, int]]) -> None:
        """Forget where all others' groups are."""
        kept = set(running)
        self._places = {key: place for key, place in self._places.items() if key in kept}

    def _find(self, container_id: str, pid: int) -> tuple[bool, Path, Path]:
        paths = groups((self._proc / str(pid) / "cgroup").read_text())
        first = _MEMORY in paths
        cpu, memory = (self._below(name, whole(paths[name], container_id)) for name in _trees(first, paths))
        return first, cpu, memory

    def _name(self, first: bool, memory: Path) -> str:
        return f"/{memory.relative_to(self._root / (_MEMORY if first else _ALL))}"

    def _below(self, controller: str, path: str) -> Path:
        return self._root / controller / path.lstrip("/")


def _trees(first: bool, paths: Mapping[str, str]) -> tuple[str, str]:
    wanted = (_CPU, _MEMORY) if first else (_ALL, _ALL)
    for name in wanted:
        if name not in paths:
            raise Unreadable(f"no group of {name or 'version 2'}")
    return wanted
