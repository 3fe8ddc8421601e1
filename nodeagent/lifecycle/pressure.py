"""The node's conditions, from readings of the machine. Pure; what counts as too little is in `thresholds`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mizzen.api import times
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant

MEMORY, DISK, PIDS = "MemoryPressure", "DiskPressure", "PIDPressure"


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
    memory_bytes: int = 0
    """All that the machine has; 0: not known."""
    volumes: Disk
    """Where pods' volumes are."""
    images: Disk
    """Where the engine keeps images and containers."""
    pids: int
    pids_max: int


def held(seen: Mapping[str, Instant], under: Iterable[str], now: Instant, hold_ms: int) -> dict[str, Instant]:
    """The pressures that count, with when each was felt last: one that has gone counts for a while longer.

    A node that has just got rid of pods must not at once be given the same ones again.
    """
    kept = {name: since for name, since in seen.items() if now - since < hold_ms}
    return {**kept, **dict.fromkeys(under, now)}


def conditions(
    problems: Sequence[str], under: Collection[str], before: Sequence[core.NodeCondition], now: Instant
) -> tuple[core.NodeCondition, ...]:
    """The node's conditions; one whose status stays keeps its transition time.

    `problems`: why the node can't run pods now; `under`: the pressures that it feels.
    """
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

    why = ", ".join(problems)
    return (
        pressure(
            MEMORY, MEMORY in under, ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            ("insufficient memory available", "sufficient memory available"),
        ),
        pressure(
            DISK, DISK in under, ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            ("disk pressure", "no disk pressure"),
        ),
        pressure(
            PIDS, PIDS in under, ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            ("insufficient PID available", "sufficient PID available"),
        ),
        condition(
            "Ready",
            status=not why,
            reason="KubeletNotReady" if why else "KubeletReady",
            message=why or "kubelet is posting ready status",
        ),
    )  # fmt: skip


def same_but_for_heartbeat(a: core.NodeStatus, b: core.NodeStatus) -> bool:
    """Whether two statuses say the same of the node, whenever they were said."""
    stripped = [
        tuple((c.type, c.status, c.reason, c.message, c.last_transition_time) for c in status.conditions)
        for status in (a, b)
    ]
    rest = ("capacity", "allocatable", "addresses", "node_info", "images", "volumes_in_use", "runtime_handlers")
    return stripped[0] == stripped[1] and all(getattr(a, name) == getattr(b, name) for name in rest)
