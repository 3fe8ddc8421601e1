"""A network without a kernel, for tests of the agent: it remembers what it was asked for and can be told to fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodeagent.network.bridge import ifname_of
from nodeagent.network.port import GATEWAY, AttachedPod, NetworkConfig, NetworkError, NodeRoute, PodNetwork
from nodeagent.network.routes import mac_of
from nodeagent.network.services import ServiceTable
from nodeagent.network.zone import DnsZone

_MTU = 1500


class FakeNetwork:
    """A `Network` whose attributes are the last things wanted; `attached` outlives `stop`, as a kernel's links do."""

    def __init__(self) -> None:
        self.config: NetworkConfig | None = None
        self.attached: dict[str, AttachedPod] = {}
        self.nodes: tuple[NodeRoute, ...] = ()
        self.services = ServiceTable()
        self.zone = DnsZone()
        self.failures: list[NetworkError] = []
        """Raised one by one by the next calls of `attach`."""

    async def start(self, config: NetworkConfig) -> None:
        """See the port."""
        self.config = config

    async def attach(self, pod_uid: str, namespace: str, name: str, netns: str, ip: str) -> PodNetwork:
        """See the port."""
        if self.failures:
            raise self.failures.pop(0)
        ifname = ifname_of(pod_uid)
        self.attached[pod_uid] = AttachedPod(pod_uid, ip, ifname)
        return PodNetwork(ip, mac_of(ip), GATEWAY, ifname, _MTU)

    async def detach(self, pod_uid: str) -> None:
        """See the port."""
        self.attached.pop(pod_uid, None)

    async def sync_routes(self, nodes: Sequence[NodeRoute]) -> None:
        """See the port."""
        self.nodes = tuple(nodes)

    async def sync_services(self, rules: ServiceTable) -> None:
        """See the port."""
        self.services = rules

    async def sync_dns(self, zone: DnsZone) -> None:
        """See the port."""
        self.zone = zone

    async def adopt(self) -> Mapping[str, AttachedPod]:
        """See the port."""
        return dict(self.attached)

    async def stop(self, *, remove: bool) -> None:
        """See the port."""
        self.config = None
        if remove:
            self.attached.clear()
