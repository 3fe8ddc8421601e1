"""Bytes, round trips and connections between two network namespaces, for `bench_network`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from tests.integration.network.netlab import inside, ip

T = TypeVar("T")

PIECE = 1 << 20
PORT = 9000
WAIT_S = 5.0


@dataclass(frozen=True)
class End:
    """A namespace with an address."""

    netns: str
    ip: str


@contextmanager
def bare_veth(name: str) -> Iterator[tuple[End, End]]:
    """Two namespaces that one pair of interfaces joins: what the kernel can do without anybody between."""
    ends = End(f"{name}-a", "192.0.2.1"), End(f"{name}-b", "192.0.2.2")
    for end in ends:
        ip(f"netns add {end.netns}")
    try:
        ip(f"link add eth0 netns {ends[0].netns} type veth peer name eth0 netns {ends[1].netns}")
        for end in ends:
            ip(f"-n {end.netns} addr add {end.ip}/24 dev eth0")
            ip(f"-n {end.netns} link set eth0 up")
        yield ends
    finally:
        for end in ends:
            ip(f"netns del {end.netns}")


def gigabits(server: End, client: End, seconds: float) -> float:
    """Gigabits per second of one TCP stream."""
    got = 0

    def swallow(connection: socket.socket) -> None:
        nonlocal got
        room = bytearray(PIECE)
        while count := connection.recv_into(room):
            got += count

    def send(connection: socket.socket) -> float:
        data, began = bytes(PIECE), time.perf_counter()
        while time.perf_counter() - began < seconds:
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        return time.perf_counter() - began

    took = _talk(server, client, swallow, send)
    return got * 8 / took / 1e9


def round_trips_us(server: End, client: End, count: int) -> list[float]:
    """Microseconds of so many round trips of one byte."""

    def echo(connection: socket.socket) -> None:
        while data := connection.recv(1):
            connection.send(data)

    def ask(connection: socket.socket) -> list[float]:
        took = []
        for _ in range(count):
            began = time.perf_counter()
            connection.send(b"?")
            connection.recv(1)
            took.append((time.perf_counter() - began) * 1e6)
        return took

    return _talk(server, client, echo, ask)


def connections(client: End, address: str, port: int, seconds: float) -> float:
    """Connections per second, each closed by the other side after a short text."""

    def connect() -> float:
        made, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            with socket.create_connection((address, port), WAIT_S) as connection:
                while connection.recv(100):
                    pass
            made += 1
        return made / (time.perf_counter() - began)

    return inside(client.netns, connect)


def _talk(server: End, client: End, serves: Callable[[socket.socket], None], asks: Callable[[socket.socket], T]) -> T:
    listener = inside(server.netns, lambda: socket.create_server((server.ip, PORT)))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serves(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        opened = inside(client.netns, lambda: socket.create_connection((server.ip, PORT), WAIT_S))
        with opened:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return asks(opened)
    finally:
        listener.close()
        thread.join(WAIT_S)
