"""Picking what there is only one of in the cluster: a service's address, a port on every node.

A claim on a port is written as `services/nodeports/30080`; an address is claimed by an IPAddress object of its name.
Candidates are tried from a place that depends on the seed (the object's uid), so that writers who pick at the same time
rarely meet.

The lower part of each range is left to those who ask for a certain value; it is picked from only when the rest is full.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from mizzen.api.service_ranges import network

_PORTS = "services/nodeports/"


def port_claim(port: int) -> str:
    """The claim on a node port."""
    return f"{_PORTS}{port}"


def pick_ip(cidr: str, seed: str, is_free: Callable[[str], bool]) -> str | None:
    """A cluster IP that is free; None when none is."""
    whole = network(cidr)
    count = whole.num_addresses - 2
    reserved = min(max(16, count // 16), 256)
    for place in _places(count, min(reserved, count), seed):
        address = str(whole.network_address + 1 + place)
        if is_free(address):
            return address
    return None


def pick_port(first: int, last: int, seed: str, is_free: Callable[[int], bool]) -> int | None:
    """A node port that is free; None when none is."""
    count = last - first + 1
    reserved = min(max(16, count // 32), 128)
    for place in _places(count, min(reserved, count), seed):
        if is_free(first + place):
            return first + place
    return None


def _places(count: int, reserved: int, seed: str) -> Iterator[int]:
    """All places below `count`, each once: those above `reserved` from a seeded start, then the reserved ones."""
    dynamic = count - reserved
    if dynamic > 0:
        start = zlib.crc32(seed.encode()) % dynamic
        # Not `range(dynamic)`: some networks hold more than such a range has places for.
        yield from range(reserved + start, count)
        yield from range(reserved, reserved + start)
    yield from range(reserved)
