"""What processes and control groups have used: CPU seconds and memory, as the kernel counts them."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_V1 = Path("/sys/fs/cgroup/cpuacct")
_V2 = Path("/sys/fs/cgroup")


def cpu_s(*pids: int) -> float:
    """Seconds of CPU that processes and their ended children have used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICKS


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process, and its proportional share of it, in MB."""
    values = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, amount, *_ = line.split()
        values[name] = int(amount) * 1024 / 1e6
    return values["Rss:"], values["Pss:"]


def machine_group(pid: int) -> Path:
    """The control group that counts the CPU of the lab's machine on which a service runs."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, controllers, path in lines:
        if "cpuacct" in controllers.split(","):
            return _V1 / path.lstrip("/")
    group = _V2 / lines[0][2].lstrip("/")
    # Version 2 allows no processes in a group that has groups below it, so the lab puts services into one of their own.
    return group.parent if group.name == "init" else group


def group_cpu_s(group: Path) -> float:
    """Seconds of CPU used so far in a control group and below, ended processes included."""
    counter = group / "cpuacct.usage"
    if counter.exists():
        return int(counter.read_text()) / 1e9
    return int((group / "cpu.stat").read_text().split()[1]) / 1e6
