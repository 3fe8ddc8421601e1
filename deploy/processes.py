"""Daemons that outlive the command that started them, known by pid *and* start time.

A pid alone may belong to somebody else tomorrow; pid and start time together never do, so nothing here can end a
process that it did not start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy.shell import wait_for


class Process(msgspec.Struct, frozen=True):
    """One process of this box: its pid and its start time in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        with suppress(ChildProcessError):  # not ours; a child of ours stays visible as a zombie until we ask
            os.waitpid(self.pid, os.WNOHANG)
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
    argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, third: int | None = None
) -> Process:
    """Start a program in a session of its own, output appended to `log`, and leave it running.

    `env` adds to the environment; `third` is an open file that the program gets as its descriptor 3.
    """
    words = [str(word) for word in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    # Not subprocess.Popen: that warns when a program outlives its handle, and here every program does.
    with log.open("ab") as out:
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, out.fileno(), 2),
            *([] if third is None else [(os.POSIX_SPAWN_DUP2, third, 3)]),
        ]
        pid = os.posix_spawnp(
            words[0],
            words,
            {**os.environ, **(env or {})},
            file_actions=files,
            setsid=True,
            # Python ignores the first two, and a shell lets what it runs in the background ignore the third.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT],
        )
    return identify(pid)


def _stat(pid: int) -> tuple[int, bool] | None:
    """Start time and whether it runs, from the part of the stat line behind the program's name."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]), fields[0] not in "ZX"
