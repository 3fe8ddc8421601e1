"""What a lab keeps on disk, so that another process can use it, and take it down after a crash half-way.

The file is written before the first thing is made. Names of namespaces, links and control groups follow from `id`
and the machine's name, so nothing that exists can be missing from the record.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from deploy.processes import Process


class LabError(RuntimeError):
    """The lab cannot do what was asked; the message says what to do."""


class ServiceState(msgspec.Struct):
    """A daemon that starts with its machine; `process` is empty while it does not run."""

    argv: list[str]
    process: Process | None = None


class MachineState(msgspec.Struct):
    """One machine; `init` is its PID 1 as the box sees it, empty while the power is off."""

    name: str
    address: str
    gateway: str
    mac: str
    bridge: str
    cut: bool = False
    disk_mb: int = 0
    init: Process | None = None
    services: dict[str, ServiceState] = {}


class LabState(msgspec.Struct):
    """One lab; `block` numbers its four networks 10.77.(4 x block).0/24 and following, -1 before they are chosen."""

    id: str
    block: int = -1
    dockerd_flags: list[str] = []
    machines: dict[str, MachineState] = {}

    def subnet(self, index: int) -> str:
        """The first three numbers of a network: 0 near machines, 1 far machines, 2 the way to the box."""
        return f"10.77.{4 * self.block + index}"

    def netns(self, name: str) -> str:
        """The name of the network namespace of a machine, or of `switch`."""
        return f"mz{self.id}-{name}"


class StateFile:
    """The lab's record in its folder; every change is written at once and as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "lab.json"

    def load(self) -> LabState | None:
        """The record, or None when the folder holds no lab."""
        if not self.path.exists():
            return None
        return msgspec.json.decode(self.path.read_bytes(), type=LabState)

    def save(self, state: LabState) -> None:
        """Replace the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        fresh.replace(self.path)
