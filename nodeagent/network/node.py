"""The node's network, put together: the port's only implementation for a real kernel.

Two things are kept between calls, so that the periodic check can repair them: the nodes and the services wanted last.
Everything else is read from the kernel. Blocking work runs in a few threads; the event loop never waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from nodeagent.network import announce, bridge, firewall, peers
from nodeagent.network.dns import DnsServer
from nodeagent.network.health import HealthPorts
from nodeagent.network.port import AttachedPod, NetworkConfig, NetworkError, NodeRoute, PodNetwork
from nodeagent.network.proxy import ServiceProxy
from nodeagent.network.routes import paths, pod_mtu
from nodeagent.network.services import ServiceTable
from nodeagent.network.sysctl import set_sysctl
from nodeagent.network.zone import DnsZone

_THREADS = 4
_Result = TypeVar("_Result")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Running:
    """What exists between `start` and `stop`."""

    config: NetworkConfig
    proxy: ServiceProxy
    dns: DnsServer
    health: HealthPorts
    nodes: tuple[NodeRoute, ...] | None = None
    tunnelled: bool = False
    announced: tuple[str, ...] | None = None
    watch: asyncio.Task[None] | None = None


class NodeNetwork:
    """A `Network` in the network namespace of this process; needs root."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="network")
        self._running: _Running | None = None
        self._routing = asyncio.Lock()

    async def start(self, config: NetworkConfig) -> None:
        """See the port."""
        await self._blocking(lambda: _prepare_host(config))
        proxy = ServiceProxy(config, self._threads)
        running = _Running(config, proxy, DnsServer(config), HealthPorts(), tunnelled=config.overlay == "always")
        try:
            await proxy.prepare()
            await firewall.let_through(config)
            await running.dns.start()
        except BaseException:
            await self._end(running, remove=False)
            raise
        running.watch = asyncio.create_task(self._watch(running), name="network-verify")
        self._running = running

    async def attach(self, pod_uid: str, namespace: str, name: str, netns: str, ip: str) -> PodNetwork:
        """See the port."""
        running = self._started()

        def work() -> PodNetwork:
            mtu = pod_mtu(peers.uplink(running.config.node_ip).mtu, running.tunnelled, running.config.mtu)
            return bridge.attach(pod_uid, f"{namespace}/{name}", netns, ip, mtu)

        return await self._blocking(work)

    async def detach(self, pod_uid: str) -> None:
        """See the port."""
        await self._blocking(lambda: bridge.detach(pod_uid))

    async def sync_routes(self, nodes: Sequence[NodeRoute]) -> None:
        """See the port."""
        running = self._started()
        running.nodes = tuple(nodes)
        await self._route(running)

    async def sync_services(self, rules: ServiceTable) -> None:
        """See the port."""
        running = self._started()
        # The rules come first: an address that leads nowhere yet must not be answered for.
        await running.proxy.sync(rules)
        await running.health.sync(rules.services.values())
        if rules.announced != running.announced:
            await self._announce(running, rules.announced)

    async def sync_dns(self, zone: DnsZone) -> None:
        """See the port."""
        self._started().dns.set_zone(zone)

    async def adopt(self) -> Mapping[str, AttachedPod]:
        """See the port."""
        return await self._blocking(bridge.attached)

    async def stop(self, *, remove: bool) -> None:
        """See the port."""
        running, self._running = self._running, None
        if running is not None:
            await self._end(running, remove=remove)

    async def _end(self, running: _Running, *, remove: bool) -> None:
        if running.watch is not None:
            running.watch.cancel()
            await asyncio.gather(running.watch, return_exceptions=True)
        await running.dns.stop()
        await running.health.close()
        await running.proxy.close(remove=remove)
        if remove:
            for pod_uid in await self.adopt():
                await self.detach(pod_uid)
            await self._blocking(announce.remove)
            await self._blocking(lambda: peers.remove_all(running.config))
            await firewall.withdraw()

    async def _watch(self, running: _Running) -> None:
        """Repair what others changed, for as long as the network runs."""
        while True:
            await asyncio.sleep(running.config.verify_every_s)
            try:
                if await running.proxy.verify():
                    _log.warning("service_rules_repaired", hint="another program changed the table `ip mizzen`")
                await self._blocking(lambda: _prepare_host(running.config))
                await firewall.let_through(running.config)
                await self._route(running)
                if running.announced:
                    await self._announce(running, running.announced)
            except Exception:  # Whatever it was: the next check may succeed, and none at all helps nobody.
                _log.exception("network_check_failed")

    async def _route(self, running: _Running) -> None:
        nodes, config = running.nodes, running.config
        if nodes is None:
            return  # Routes that an earlier run left stay until the nodes are known.

        def work() -> bool:
            device = peers.uplink(config.node_ip)
            ways = paths(device.address, config.pod_cidr, nodes, config.overlay)
            peers.sync_paths(config, device, ways)
            return bool(ways.tunnels)

        async with self._routing:
            running.tunnelled = await self._blocking(work) or config.overlay == "always"

    async def _announce(self, running: _Running, addresses: tuple[str, ...]) -> None:
        await self._blocking(lambda: announce.sync(peers.uplink(running.config.node_ip), addresses))
        running.announced = addresses

    def _started(self) -> _Running:
        if self._running is None:
            raise NetworkError("the node's network is not started")
        return self._running

    async def _blocking(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _prepare_host(config: NetworkConfig) -> None:
    peers.uplink(config.node_ip)  # Nothing works without the node's address: say so first.
    set_sysctl("net/ipv4/ip_forward", "1")
    # Existing devices keep their own setting, which counts as well; this lets pods' interfaces have theirs.
    set_sysctl("net/ipv4/conf/all/send_redirects", "0")
    peers.claim_virtual_addresses(config)
