"""How the pods of each other node are reached: by a plain route or through VXLAN. Pure.

On one L2 a route by way of the other node's address is enough (*host-gw*): no encapsulation, full MTU. Behind a router
the underlay does not know pod addresses, so packets travel inside UDP to the other node (*VXLAN*). Nothing is exchanged
to set the tunnel up: the tunnel address of a node is the first of its pod CIDR and its MAC is made of that address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from nodeagent.network.port import NodeRoute, Overlay

VXLAN_OVERHEAD = 50
"""Bytes that the outer Ethernet, IP, UDP and VXLAN headers take from every packet."""


@dataclass(frozen=True, slots=True)
class HostGateway:
    """A peer on the same L2: `pod_cidr via node_ip`."""

    pod_cidr: str
    node_ip: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A peer behind a router: `pod_cidr via tunnel_ip` on the VXLAN device, whose MAC is found at `node_ip`."""

    pod_cidr: str
    node_ip: str
    tunnel_ip: str
    mac: str


@dataclass(frozen=True, slots=True)
class Paths:
    """The way to every other node, each list sorted by pod CIDR."""

    direct: tuple[HostGateway, ...]
    tunnels: tuple[Tunnel, ...]


def paths(own: IPv4Interface, own_cidr: str, nodes: Sequence[NodeRoute], overlay: Overlay) -> Paths:
    """Decide for every node but the own one; `own` is the node's address with the prefix of its L2."""
    direct: list[HostGateway] = []
    tunnels: list[Tunnel] = []
    for node in sorted(nodes, key=lambda node: IPv4Network(node.pod_cidr)):
        if node.pod_cidr == own_cidr or node.node_ip == str(own.ip):
            continue
        near = IPv4Address(node.node_ip) in own.network
        if overlay == "never" or (overlay == "auto" and near):
            direct.append(HostGateway(node.pod_cidr, node.node_ip))
        else:
            address = tunnel_ip(node.pod_cidr)
            tunnels.append(Tunnel(node.pod_cidr, node.node_ip, address, mac_of(address)))
    return Paths(tuple(direct), tuple(tunnels))


def tunnel_ip(pod_cidr: str) -> str:
    """The address of a node's end of the VXLAN."""
    return str(IPv4Network(pod_cidr).network_address)


def mac_of(ip: str) -> str:
    """The MAC of whoever has this pod-network address: locally administered, and the address itself in its bytes."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in IPv4Address(ip).packed)


def pod_mtu(device_mtu: int, tunnelled: bool, wished: int) -> int:
    """The MTU of a pod's interface: the wished one, or what fits the device, less the tunnel's own bytes."""
    if wished:
        return wished
    return device_mtu - VXLAN_OVERHEAD if tunnelled else device_mtu
