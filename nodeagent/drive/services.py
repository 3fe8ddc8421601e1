"""Brings Services, their endpoints, network policies, other nodes and host ports to the node's network.

Changes are collected while the last ones are being brought there, so a burst costs one round; what did not change
keeps its value, which makes comparing cheap. A pod that is about to be attached does not wait for a round: its policies
hold before it has an interface, so that it is never reachable without them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Key
from nodeagent.drive import machine
from nodeagent.drive.addresses import Addresses
from nodeagent.drive.context import NodeContext
from nodeagent.drive.objects import SLICES_OF_SERVICE
from nodeagent.drive.reach import Reach
from nodeagent.lifecycle.actions import Record
from nodeagent.lifecycle.containers import every
from nodeagent.network.policies import NO_POLICIES, PolicyTable, policy_table
from nodeagent.network.port import Network, NetworkError, NodeRoute
from nodeagent.network.services import SERVICE_NAME_LABEL, Backend, HostPort, ServiceRule, ServiceTable, service_rule
from nodeagent.network.zone import DnsZone, ServiceNames, service_names

PAUSE_MIN_S = 0.1
PAUSE_FACTOR = 4
"""Between two rounds: endpoints of a rollout change in bursts, and each round runs a program that changes rules."""
RETRY_S = 2.0
ZONE = "topology.kubernetes.io/zone"

Tell = Callable[[Record], None]
_LOG = structlog.get_logger(__name__)


class ServiceSync:
    """What the network was told last, and what has changed since."""

    def __init__(self, network: Network, node: NodeContext, addresses: Addresses, reach: Reach, tell: Tell) -> None:
        """`reach` is told which version the network shows; `tell` what people should know of the node."""
        self._network = network
        self._node = node
        self._addresses = addresses
        self._reach = reach
        self._tell_people = tell
        self._sctp: set[str] = set()
        """The services with a port for SCTP that people were not told about."""
        self._sctp_told = False
        self._rules: dict[str, ServiceRule] = {}
        self._names: dict[str, ServiceNames] = {}
        self._zone = ""
        self._host_ports: tuple[HostPort, ...] = ()
        self._policies: PolicyTable = NO_POLICIES
        self._owners: dict[tuple[str, str], str] = {}
        """The service of each slice, which a slice that is gone can't tell any more."""
        self._dirty: set[str] = set()
        self._routes_dirty = True
        self._services_dirty = True
        self._policies_dirty = True
        self._wake = asyncio.Event()
        self._telling = asyncio.Lock()

    def changed(self, keys: Iterable[Key], *, synced: bool = False) -> None:
        """Objects have changed; those of other kinds are passed over. `synced`: a whole round of them is complete."""
        if synced:
            self._wake.set()  # even if nothing changed, what the network shows has another version
        for key in keys:
            if key.resource == kinds.SERVICE.resource:
                self._dirty.add(f"{key.namespace}/{key.name}")
            elif key.resource == kinds.ENDPOINT_SLICE.resource:
                self._slice_changed(key)
            elif key.resource == kinds.NODE.resource:
                self._routes_dirty = True
                if key.name == self._node.name:
                    self._zone_changed()
            elif key.resource in (kinds.NETWORK_POLICY.resource, kinds.POD.resource):
                self._policies_dirty = True
            else:
                continue
            self._wake.set()

    async def guard(self, uid: str) -> None:
        """Returns when the network enforces the policies of a pod whose address has been chosen.

        Raises NetworkError; the pod must not be attached then.
        """
        async with self._telling:
            ip = self._addresses.given(uid)
            if self._services_dirty or self._guards().guards.get(ip) != self._policies.guards.get(ip):
                self._policies_dirty = True
                await self._round()

    def pods_changed(self, pods: Iterable[core.Pod]) -> None:
        """Pods of this node came, went or got an address."""
        if self._policies.guards:
            self._policies_dirty = True
            self._wake.set()
        found = tuple(sorted(self._ports_of(pods), key=lambda port: (port.protocol, port.port, port.pod)))
        if found != self._host_ports:
            self._host_ports = found
            self._services_dirty = True
            self._wake.set()

    def restart(self) -> None:
        """The network has been started anew: tell it everything."""
        cache = self._node.objects.cache
        self._rules, self._names = {}, {}
        self._zone_changed()
        self._dirty = {f"{entry.namespace}/{entry.name}" for entry in cache.entries(kinds.SERVICE)}
        for entry in cache.entries(kinds.ENDPOINT_SLICE):
            self._slice_changed(entry.key)
        self._routes_dirty = self._services_dirty = self._policies_dirty = True
        self._wake.set()

    async def run(self) -> None:
        """Bring changes to the network until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            if self._node.network_ready:
                await self._tell()
            await asyncio.sleep(max(PAUSE_MIN_S, (time.monotonic() - began) * PAUSE_FACTOR))

    async def _tell(self) -> None:
        try:
            async with self._telling:
                await self._round()
        except NetworkError as error:
            _LOG.error("network_sync_failed", error=str(error), retry_s=RETRY_S)
            await asyncio.sleep(RETRY_S)
            self._wake.set()

    async def _round(self) -> None:
        version = self._node.objects.version
        dirty, self._dirty = self._dirty, set()
        self._compute(dirty)
        if self._policies_dirty:
            policies = self._guards()
            self._services_dirty |= policies != self._policies
            self._policies = policies
        routes, services = self._routes_dirty, self._services_dirty or bool(dirty)
        self._routes_dirty = self._services_dirty = self._policies_dirty = False
        try:
            if routes:
                await self._network.sync_routes(self._routes())
            if services:
                await self._network.sync_services(self._table())
            if dirty or services:
                await self._network.sync_dns(DnsZone(dict(self._names)))
        except NetworkError:
            self._routes_dirty = self._services_dirty = True
            raise
        self._reach.at(version)
        if self._sctp and not self._sctp_told and not machine.follows_sctp():
            self._sctp_told = True
            message = (
                f"the kernel follows no SCTP connections, so this node leads none to {', '.join(sorted(self._sctp))}"
            )
            self._tell_people(Record("Warning", "SCTPNotSupported", message))

    def _table(self) -> ServiceTable:
        return ServiceTable(dict(self._rules), self._host_ports, self._policies)

    def _guards(self) -> PolicyTable:
        cache = self._node.objects.cache
        policies = cache.list(kinds.NETWORK_POLICY)
        if not policies:
            return NO_POLICIES
        pods = ((pod, self._addresses.given(pod.metadata.uid)) for pod in cache.list(kinds.POD))
        return policy_table(policies, ((pod, ip) for pod, ip in pods if ip and not pod.spec.host_network))

    def _compute(self, keys: Iterable[str]) -> None:
        cache, node = self._node.objects.cache, self._node.name
        for key in sorted(keys):
            namespace, _, name = key.partition("/")
            service = cache.get(kinds.SERVICE, namespace, name)
            if service is None:
                self._rules.pop(key, None)
                self._names.pop(key, None)
                continue
            slices = [item for item in cache.select(SLICES_OF_SERVICE, key) if item.address_type == "IPv4"]
            rule = service_rule(service, slices, node, self._zone)
            if rule is None:
                self._rules.pop(key, None)
            elif self._rules.get(key) != rule:
                self._rules[key] = rule
                if any(port.protocol == "sctp" for port in rule.ports):
                    self._sctp.add(key)
            names = service_names(service, slices)
            if self._names.get(key) != names:
                self._names[key] = names

    def _slice_changed(self, key: Key) -> None:
        place = (key.namespace, key.name)
        item = self._node.objects.cache.get(kinds.ENDPOINT_SLICE, key.namespace, key.name)
        before = self._owners.pop(place, "")
        owner = item.metadata.labels.get(SERVICE_NAME_LABEL, "") if item is not None else ""
        if owner:
            self._owners[place] = owner
        self._dirty.update(f"{key.namespace}/{name}" for name in (before, owner) if name)

    def _zone_changed(self) -> None:
        own = self._node.objects.cache.get(kinds.NODE, "", self._node.name)
        zone = own.metadata.labels.get(ZONE, "") if own is not None else ""
        if zone != self._zone:
            self._zone = zone
            self._dirty.update(self._rules)

    def _routes(self) -> Sequence[NodeRoute]:
        found = []
        for node in self._node.objects.cache.list(kinds.NODE):
            address = next((item.address for item in node.status.addresses if item.type == "InternalIP"), "")
            if address and node.spec.pod_cidr:
                found.append(NodeRoute(node.metadata.name, address, node.spec.pod_cidr))
        return found

    def _ports_of(self, pods: Iterable[core.Pod]) -> Iterable[HostPort]:
        for pod in pods:
            ip = self._addresses.of(pod.metadata.uid)
            if not ip or pod.spec.host_network:
                continue
            name = f"{pod.metadata.namespace}/{pod.metadata.name}"
            for container, _ in every(pod.spec):
                for port in container.ports:
                    if port.host_port:
                        target = Backend(ip, port.container_port)
                        host_ip = "" if port.host_ip == "0.0.0.0" else port.host_ip
                        yield HostPort(name, (port.protocol or "TCP").lower(), port.host_port, target, host_ip)
