"""What the agent asks of the node's network, in values; the kernel's side of it is in `bridge`, `proxy` and `dns`.

Everything here is level-triggered: each `sync_*` receives the whole wanted state and brings the node there, so the
same call serves the first start, every change and the repair after a restart. Nothing here knows a pod's life cycle:
the caller chooses addresses (`ipam`), decides when to attach, and compares `adopt()` with its own pods to find orphans.

Vocabulary: the *cluster CIDR* holds every pod of the cluster, the *pod CIDR* those of one node, the *service CIDR*
the virtual addresses of Services. A *netns* is the path of a network namespace file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from nodeagent.network.services import ServiceTable
from nodeagent.network.zone import DnsZone

GATEWAY = "169.254.1.1"
"""Every pod's next hop: a link-local address that the host answers for by proxy ARP; no pod address is spent on it."""

Overlay = Literal["auto", "always", "never"]
"""How pods of other nodes are reached: plain routes on one L2 and VXLAN elsewhere (auto), or one of the two only."""


class NetworkError(Exception):
    """The network could not do what was asked; the message names the object and what to check. Worth a retry later."""


class NamespaceGone(NetworkError):
    """The pod's network namespace no longer exists: the sandbox died, so attaching again needs a new sandbox."""


class NetworkUnsupported(NetworkError):
    """This machine lacks something the network needs (a tool, a kernel feature, a right); a retry will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What one node's network is built from; a change means `stop(remove=False)` and `start` again."""

    node_ip: str
    """The address other nodes reach this one at; the device that holds it carries the traffic between nodes."""
    pod_cidr: str
    cluster_cidr: str
    service_cidrs: tuple[str, ...]
    """Where services have their addresses, at least one range."""
    cluster_dns: str
    """The virtual address pods have as their name server; each node answers on it itself."""
    cluster_domain: str = "cluster.local"
    overlay: Overlay = "auto"
    vxlan_vni: int = 77
    vxlan_port: int = 8472
    mtu: int = 0
    """Of pod interfaces in bytes; 0 derives it from the node's device and the need for VXLAN."""
    upstreams: tuple[str, ...] = ()
    """Name servers for names outside the cluster, as `address` or `address:port`; empty means none are asked."""
    verify_every_s: int = 60
    """How often the kernel's rules and routes are compared with what they should be, and repaired."""


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """What an attached pod got."""

    ip: str
    mac: str
    gateway: str
    ifname: str
    """The host's end of the pod's veth pair; the pod's own end is always `eth0`."""
    mtu: int


@dataclass(frozen=True, slots=True)
class AttachedPod:
    """An attachment found in the kernel by `adopt`."""

    pod_uid: str
    ip: str
    ifname: str


@dataclass(frozen=True, slots=True)
class NodeRoute:
    """Another node and the pods behind it. The own node may be among the routes and is passed over."""

    name: str
    node_ip: str
    pod_cidr: str


def netns_of(pid: int) -> str:
    """The network namespace of a process; the pid is the one seen from the agent's own pid namespace."""
    return f"/proc/{pid}/ns/net"


class Network(Protocol):
    """The node's network. Calls for different pods may run at once; each raises NetworkError or one of its kinds."""

    async def start(self, config: NetworkConfig) -> None:
        """Prepare the node: kernel settings, the services' table, the DNS server. Keeps attachments that exist."""
        ...

    async def attach(self, pod_uid: str, namespace: str, name: str, netns: str, ip: str) -> PodNetwork:
        """Give the namespace an `eth0` with the address. Repeating it for an attached pod changes nothing."""
        ...

    async def detach(self, pod_uid: str) -> None:
        """Remove the pod's interface and route; nothing happens when there are none."""
        ...

    async def sync_routes(self, nodes: Sequence[NodeRoute]) -> None:
        """Make exactly these nodes' pods reachable."""
        ...

    async def sync_services(self, rules: ServiceTable) -> None:
        """Make exactly these services work; costs in proportion to what differs from the last call."""
        ...

    async def sync_dns(self, zone: DnsZone) -> None:
        """Answer these names from now on."""
        ...

    async def adopt(self) -> Mapping[str, AttachedPod]:
        """What the kernel has now, by pod uid; used after a restart to keep what belongs and detach the rest."""
        ...

    async def stop(self, *, remove: bool) -> None:
        """Stop serving. With `remove` nothing stays behind in the kernel; without, pods and services go on working."""
        ...
