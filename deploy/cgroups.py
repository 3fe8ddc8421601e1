"""A named control group in every hierarchy of the box, version 1 or 2: to count, freeze, kill and remove what is in it.

Used as the truth about which processes belong to a lab machine. Version 1 keeps one tree per controller below
/sys/fs/cgroup, version 2 one tree for all.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from deploy.shell import wait_for

ROOT = Path("/sys/fs/cgroup")


def unified() -> bool:
    """Whether the box runs the single hierarchy of version 2."""
    return (ROOT / "cgroup.controllers").exists()


class Cgroup:
    """The group `name` (a relative path) in all hierarchies; nothing is touched before `create`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._roots = [ROOT] if unified() else sorted({p.resolve() for p in ROOT.iterdir() if _is_group(p)})
        self.paths = [root / name for root in self._roots]

    def create(self) -> None:
        """Make the group, ready for its first process."""
        for root in self._roots:
            group = root
            for step in Path(self.name).parts:
                if unified():
                    _hand_down_controllers(group)
                group /= step
                group.mkdir(exist_ok=True)
                if (group / "cpuset.cpus").exists() and not unified():
                    _inherit_processors(group)

    def joining(self, inner: str = "") -> list[str]:
        """A command prefix that moves itself into the group (or one within it) and becomes what follows."""
        moves = "; ".join(f"echo 0 >{path / inner / 'cgroup.procs'}" for path in self.paths)
        return ["sh", "-ec", f'{moves}; exec "$@"', "join"]

    def pids(self) -> set[int]:
        """All processes in the group and below."""
        found: set[int] = set()
        for path in self.paths:
            for procs in path.rglob("cgroup.procs"):
                try:
                    found.update(int(pid) for pid in procs.read_text().split())
                except OSError:
                    continue  # the group went away while we looked
        return found

    def freeze(self, on: bool) -> None:
        """Stop every process in the group where it stands, or let all go on."""
        if unified():
            (self.paths[0] / "cgroup.freeze").write_text("1" if on else "0")
            return
        for path in self.paths:
            state = path / "freezer.state"
            if state.exists():
                state.write_text("FROZEN" if on else "THAWED")

    def kill(self, timeout_s: float = 20) -> None:
        """End every process at once, frozen or not, and wait until the group is empty."""
        if not any(path.exists() for path in self.paths):
            return

        def emptied() -> bool:
            pids = self.pids()
            for pid in pids:
                _kill(pid)
            self.freeze(on=False)
            return not pids

        wait_for(f"the processes of cgroup {self.name} to end", emptied, timeout_s)

    def remove(self) -> None:
        """Delete the empty group and all below it, deepest first."""
        for path in self.paths:
            for folder, _, _ in os.walk(path, topdown=False):
                Path(folder).rmdir()


def _is_group(path: Path) -> bool:
    return (path / "cgroup.procs").exists()


def _hand_down_controllers(path: Path) -> None:
    """In version 2 a group below gets only the controllers that its parent hands down."""
    offered = (path / "cgroup.controllers").read_text().split()
    (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in offered))


def _inherit_processors(path: Path) -> None:
    """In version 1 a new group has no processors and takes no process until told which."""
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if not (path / setting).read_text().strip():
            (path / setting).write_text((path.parent / setting).read_text())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # already gone
