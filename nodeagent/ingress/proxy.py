"""A running HAProxy: a master that outlives the agent, as containers do, and is told to read its files again.

The master keeps the listeners open while its workers change, so no connection is refused or cut by a new
configuration. One that HAProxy does not accept is never given to it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nodeagent.ingress.haproxy import CONFIG, LIST

PROGRAM = "haproxy"
PATIENCE_S = 20.0
"""How long HAProxy may take to read its files."""
STOP_TRIES, STOP_PAUSE_S = 8, 0.4
_PID_FILE = "haproxy.pid"


class ProxyFailure(Exception):
    """HAProxy is missing, or does not take what it is given; the message says which."""


def unprivileged() -> str:
    """The user that Debian's package makes for HAProxy; empty where there is none."""
    try:
        return pwd.getpwnam(PROGRAM).pw_name
    except KeyError:
        return ""


class Proxy:
    """The HAProxy of one folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is this one's alone; whatever runs with its files is taken over."""
        self._folder = folder
        self._applied: Mapping[str, bytes] | None = None

    async def apply(self, files: Mapping[str, bytes]) -> None:
        """Run with exactly these files. Raises ProxyFailure, with the old ones still at work, or OSError."""
        alive = self._master() is not None
        if alive and files == self._applied:
            return
        if alive and self._applied is None and self._on_disk(files):
            self._applied = files
            return
        if shutil.which(PROGRAM) is None:
            raise ProxyFailure(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
        await asyncio.to_thread(self._write, files)
        await asyncio.to_thread(self._check)
        if not self._reload():
            await asyncio.to_thread(self._start)
        self._applied = files

    async def stop(self) -> None:
        """Take no more connections; those that there are go on, for a while without anybody waiting for them."""
        self._applied = None
        for _ in range(STOP_TRIES):
            if (pid := self._master()) is None:
                break
            # Again, because a master that is just reading its files again does not hear it.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
            await asyncio.sleep(STOP_PAUSE_S)
        (self._folder / _PID_FILE).unlink(missing_ok=True)

    def _master(self) -> int | None:
        """The process that runs with our files, ours or an earlier agent's."""
        with suppress(OSError, ValueError):
            pid = int((self._folder / _PID_FILE).read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(self._folder / CONFIG).encode() in words:
                return pid
        return None

    def _on_disk(self, files: Mapping[str, bytes]) -> bool:
        try:
            return all((self._folder / name).read_bytes() == content for name, content in files.items())
        except OSError:
            return False

    def _write(self, files: Mapping[str, bytes]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            path = self._folder / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            scratch = path.with_suffix(".new")
            scratch.touch(mode=0o600)
            scratch.write_bytes(content)
            scratch.replace(path)
        # The list names what is used of the certificates; others are of Secrets that are not named any more.
        for path in self._folder.glob("certificates/*.pem"):
            if f"certificates/{path.name}" not in files:
                path.unlink()
        if LIST not in files:
            (self._folder / LIST).unlink(missing_ok=True)

    def _check(self) -> None:
        _run([PROGRAM, "-c", "-q", "-f", str(self._folder / CONFIG)], "refuses its files")

    def _reload(self) -> bool:
        pid = self._master()
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGUSR2)
        except ProcessLookupError:
            return False
        return True

    def _start(self) -> None:
        """The master leaves this process, and goes on when it ends."""
        pid_file = self._folder / _PID_FILE
        pid_file.unlink(missing_ok=True)
        _run([PROGRAM, "-W", "-D", "-f", str(self._folder / CONFIG), "-p", str(pid_file)], "does not start")


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd="/")
    except subprocess.TimeoutExpired as error:
        raise ProxyFailure(f"{PROGRAM} has not read its files after {PATIENCE_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ProxyFailure(f"{PROGRAM} {what}: {said[0] if said else done.returncode}")
