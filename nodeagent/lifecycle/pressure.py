"""The node's conditions, from readings of the machine. Pure; the thresholds are kubelet's defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mizzen.api import times
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant

MEMORY_MIN_BYTES = 100 * 1024 * 1024
DISK_MIN_PERCENT = 10
IMAGES_MIN_PERCENT = 15
INODES_MIN_PERCENT = 5
PIDS_MIN_PERCENT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One file system."""

    total_bytes: int = 0
    free_bytes: int = 0
    total_inodes: int = 0
    """0: the file system does not count them."""
    free_inodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the machine says of itself now."""

    memory_free_bytes: int
    """What can be had without hurting anybody."""
    volumes: Disk
    """Where pods' volumes are."""
    images: Disk
    """Where the engine keeps images and containers."""
    pids: int
    pids_max: int
    problems: tuple[str, ...] = ()
    """Why the node can't run pods now; none: it can."""


def conditions(
    readings: Readings, before: Sequence[core.NodeCondition], now: Instant
) -> tuple[core.NodeCondition, ...]:
    """The node's conditions; one whose status stays keeps its transition time."""
    known = {condition.type: condition for condition in before}
    stamp = times.render(now)

    def condition(kind: str, *, status: bool, reason: str, message: str) -> core.NodeCondition:
        text = "True" if status else "False"
        old = known.get(kind)
        since = old.last_transition_time if old is not None and old.status == text else stamp
        return core.NodeCondition(
            type=kind,
            status=text,
            last_heartbeat_time=stamp,
            last_transition_time=since,
            reason=reason,
            message=message,
        )

    def pressure(kind: str, under: bool, reasons: tuple[str, str], words: tuple[str, str]) -> core.NodeCondition:
        return condition(kind, status=under, reason=reasons[not under], message=f"kubelet has {words[not under]}")

    memory = readings.memory_free_bytes < MEMORY_MIN_BYTES
    disk = _full(readings.volumes, DISK_MIN_PERCENT) or _full(readings.images, IMAGES_MIN_PERCENT)
    pids = (readings.pids_max - readings.pids) * 100 < PIDS_MIN_PERCENT * readings.pids_max
    problems = ", ".join(readings.problems)
    return (
        pressure(
            "MemoryPressure", memory, ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            ("insufficient memory available", "sufficient memory available"),
        ),
        pressure(
            "DiskPressure", disk, ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            ("disk pressure", "no disk pressure"),
        ),
        pressure(
            "PIDPressure", pids, ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            ("insufficient PID available", "sufficient PID available"),
        ),
        condition(
            "Ready",
            status=not problems,
            reason="KubeletNotReady" if problems else "KubeletReady",
            message=problems or "kubelet is posting ready status",
        ),
    )  # fmt: skip


def _full(disk: Disk, percent: int) -> bool:
    low = disk.total_bytes and disk.free_bytes * 100 < percent * disk.total_bytes
    return bool(low or (disk.total_inodes and disk.free_inodes * 100 < INODES_MIN_PERCENT * disk.total_inodes))


def same_but_for_heartbeat(a: core.NodeStatus, b: core.NodeStatus) -> bool:
    """Whether two statuses say the same of the node, whenever they were said."""
    stripped = [
        tuple((c.type, c.status, c.reason, c.message, c.last_transition_time) for c in status.conditions)
        for status in (a, b)
    ]
    rest = ("capacity", "allocatable", "addresses", "node_info", "images", "volumes_in_use", "runtime_handlers")
    return stripped[0] == stripped[1] and all(getattr(a, name) == getattr(b, name) for name in rest)
