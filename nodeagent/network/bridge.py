"""The pods' interfaces: one veth pair each, routed, without any bridge.

The host's end has a /32 route to the pod; the pod's `eth0` has its address as a /32 and one default route by way of a
link-local gateway that exists nowhere: its MAC is written into the pod's neighbour table, so nobody ever asks for it.
Nothing is shared between pods, so hairpins, filters and reverse-path checks see plain routed packets.

The kernel is the only record: the interface's name is made of the pod's uid, and its alias holds uid and address, so
`attached` can tell after a restart what is there. All functions block; call them from a worker thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from nodeagent.network import rtnl
from nodeagent.network.netlink import Netlink
from nodeagent.network.port import GATEWAY, AttachedPod, NamespaceGone, NetworkError, PodNetwork
from nodeagent.network.routes import mac_of
from nodeagent.network.sysctl import set_sysctl

_PREFIX = "mz"
_ALIAS_WORD = "mizzen-pod"
_ALIAS_BYTES = 255
_GATEWAY_MAC = mac_of(GATEWAY)


def ifname_of(pod_uid: str) -> str:
    """The host's interface of a pod: 14 characters, the same for ever."""
    return _PREFIX + hashlib.sha256(pod_uid.encode()).hexdigest()[:12]


def attach(pod_uid: str, label: str, netns: str, ip: str, mtu: int) -> PodNetwork:
    """Connect the namespace; `label` (namespace/name) is noted for people. An attachment that stands is kept as it is.

    Raises NamespaceGone when the namespace is gone, NetworkError otherwise; then nothing is left of the attempt.
    """
    name, mac = ifname_of(pod_uid), mac_of(ip)
    with _opened(netns) as namespace, Netlink() as host, Netlink(namespace) as pod:
        link = rtnl.find_link(host, name)
        if link is None or not _stands(link, pod, ip):
            host.do(rtnl.delete_link(name))
            try:
                host.do(rtnl.add_veth(name, _GATEWAY_MAC, mtu, namespace, mac))
                _configure_pod(pod, ip)
                link = _configure_host(host, name, f"{_ALIAS_WORD} {pod_uid} {ip} {label}", ip)
            except NetworkError:
                host.do(rtnl.delete_link(name))
                raise
        return PodNetwork(ip, mac, GATEWAY, name, link.mtu)


def detach(pod_uid: str) -> None:
    """Remove the pod's interface with everything that hangs on it, if it is there."""
    with Netlink() as host:
        host.do(rtnl.delete_link(ifname_of(pod_uid)))


def attached() -> dict[str, AttachedPod]:
    """The pods whose interfaces exist, by uid."""
    with Netlink() as host:
        found = rtnl.links(host)
    pods = (_as_pod(link) for link in found)
    return {pod.pod_uid: pod for pod in pods if pod is not None}


def _as_pod(link: rtnl.Link) -> AttachedPod | None:
    words = link.alias.split(" ")
    if link.kind != "veth" or words[0] != _ALIAS_WORD or len(words) < 3:
        return None
    return AttachedPod(words[1], words[2], link.name)


def _stands(link: rtnl.Link, pod: Netlink, ip: str) -> bool:
    """Whether this pair ends in this namespace and is finished: the alias is written last."""
    eth0 = rtnl.find_link(pod, "eth0")
    found = _as_pod(link)
    if eth0 is None or found is None or found.ip != ip or (link.peer, link.index) != (eth0.index, eth0.peer):
        return False
    return any(address.ip == ip for address in rtnl.addresses(pod))


def _configure_pod(pod: Netlink, ip: str) -> None:
    eth0 = rtnl.find_link(pod, "eth0")
    if eth0 is None:
        raise NetworkError(f"eth0 of the pod with the address {ip} vanished while it was configured")
    pod.do(
        rtnl.set_up("lo"),
        rtnl.set_up("eth0"),
        rtnl.add_address(eth0.index, ip),
        rtnl.set_neighbour(rtnl.Neighbour(eth0.index, GATEWAY, _GATEWAY_MAC)),
        rtnl.set_route(rtnl.Route("0.0.0.0/0", eth0.index, GATEWAY, onlink=True)),
    )


def _configure_host(host: Netlink, name: str, alias: str, ip: str) -> rtnl.Link:
    # Strict: a packet whose source is not the pod's own address is dropped. A looser setting for all devices wins.
    set_sysctl(f"net/ipv4/conf/{name}/rp_filter", "1")
    # A pod that reaches itself through a service needs no advice on shorter ways; it would use up its share of errors.
    set_sysctl(f"net/ipv4/conf/{name}/send_redirects", "0")
    link = rtnl.find_link(host, name)
    if link is None:
        raise NetworkError(f"the device {name} vanished while it was configured")
    host.do(
        rtnl.set_up(name),
        rtnl.set_neighbour(rtnl.Neighbour(link.index, ip, mac_of(ip))),
        rtnl.set_route(rtnl.Route(f"{ip}/32", link.index, scope=rtnl.SCOPE_LINK)),
        rtnl.set_up(name, alias[:_ALIAS_BYTES]),
    )
    return link


@contextmanager
def _opened(netns: str) -> Iterator[int]:
    try:
        namespace = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            raise NamespaceGone(f"the network namespace {netns} does not exist: its sandbox has ended") from error
        raise NetworkError(f"cannot open the network namespace {netns}: {error.strerror}") from error
    try:
        yield namespace
    finally:
        os.close(namespace)
