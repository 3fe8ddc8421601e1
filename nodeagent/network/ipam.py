"""Which address of the node's pod CIDR a new pod gets. Pure: the addresses in use are an argument.

An address is not handed out again soon after its pod is gone: the next free one *after the last given* is chosen, so
that a connection or a DNS answer which still names the old pod fails instead of reaching a stranger.
"""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network


class AddressesExhausted(Exception):
    """Every address of the pod CIDR is in use; the node needs a larger one or fewer pods."""


def next_address(pod_cidr: str, last: str, in_use: Container[str]) -> str:
    """The lowest free address after `last` (empty at the first call), starting over at the end of the CIDR.

    The first address names the node's end of the VXLAN and the last is the broadcast address; no pod gets them.
    """
    network = IPv4Network(pod_cidr)
    first, count = int(network.network_address) + 1, network.num_addresses - 2
    start = int(IPv4Address(last)) + 1 - first if last and IPv4Address(last) in network else 0
    for step in range(max(count, 0)):
        address = str(IPv4Address(first + (start + step) % count))
        if address not in in_use:
            return address
    raise AddressesExhausted(f"all {max(count, 0)} addresses of the pod CIDR {pod_cidr} are in use")
