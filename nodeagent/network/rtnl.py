"""The messages of the kernel's route netlink that the node's network needs, as requests and as values.

Only what is used is here. Packing follows <linux/rtnetlink.h>; every number below has its name there. Routes of ours
carry their own protocol number, by which they are told from everybody else's (`ip route show proto 77`).
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Network

from nodeagent.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Netlink,
    Refused,
    Reply,
    Request,
    attribute,
    attributes,
    int_attribute,
    text_attribute,
)

ROUTE_PROTOCOL = 77

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_NEWNEIGH, _RTM_DELNEIGH, _RTM_GETNEIGH = 28, 29, 30
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK = 1, 3, 4, 5
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = 18, 20, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_VXLAN_ID, _VXLAN_LINK, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT = 1, 3, 4, 7, 15
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL = 1, 2, 3
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NDA_DST, _NDA_LLADDR = 1, 2
_IFF_UP, _RTNH_F_ONLINK = 1, 4
_RT_TABLE_MAIN, _RTN_UNICAST = 254, 1
_NUD_PERMANENT, _NTF_SELF, _AF_BRIDGE = 0x80, 2, 7
_NLM_NEW = NLM_F_CREATE | NLM_F_EXCL
_NLM_SET = NLM_F_CREATE | NLM_F_REPLACE

SCOPE_GLOBAL, SCOPE_LINK, SCOPE_HOST = 0, 253, 254

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")


@dataclass(frozen=True, slots=True)
class Link:
    """A network device."""

    index: int
    name: str
    mtu: int
    mac: str
    alias: str
    peer: int
    """The index of a veth's other end, in the namespace it is in."""
    kind: str
    vxlan: VxlanSettings | None


@dataclass(frozen=True, slots=True)
class VxlanSettings:
    """What makes one VXLAN device different from another."""

    vni: int
    port: int
    local: str
    device: int
    """Index of the device that carries the tunnel."""


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address of a device."""

    index: int
    ip: str
    prefix: int
    label: str = ""
    """What was noted with it: by default the name of the device."""


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route of the main table that leads out of a device, directly or by a gateway."""

    destination: str
    device: int
    gateway: str = ""
    source: str = ""
    onlink: bool = False
    scope: int = SCOPE_GLOBAL


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent pairing of an address with a MAC: next hop to MAC, or (in the tunnel's table) MAC to remote node."""

    index: int
    ip: str
    mac: str


def add_veth(name: str, mac: str, mtu: int, netns: int, peer_mac: str) -> Request:
    """A veth pair: one end here, the other as `eth0` in the namespace of that open file descriptor."""
    peer = _link(0) + text_attribute(_IFLA_IFNAME, "eth0") + attribute(_IFLA_ADDRESS, _mac(peer_mac))
    peer += int_attribute(_IFLA_MTU, mtu) + int_attribute(_IFLA_NET_NS_FD, netns)
    info = text_attribute(_IFLA_INFO_KIND, "veth") + attribute(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, peer))
    body = _link(0) + text_attribute(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, _mac(mac))
    body += int_attribute(_IFLA_MTU, mtu) + attribute(_IFLA_LINKINFO, info)
    return Request(f"add the veth pair {name}", _RTM_NEWLINK, _NLM_NEW, body)


def add_vxlan(name: str, mac: str, mtu: int, settings: VxlanSettings) -> Request:
    """A VXLAN device that learns nothing by itself."""
    data = int_attribute(_VXLAN_ID, settings.vni) + int_attribute(_VXLAN_LINK, settings.device)
    data += attribute(_VXLAN_LOCAL, socket.inet_aton(settings.local)) + attribute(_VXLAN_LEARNING, b"\0")
    data += attribute(_VXLAN_PORT, struct.pack("!H", settings.port))
    info = text_attribute(_IFLA_INFO_KIND, "vxlan") + attribute(_IFLA_INFO_DATA, data)
    body = _link(0) + text_attribute(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, _mac(mac))
    body += int_attribute(_IFLA_MTU, mtu) + attribute(_IFLA_LINKINFO, info)
    return Request(f"add the VXLAN device {name}", _RTM_NEWLINK, _NLM_NEW, body)


def set_up(name: str, alias: str = "") -> Request:
    """Switch a device on, and note an alias on it."""
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, _IFF_UP, _IFF_UP) + text_attribute(_IFLA_IFNAME, name)
    if alias:
        body += attribute(_IFLA_IFALIAS, alias.encode())
    return Request(f"set the device {name} up", _RTM_NEWLINK, 0, body)


def delete_link(name: str) -> Request:
    """Remove a device, if it is there; a veth takes its other end and its routes along."""
    body = _link(0) + text_attribute(_IFLA_IFNAME, name)
    return Request(f"delete the device {name}", _RTM_DELLINK, 0, body, tolerated=(errno.ENODEV,))


def add_address(index: int, ip: str, prefix: int = 32, scope: int = SCOPE_GLOBAL, label: str = "") -> Request:
    """Give a device an address; nothing happens when it has it. A label begins with the device's name and a colon."""
    packed = socket.inet_aton(ip)
    body = _IFADDR.pack(socket.AF_INET, prefix, 0, scope, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if label:
        body += text_attribute(_IFA_LABEL, label)
    return Request(f"add the address {ip}", _RTM_NEWADDR, _NLM_NEW, body, tolerated=(errno.EEXIST,))


def delete_address(index: int, ip: str, prefix: int = 32) -> Request:
    """Take an address from a device, if it has it."""
    packed = socket.inet_aton(ip)
    body = _IFADDR.pack(socket.AF_INET, prefix, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    gone = (errno.EADDRNOTAVAIL, errno.ENODEV)
    return Request(f"delete the address {ip}", _RTM_DELADDR, 0, body, tolerated=gone)


def set_route(route: Route) -> Request:
    """Add the route, or put it in the place of the one that leads there now."""
    return Request(f"set the route to {route.destination}", _RTM_NEWROUTE, _NLM_SET, _route(route))


def delete_route(route: Route) -> Request:
    """Remove a route of ours, if it is there."""
    gone = (errno.ESRCH, errno.ENODEV)
    return Request(f"delete the route to {route.destination}", _RTM_DELROUTE, 0, _route(route), tolerated=gone)


def set_neighbour(neighbour: Neighbour) -> Request:
    """Fix the MAC of a next hop for good, so that nobody has to ask for it."""
    return Request(f"set the neighbour {neighbour.ip}", _RTM_NEWNEIGH, _NLM_SET, _neighbour(neighbour))


def delete_neighbour(neighbour: Neighbour) -> Request:
    """Forget the MAC of a next hop."""
    body = _neighbour(neighbour)
    return Request(f"delete the neighbour {neighbour.ip}", _RTM_DELNEIGH, 0, body, tolerated=(errno.ENOENT,))


def set_tunnel_end(neighbour: Neighbour) -> Request:
    """Tell a VXLAN device at which node a MAC is found."""
    what = f"set the tunnel to {neighbour.ip}"
    return Request(what, _RTM_NEWNEIGH, _NLM_SET, _neighbour(neighbour, tunnel=True))


def delete_tunnel_end(neighbour: Neighbour) -> Request:
    """Make a VXLAN device forget a MAC."""
    what = f"delete the tunnel to {neighbour.ip}"
    return Request(what, _RTM_DELNEIGH, 0, _neighbour(neighbour, tunnel=True), tolerated=(errno.ENOENT,))


def find_link(netlink: Netlink, name: str) -> Link | None:
    """The device of this name, or None."""
    body = _link(0) + text_attribute(_IFLA_IFNAME, name)
    try:
        return _as_link(netlink.get(Request(f"look for the device {name}", _RTM_GETLINK, 0, body)))
    except Refused as refused:
        if refused.errno == errno.ENODEV:
            return None
        raise


def link_at(netlink: Netlink, index: int) -> Link:
    """The device with this index."""
    return _as_link(netlink.get(Request(f"look for the device {index}", _RTM_GETLINK, 0, _link(index))))


def links(netlink: Netlink) -> list[Link]:
    """All devices."""
    return [_as_link(reply) for reply in netlink.dump(Request("list devices", _RTM_GETLINK, 0, _link(0)))]


def addresses(netlink: Netlink) -> list[Address]:
    """All IPv4 addresses."""
    body = _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)
    found: list[Address] = []
    for reply in netlink.dump(Request("list addresses", _RTM_GETADDR, 0, body)):
        _, prefix, _, _, index = _IFADDR.unpack_from(reply.body)
        known = attributes(reply.body[_IFADDR.size :])
        local = known.get(_IFA_LOCAL)
        if local is not None:
            found.append(Address(index, socket.inet_ntoa(local), prefix, _text(known.get(_IFA_LABEL, b""))))
    return found


def own_routes(netlink: Netlink) -> list[Route]:
    """The routes of ours, known by their protocol number."""
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    found: list[Route] = []
    for reply in netlink.dump(Request("list routes", _RTM_GETROUTE, 0, body)):
        _, length, _, _, _, protocol, scope, _, flags = _RTMSG.unpack_from(reply.body)
        if protocol != ROUTE_PROTOCOL:
            continue
        known = attributes(reply.body[_RTMSG.size :])
        destination = f"{_ip(known.get(_RTA_DST, bytes(4)))}/{length}"
        device = struct.unpack("=I", known.get(_RTA_OIF, bytes(4)))[0]
        gateway, source = _ip(known.get(_RTA_GATEWAY)), _ip(known.get(_RTA_PREFSRC))
        found.append(Route(destination, device, gateway, source, bool(flags & _RTNH_F_ONLINK), scope))
    return found


def permanent_neighbours(netlink: Netlink, index: int) -> list[Neighbour]:
    """The fixed next hops of one device."""
    return _neighbours(netlink, index, socket.AF_INET)


def tunnel_ends(netlink: Netlink, index: int) -> list[Neighbour]:
    """Which MAC a VXLAN device looks for at which node."""
    return _neighbours(netlink, index, _AF_BRIDGE)


def _neighbours(netlink: Netlink, index: int, family: int) -> list[Neighbour]:
    # The bridge family is asked with a device's header, as its first users did.
    body = _IFINFO.pack(family, 0, index, 0, 0) if family == _AF_BRIDGE else _NDMSG.pack(family, 0, 0, 0, 0)
    found: list[Neighbour] = []
    for reply in netlink.dump(Request("list neighbours", _RTM_GETNEIGH, 0, body)):
        _, device, state, _, _ = _NDMSG.unpack_from(reply.body)
        known = attributes(reply.body[_NDMSG.size :])
        if device == index and state & _NUD_PERMANENT and _NDA_DST in known and _NDA_LLADDR in known:
            found.append(Neighbour(device, _ip(known[_NDA_DST]), known[_NDA_LLADDR].hex(":")))
    return found


def _as_link(reply: Reply) -> Link:
    _, _, index, _, _ = _IFINFO.unpack_from(reply.body)
    known = attributes(reply.body[_IFINFO.size :])
    info = attributes(known.get(_IFLA_LINKINFO, b""))
    kind = _text(info.get(_IFLA_INFO_KIND))
    return Link(
        index=index,
        name=_text(known.get(_IFLA_IFNAME)),
        mtu=struct.unpack("=I", known.get(_IFLA_MTU, bytes(4)))[0],
        mac=known.get(_IFLA_ADDRESS, b"").hex(":"),
        alias=_text(known.get(_IFLA_IFALIAS)),
        peer=struct.unpack("=I", known.get(_IFLA_LINK, bytes(4)))[0],
        kind=kind,
        vxlan=_as_vxlan(attributes(info.get(_IFLA_INFO_DATA, b""))) if kind == "vxlan" else None,
    )


def _as_vxlan(data: dict[int, bytes]) -> VxlanSettings:
    return VxlanSettings(
        vni=struct.unpack("=I", data.get(_VXLAN_ID, bytes(4)))[0],
        port=struct.unpack("!H", data.get(_VXLAN_PORT, bytes(2)))[0],
        local=_ip(data.get(_VXLAN_LOCAL)),
        device=struct.unpack("=I", data.get(_VXLAN_LINK, bytes(4)))[0],
    )


def _link(index: int) -> bytes:
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0)


def _route(route: Route) -> bytes:
    network = IPv4Network(route.destination)
    flags = _RTNH_F_ONLINK if route.onlink else 0
    kind = _RTN_UNICAST
    body = _RTMSG.pack(
        socket.AF_INET, network.prefixlen, 0, 0, _RT_TABLE_MAIN, ROUTE_PROTOCOL, route.scope, kind, flags
    )
    if network.prefixlen:
        body += attribute(_RTA_DST, network.network_address.packed)
    if route.gateway:
        body += attribute(_RTA_GATEWAY, socket.inet_aton(route.gateway))
    if route.source:
        body += attribute(_RTA_PREFSRC, socket.inet_aton(route.source))
    return body + int_attribute(_RTA_OIF, route.device)


def _neighbour(neighbour: Neighbour, *, tunnel: bool = False) -> bytes:
    family, flags = (_AF_BRIDGE, _NTF_SELF) if tunnel else (socket.AF_INET, 0)
    body = _NDMSG.pack(family, neighbour.index, _NUD_PERMANENT, flags, 0)
    return body + attribute(_NDA_DST, socket.inet_aton(neighbour.ip)) + attribute(_NDA_LLADDR, _mac(neighbour.mac))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(packed: bytes | None) -> str:
    return socket.inet_ntoa(packed) if packed else ""


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
