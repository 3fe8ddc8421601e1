"""The ways to other nodes' pods, put into the kernel: routes, and the VXLAN device with its fixed tables.

`routes` decides; this compares with what the kernel has and changes the difference, so a node that comes or goes costs
three messages. All functions block; call them from a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TypeVar

from nodeagent.network import rtnl
from nodeagent.network.netlink import Netlink, Request
from nodeagent.network.port import NetworkConfig, NetworkError
from nodeagent.network.routes import VXLAN_OVERHEAD, Paths, Tunnel, mac_of, tunnel_ip

_Item = TypeVar("_Item")

TUNNEL_DEVICE = "mz-vxlan"
LOOPBACK = 1
"""The index of `lo`, the first device of every namespace."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The device that carries the traffic between nodes, with the node's address and the prefix of its L2."""

    index: int
    mtu: int
    address: IPv4Interface


def uplink(node_ip: str) -> Uplink:
    """The device that holds the node's address."""
    with Netlink() as netlink:
        for address in rtnl.addresses(netlink):
            if address.ip == node_ip:
                link = rtnl.link_at(netlink, address.index)
                return Uplink(link.index, link.mtu, IPv4Interface(f"{node_ip}/{address.prefix}"))
    raise NetworkError(f"no network device has the node's address {node_ip}; check the address the agent was given")


def claim_virtual_addresses(config: NetworkConfig) -> None:
    """Let the node's own processes reach services, and let the node answer on the DNS address.

    The routes lead nowhere: they only give a connection a source address, before its destination is rewritten.
    """
    wanted = [rtnl.Route(cidr, LOOPBACK, source=config.node_ip, scope=rtnl.SCOPE_LINK) for cidr in config.service_cidrs]
    with Netlink() as netlink:
        present = (route for route in rtnl.own_routes(netlink) if route.device == LOOPBACK)
        netlink.do(*(rtnl.delete_route(route) for route in present if route.destination not in config.service_cidrs))
        # The scope keeps the address from being chosen as the source of anything else.
        dns = rtnl.add_address(LOOPBACK, config.cluster_dns, scope=rtnl.SCOPE_HOST)
        netlink.do(dns, *map(rtnl.set_route, wanted))


def sync_paths(config: NetworkConfig, device: Uplink, paths: Paths) -> None:
    """Make exactly these the ways to other nodes. One that the kernel refuses is raised after the rest is done."""
    with Netlink() as netlink:
        wanted = [rtnl.Route(path.pod_cidr, device.index, path.node_ip) for path in paths.direct]
        changes: list[Request] = []
        if paths.tunnels:
            tunnel = _tunnel_device(netlink, config, device)
            changes += _tunnel_changes(netlink, tunnel, paths.tunnels)
            wanted += (rtnl.Route(path.pod_cidr, tunnel, path.tunnel_ip, onlink=True) for path in paths.tunnels)
        else:
            changes.append(rtnl.delete_link(TUNNEL_DEVICE))
        # Routes to own pods and to the services have no gateway; they are not this function's.
        present = [route for route in rtnl.own_routes(netlink) if route.gateway]
        changes += _difference(wanted, present, rtnl.set_route, rtnl.delete_route)
        netlink.do(*changes)


def remove_all(config: NetworkConfig) -> None:
    """Take away every route of ours, the VXLAN device and the DNS address."""
    with Netlink() as netlink:
        routes = [rtnl.delete_route(route) for route in rtnl.own_routes(netlink)]
        dns = rtnl.delete_address(LOOPBACK, config.cluster_dns)
        netlink.do(*routes, rtnl.delete_link(TUNNEL_DEVICE), dns)


def _tunnel_device(netlink: Netlink, config: NetworkConfig, device: Uplink) -> int:
    settings = rtnl.VxlanSettings(config.vxlan_vni, config.vxlan_port, config.node_ip, device.index)
    address = tunnel_ip(config.pod_cidr)
    mac, mtu = mac_of(address), device.mtu - VXLAN_OVERHEAD
    link = rtnl.find_link(netlink, TUNNEL_DEVICE)
    if link is None or (link.vxlan, link.mac, link.mtu) != (settings, mac, mtu):
        netlink.do(rtnl.delete_link(TUNNEL_DEVICE), rtnl.add_vxlan(TUNNEL_DEVICE, mac, mtu, settings))
        link = rtnl.find_link(netlink, TUNNEL_DEVICE)
    if link is None:
        raise NetworkError(f"the VXLAN device {TUNNEL_DEVICE} vanished while it was configured")
    netlink.do(rtnl.add_address(link.index, address), rtnl.set_up(TUNNEL_DEVICE))
    return link.index


def _tunnel_changes(netlink: Netlink, device: int, tunnels: Sequence[Tunnel]) -> list[Request]:
    hops = [rtnl.Neighbour(device, tunnel.tunnel_ip, tunnel.mac) for tunnel in tunnels]
    ends = [rtnl.Neighbour(device, tunnel.node_ip, tunnel.mac) for tunnel in tunnels]
    known_hops, known_ends = rtnl.permanent_neighbours(netlink, device), rtnl.tunnel_ends(netlink, device)
    changes = _difference(hops, known_hops, rtnl.set_neighbour, rtnl.delete_neighbour)
    return changes + _difference(ends, known_ends, rtnl.set_tunnel_end, rtnl.delete_tunnel_end)


def _difference(
    wanted: Sequence[_Item],
    present: Sequence[_Item],
    put: Callable[[_Item], Request],
    remove: Callable[[_Item], Request],
) -> list[Request]:
    # Removing comes first: two entries may share what the kernel takes for their key.
    kept, known = frozenset(wanted), frozenset(present)
    gone = [remove(item) for item in present if item not in kept]
    return gone + [put(item) for item in wanted if item not in known]
