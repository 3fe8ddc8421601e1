"""Addresses of load balancers that this node answers for: held by `lo`, and announced by ARP.

The kernel answers ARP requests for every address that it holds, on whichever Ethernet they come in; so it is enough to
hold it. Those who knew another node behind an address are told by a gratuitous ARP (RFC 5227, section 3) when it comes
here. The addresses are known to be ours by their label. All functions block.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection

from nodeagent.network import rtnl
from nodeagent.network.netlink import Netlink
from nodeagent.network.peers import LOOPBACK, Uplink
from nodeagent.network.port import NetworkError

LABEL = "lo:balanced"
_ETH_P_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_BROADCAST = b"\xff" * 6


def sync(device: Uplink, wanted: Collection[str]) -> None:
    """Hold exactly these addresses; tell the Ethernet of `device` about those that are new. Raises NetworkError."""
    with Netlink() as netlink:
        new = _hold(netlink, wanted)
        mac = rtnl.link_at(netlink, device.index).mac
    for ip in new:
        _tell(device.index, mac, ip)


def remove() -> None:
    """Hold none any more."""
    with Netlink() as netlink:
        _hold(netlink, ())


def _hold(netlink: Netlink, wanted: Collection[str]) -> list[str]:
    """Make these the addresses; returns those that were not there."""
    present = {address.ip for address in rtnl.addresses(netlink) if address.label == LABEL}
    new = sorted(set(wanted) - present)
    # The scope keeps the address from being chosen as the source of anything else.
    gone = [rtnl.delete_address(LOOPBACK, ip) for ip in sorted(present.difference(wanted))]
    netlink.do(*gone, *(rtnl.add_address(LOOPBACK, ip, scope=rtnl.SCOPE_HOST, label=LABEL) for ip in new))
    return new


def _tell(index: int, mac: str, ip: str) -> None:
    """Say on an Ethernet that an address is here. In both forms: some listen to requests only, some to replies."""
    own, packed = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(ip)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as raw:
        try:
            raw.bind((socket.if_indextoname(index), _ETH_P_ARP))
            for operation in (_REQUEST, _REPLY):
                head = _BROADCAST + own + struct.pack("!HHHBBH", _ETH_P_ARP, 1, 0x0800, 6, 4, operation)
                raw.send(head + own + packed + _BROADCAST + packed)
        except OSError as error:
            raise NetworkError(f"{ip} could not be announced: {error}") from error
