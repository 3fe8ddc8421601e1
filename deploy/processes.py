"""Daemons that outlive the command that started them, known by pid *and* start time.

A pid alone may belong to somebody else tomorrow; pid and start time together never do, so nothing here can end a
process that it did not start.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from deploy.shell import wait_for

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Our own children, kept to reap them: an ended child stays visible as a zombie until its parent asks."""


class Process(msgspec.Struct, frozen=True):
    """One process of this box: its pid and its start time in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return _stat(self.pid) == (self.started, True)

    def send(self, sig: signal.Signals) -> None:
        """Send a signal if the process still runs."""
        if not self.alive():
            return
        try:
            os.kill(self.pid, sig)
        except ProcessLookupError:
            return  # it ended between the look and the signal

    def stop(self, grace_s: float = 10) -> None:
        """Ask it to end, insist after `grace_s` seconds, and return when it is gone."""
        self.send(signal.SIGTERM)
        try:
            wait_for(f"process {self.pid} to end", lambda: not self.alive(), grace_s)
        except TimeoutError:
            self.send(signal.SIGKILL)
            wait_for(f"process {self.pid} to be killed", lambda: not self.alive(), 10)


def identify(pid: int) -> Process:
    """The process that has this pid now; raises ProcessLookupError when there is none."""
    seen = _stat(pid)
    if seen is None:
        raise ProcessLookupError(f"no process {pid}")
    return Process(pid, seen[0])


def child_of(parent: Process, timeout_s: float = 5) -> Process | None:
    """The first child of a process once it has one; None when the parent ends without."""

    def look() -> Process | bool | None:
        try:
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            return identify(int(children[0])) if children else not parent.alive()
        except (FileNotFoundError, ProcessLookupError):
            return True

    found = wait_for(f"process {parent.pid} to start its program", look, timeout_s)
    return found if isinstance(found, Process) else None


def spawn(
    argv: Sequence[str | Path],
    log: Path,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a program in a session of its own, output appended to `log`, and leave it running."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    _children[child.pid] = child
    return identify(child.pid)


def _stat(pid: int) -> tuple[int, bool] | None:
    """Start time and whether it runs, from the part of the stat line behind the program's name."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]), fields[0] not in "ZX"
