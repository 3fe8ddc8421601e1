"""Picking what there is only one of in the cluster: a service's address, a port on every node.

A claim is written as `services/clusterips/10.96.3.7` or `services/nodeports/30080`. Candidates are tried from a place
that depends on the seed (the object's uid), so that writers who pick at the same time rarely meet.

The lower part of each range is left to those who ask for a certain value; it is picked from only when the rest is full.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

_IPS = "services/clusterips/"
_PORTS = "services/nodeports/"


def ip_claim(address: str) -> str:
    """The claim on a cluster IP."""
    return _IPS + address


def port_claim(port: int) -> str:
    """The claim on a node port."""
    return f"{_PORTS}{port}"


@lru_cache(maxsize=8)
def network(cidr: str) -> IPv4Network:
    """The range of cluster IPs. Raises ValueError for what is no IPv4 range."""
    return IPv4Network(cidr)


def contains(cidr: str, address: str) -> bool:
    """Whether an address, as text, is one that a service can have."""
    try:
        place = int(IPv4Address(address)) - int(network(cidr).network_address)
    except ValueError:
        return False
    return 0 < place < network(cidr).num_addresses - 1


def pick_ip(cidr: str, seed: str, taken: frozenset[str]) -> str | None:
    """A cluster IP that nobody claims; None when all are."""
    whole = network(cidr)
    first, count = int(whole.network_address) + 1, whole.num_addresses - 2
    reserved = min(max(16, count // 16), 256)
    for place in _places(count, min(reserved, count), seed):
        address = str(IPv4Address(first + place))
        if ip_claim(address) not in taken:
            return address
    return None


def pick_port(first: int, last: int, seed: str, taken: frozenset[str]) -> int | None:
    """A node port that nobody claims; None when all are."""
    count = last - first + 1
    reserved = min(max(16, count // 32), 128)
    for place in _places(count, min(reserved, count), seed):
        if port_claim(first + place) not in taken:
            return first + place
    return None


def _places(count: int, reserved: int, seed: str) -> Iterator[int]:
    """All places below `count`, each once: those above `reserved` from a seeded start, then the reserved ones."""
    dynamic = count - reserved
    if dynamic > 0:
        start = zlib.crc32(seed.encode()) % dynamic
        for step in range(dynamic):
            yield reserved + (start + step) % dynamic
    yield from range(reserved)
