"""Requests by plain sockets out of a machine's network: once, until everybody has answered, or all the time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from pyroute2 import netns

from deploy.lab import Machine
from deploy.shell import wait_for

T = TypeVar("T")

ANSWER_S = 2.0
PAUSE_S = 0.01


def on(machine: Machine, action: Callable[[], T]) -> T:
    """Run something with the network of a machine: a thread of its own enters the machine's namespace."""

    def run() -> T:
        netns.setns(machine.netns)
        return action()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def page(address: str, port: int) -> str:
    """The demo's page over a new connection. Raises OSError."""
    with socket.create_connection((address, port), ANSWER_S) as connection:
        connection.settimeout(ANSWER_S)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise OSError(f"answered {answer!r}")
    return body.decode().strip()


def pod_of(text: str) -> str:
    """The pod that made a page."""
    return text.rpartition(" on ")[2]


def answering(machine: Machine, address: str, port: int, count: int, timeout_s: float = 20) -> set[str]:
    """The names of the pods behind an address, asked from a machine until so many different ones have answered."""

    def ask() -> set[str]:
        names: set[str] = set()
        deadline = time.monotonic() + timeout_s
        while len(names) < count:
            assert time.monotonic() < deadline, f"{machine.name} sees {len(names)} of {count} behind {address}:{port}"
            with suppress(OSError):  # too early, or a pod that leaves; the deadline ends this
                names.add(pod_of(page(address, port)))
        return names

    return on(machine, ask)


class Requests:
    """One request after the other from a machine to an address, until the block that it guards is left."""

    def __init__(self, machine: Machine, address: str, port: int) -> None:
        self.answered = 0
        self.failures: list[tuple[float, str]] = []
        """When (seconds since the start) which request failed how."""
        self.pods: set[str] = set()
        """Who has answered since the last `forget`."""
        self.slowest_s = 0.0
        self._target = (address, port)
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=on, args=(machine, self._run), name="requests")

    def __enter__(self) -> Requests:
        self._thread.start()
        wait_for("the first answer", lambda: self.answered, 20)
        self.failures.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """How long this has been going on."""
        return time.monotonic() - self._began

    def go_on(self, count: int, timeout_s: float = 30) -> None:
        """Returns after so many more answers."""
        enough = self.answered + count
        wait_for(f"{count} more answers", lambda: self.answered >= enough, timeout_s)

    def __str__(self) -> str:
        return f"{self.answered} answered, {len(self.failures)} failed, slowest {self.slowest_s * 1000:.0f} ms"

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            began = time.monotonic()
            try:
                self.pods.add(pod_of(page(*self._target)))
                self.answered += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            except OSError as error:
                self.failures.append((round(began - self._began, 2), repr(error)))
