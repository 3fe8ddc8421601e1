"""Servers that a benchmark starts beside itself, on ports of the loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.shell import tail, wait_for

START_S = 30


@contextmanager
def running(argv: Sequence[object], log: Path, ready: Path) -> Iterator[int]:
    """A Python module that serves as soon as the file `ready` exists; gives its pid, and ends it afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", *map(str, argv)], stdout=out, stderr=out)
    try:
        wait_for(str(argv[0]), lambda: ready.exists() or process.poll() is not None, START_S)
        if process.poll() is not None:
            raise RuntimeError(f"{argv[0]} ended:\n{tail(log)}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
