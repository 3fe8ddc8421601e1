"""How little of memory, disks and processes may be left before pods have to go, as an operator writes it. Pure.

    memory.available<100Mi,nodefs.available<10%,imagefs.inodesFree<5%

Signals, forms and defaults are the kubelet's; `nodefs` is the disk of the pods' volumes, `imagefs` that of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mizzen.api import quantity
from nodeagent.lifecycle.pressure import DISK, MEMORY, PIDS, Readings

DEFAULT = (
    "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%,"
    "pid.available<10%"
)
_CONDITIONS = {
    "memory.available": MEMORY, "nodefs.available": DISK, "nodefs.inodesFree": DISK, "imagefs.available": DISK,
    "imagefs.inodesFree": DISK, "pid.available": PIDS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least that has to be left of something."""

    signal: str
    amount: int = 0
    percent: float = 0.0
    """Of all there is; 0: `amount` holds."""
    patience_ms: int = 0
    """For how long there may be less before pods have to go; 0: not at all, and then they get no time to end either."""

    @property
    def condition(self) -> str:
        """The node's condition when there is less."""
        return _CONDITIONS[self.signal]


@dataclass(frozen=True, slots=True)
class Crossed:
    """A threshold below which something has fallen."""

    threshold: Threshold
    least: int
    available: int


NONE: tuple[Threshold, ...] = ()


def parse(text: str) -> tuple[Threshold, ...]:
    """The thresholds in a text; empty: none. Raises ValueError that says what to write."""
    found: dict[str, Threshold] = {}
    for part in filter(None, text.split(",")):
        signal, separator, bound = part.partition("<")
        if not separator or signal not in _CONDITIONS:
            raise ValueError(f"{part!r} is no threshold; write SIGNAL<AMOUNT, where SIGNAL is one of {_signals()}")
        if signal in found:
            raise ValueError(f"{signal} has two thresholds")
        try:
            if bound.endswith("%"):
                percent = float(bound[:-1])
                if not 0 <= percent <= 100:
                    raise ValueError(bound)
                found[signal] = Threshold(signal, percent=percent)
            else:
                found[signal] = Threshold(signal, amount=quantity.units(bound))
        except (ValueError, quantity.QuantityError) as error:
            raise ValueError(f"{part!r}: {bound!r} is neither an amount like 100Mi nor a share like 10%") from error
    return tuple(found.values())


def soft(thresholds: tuple[Threshold, ...], patience: Mapping[str, int]) -> tuple[Threshold, ...]:
    """The thresholds with how long each is borne, in milliseconds by signal. Raises ValueError where one has none."""
    for threshold in thresholds:
        if not patience.get(threshold.signal):
            raise ValueError(f"{threshold.signal} needs a time for which it is borne, like {threshold.signal}=1m30s")
    return tuple(replace(threshold, patience_ms=patience[threshold.signal]) for threshold in thresholds)


def worn_out(found: Sequence[Crossed], since: Mapping[Threshold, int], now_ms: int) -> list[Crossed]:
    """Those that have been crossed for longer than they are borne; `since`: when each was crossed."""
    return [one for one in found if now_ms - since.get(one.threshold, now_ms) >= one.threshold.patience_ms]


def crossed(thresholds: tuple[Threshold, ...], readings: Readings) -> list[Crossed]:
    """The thresholds that are crossed now, those that are not borne first; memory before others, for it can't wait."""
    found = []
    for threshold in thresholds:
        available, whole = _amounts(threshold.signal, readings)
        if not whole:
            continue  # the file system does not count this
        least = int(whole * threshold.percent / 100) if threshold.percent else threshold.amount
        if available < least:
            found.append(Crossed(threshold, least, available))
    return sorted(found, key=lambda one: (one.threshold.patience_ms > 0, one.threshold.condition != MEMORY))


def _amounts(signal: str, readings: Readings) -> tuple[int, int]:
    """What is left, and how much there is."""
    place, _, what = signal.partition(".")
    if place == "memory":
        return readings.memory_free_bytes, readings.memory_bytes or readings.memory_free_bytes
    if place == "pid":
        return readings.pids_max - readings.pids, readings.pids_max
    disk = readings.volumes if place == "nodefs" else readings.images
    return (disk.free_inodes, disk.total_inodes) if what == "inodesFree" else (disk.free_bytes, disk.total_bytes)


def _signals() -> str:
    return ", ".join(_CONDITIONS)
