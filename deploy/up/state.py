"""What `up` started and changed, on disk under `.run/`, so that `down` takes away that and nothing else.

The file is written after every single thing that was started, with interrupts held back in between.
"""

from __future__ import annotations

import fcntl
import hashlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from deploy.processes import Process


class UpError(RuntimeError):
    """The cluster cannot be started or taken down; the message says what to do."""


class UpState(msgspec.Struct):
    """The record: processes by name, and what has to be put back."""

    processes: dict[str, Process] = {}
    docker_socket: str = ""
    docker_unit_started: bool = False
    made_by_engine: list[str] = []
    ip_forward_before: str = ""


class Run:
    """The folder `.run` and the record in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._path = self.folder / "up.json"
        self.state = msgspec.json.decode(self._path.read_bytes(), type=UpState) if self._path.exists() else UpState()

    @property
    def kubeconfig(self) -> Path:
        """The admin kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def sockets(self) -> Path:
        """Where Docker's sockets go: their paths must be short, and `.run` may lie deep."""
        return Path("/run") / f"mizzen-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    def data(self, name: str) -> Path:
        """The data folder of one daemon."""
        return self.folder / name

    def log(self, name: str) -> Path:
        """The log of one daemon."""
        return self.folder / "logs" / f"{name}.log"

    def alive(self, name: str) -> bool:
        """Whether a daemon that we started runs."""
        process = self.state.processes.get(name)
        return process is not None and process.alive()

    def save(self) -> None:
        """Write the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self.state)))
        fresh.replace(self._path)

    def forget(self) -> None:
        """Drop the record: nothing is left to take away."""
        self._path.unlink(missing_ok=True)
        self.state = UpState()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the folder against another `up` or `down`; raises UpError when one is at work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UpError(f"another `up` or `down` is at work in {self.folder}; wait for it to end") from error
            yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold ctrl-C back until what was started is on record, then let it act."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt
