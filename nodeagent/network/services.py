"""Services as this node must forward them: a value computed from Service and EndpointSlice objects. Pure.

It exists so that everything Kubernetes-shaped (names of ports, conditions, traffic policies, address families) is
decided here once, and `rules` only has to write what it finds. It knows nothing of nftables. IPv4 only.

Vocabulary: a *virtual address* is one that no machine owns (a ClusterIP); a *backend* is where a connection ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mizzen.api.services import ANNOUNCED_BY
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from nodeagent.network.policies import NO_POLICIES, PolicyTable
from nodeagent.network.topology import preferred

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_DEFAULT_AFFINITY_S = 10800


class Backend(NamedTuple):
    """Where a connection ends: an address and the port there."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class PortRule:
    """One port of a service and who answers it."""

    protocol: str
    """`tcp`, `udp` or `sctp`."""
    port: int
    node_port: int
    """0 when the service has none."""
    backends: tuple[Backend, ...]
    """All of the cluster that this node is to use, sorted."""
    local_backends: tuple[Backend, ...]
    """Those on this node, sorted."""


@dataclass(frozen=True, slots=True)
class ServiceRule:
    """One service with a virtual address; headless and ExternalName services need no forwarding and have none."""

    key: str
    """`namespace/name`."""
    cluster_ip: str
    external_ips: tuple[str, ...]
    """Addresses of the outside that lead here when they reach this node."""
    ports: tuple[PortRule, ...]
    affinity_s: int
    """How long a client stays with its backend after its last connection; 0 when it need not."""
    internal_local: bool
    """Clients inside the cluster may use this node's backends only."""
    external_local: bool
    """Clients outside may use this node's backends only, and are seen with their own address there."""
    announced: tuple[str, ...] = ()
    """Addresses of the outside that this node answers for."""
    health_port: int = 0
    """Where the node says whether it has ready pods of the service; 0 when nobody is to ask."""
    local_ready: int = 0
    """How many ready pods it has."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that leads to one of its own pods, as a container's `hostPort` asks."""

    pod: str
    """`namespace/name`."""
    protocol: str
    """`tcp`, `udp` or `sctp`."""
    port: int
    target: Backend
    host_ip: str = ""
    """The one address of the node that it is for; empty for all."""


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """What this node forwards: services by `namespace/name`, its own pods' host ports, and what policies let pass.

    Two tables that share unchanged `ServiceRule` values are compared quickly, so replace entries, never rebuild all.
    """

    services: Mapping[str, ServiceRule] = field(default_factory=dict)
    host_ports: tuple[HostPort, ...] = ()
    policies: PolicyTable = NO_POLICIES

    @property
    def announced(self) -> tuple[str, ...]:
        """All addresses that this node answers for, sorted."""
        return tuple(sorted({ip for rule in self.services.values() for ip in rule.announced}))

    def replaced(self, key: str, rule: ServiceRule | None) -> ServiceTable:
        """The table with this service's rule exchanged, or taken out when it is None."""
        services = {name: kept for name, kept in self.services.items() if name != key}
        if rule is not None:
            services[key] = rule
        return ServiceTable(services, self.host_ports, self.policies)


def gone_udp_backends(old: ServiceTable, new: ServiceTable) -> tuple[str, ...]:
    """Addresses that some UDP port led to and no longer does, sorted: the kernel still remembers flows to them."""
    gone = {port.target.ip for port in old.host_ports if port.protocol == "udp" and port not in new.host_ports}
    for key, before in old.services.items():
        after = new.services.get(key)
        if after is not before:
            gone |= _udp_addresses(before) - (_udp_addresses(after) if after is not None else set())
    return tuple(sorted(gone))


def service_table(
    services: Iterable[core.Service],
    slices: Iterable[discovery.EndpointSlice],
    node: str,
    host_ports: tuple[HostPort, ...] = (),
    zone: str = "",
) -> ServiceTable:
    """The whole table for the node of this name and zone."""
    grouped = slices_by_service(slices)
    table: dict[str, ServiceRule] = {}
    for service in services:
        key = service_key(service)
        rule = service_rule(service, grouped.get(key, ()), node, zone)
        if rule is not None:
            table[key] = rule
    return ServiceTable(table, host_ports)


def service_key(service: core.Service) -> str:
    """`namespace/name`, by which a service is known in the table and in the DNS zone."""
    return f"{service.metadata.namespace}/{service.metadata.name}"


def slices_by_service(slices: Iterable[discovery.EndpointSlice]) -> dict[str, tuple[discovery.EndpointSlice, ...]]:
    """The IPv4 slices of each service, by `namespace/name` out of the label that every slice carries."""
    grouped: dict[str, list[discovery.EndpointSlice]] = {}
    for item in slices:
        owner = item.metadata.labels.get(SERVICE_NAME_LABEL)
        if owner and item.address_type == "IPv4":
            grouped.setdefault(f"{item.metadata.namespace}/{owner}", []).append(item)
    return {key: tuple(found) for key, found in grouped.items()}


def service_rule(
    service: core.Service, slices: Sequence[discovery.EndpointSlice], node: str, zone: str = ""
) -> ServiceRule | None:
    """What this node must forward for one service and its own slices; None when it has no virtual address."""
    spec = service.spec
    cluster_ip = spec.cluster_ip
    if spec.type == "ExternalName" or not is_ipv4(cluster_ip):
        return None
    return ServiceRule(
        key=service_key(service),
        cluster_ip=cluster_ip,
        external_ips=_external_ips(service),
        ports=tuple(_port_rule(port, slices, node, zone) for port in spec.ports),
        affinity_s=_affinity_s(spec),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=spec.external_traffic_policy == "Local",
        announced=_balanced_ips(service) if service.metadata.annotations.get(ANNOUNCED_BY) == node else (),
        health_port=spec.health_check_node_port if spec.external_traffic_policy == "Local" else 0,
        local_ready=len(_ready_at(slices, node)),
    )


def is_ipv4(address: str) -> bool:
    """Whether this is an IPv4 address rather than IPv6, `None` or empty."""
    return address.count(".") == 3 and ":" not in address


def _udp_addresses(rule: ServiceRule) -> set[str]:
    return {backend.ip for port in rule.ports if port.protocol == "udp" for backend in port.backends}


def _external_ips(service: core.Service) -> tuple[str, ...]:
    found = (*service.spec.external_ips, *_balanced_ips(service))
    return tuple(dict.fromkeys(ip for ip in found if is_ipv4(ip)))


def _balanced_ips(service: core.Service) -> tuple[str, ...]:
    return tuple(entry.ip for entry in service.status.load_balancer.ingress if is_ipv4(entry.ip))


def _affinity_s(spec: core.ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    client = config.client_ip if config is not None else None
    seconds = client.timeout_seconds if client is not None else None
    return seconds or _DEFAULT_AFFINITY_S


def _ready_at(slices: Sequence[discovery.EndpointSlice], node: str) -> set[str]:
    return {
        address
        for item in slices
        for endpoint in item.endpoints
        if endpoint.node_name == node and is_ready(endpoint)
        for address in endpoint.addresses[:1]
    }


class _Found(NamedTuple):
    """An endpoint, and the number that a service's port has there."""

    endpoint: discovery.Endpoint
    number: int


def _port_rule(port: core.ServicePort, slices: Sequence[discovery.EndpointSlice], node: str, zone: str) -> PortRule:
    protocol = port.protocol or "TCP"
    numbered = ((item, _target_port(item, port.name, protocol)) for item in slices)
    found = [_Found(one, number) for item, number in numbered if number is not None for one in item.endpoints]
    ready = [one for one in found if is_ready(one.endpoint)]
    draining = [one for one in found if _is_draining(one.endpoint)]
    near = preferred([one.endpoint for one in ready], node, zone)
    chosen = {id(endpoint) for endpoint in near}
    return PortRule(
        protocol=protocol.lower(),
        port=port.port,
        node_port=port.node_port,
        backends=_usable([one for one in ready if id(one.endpoint) in chosen], draining),
        local_backends=_usable(_on(ready, node), _on(draining, node)),
    )


def _on(found: Sequence[_Found], node: str) -> Sequence[_Found]:
    return [one for one in found if one.endpoint.node_name == node]


def _usable(ready: Sequence[_Found], draining: Sequence[_Found]) -> tuple[Backend, ...]:
    # Terminating pods that still serve are better than refusing, but only when nothing else is left.
    found = ready or draining
    return tuple(sorted({Backend(address, one.number) for one in found for address in one.endpoint.addresses[:1]}))


def _target_port(item: discovery.EndpointSlice, name: str, protocol: str) -> int | None:
    for port in item.ports:
        if (port.name or "") == name and (port.protocol or "TCP") == protocol:
            return port.port
    return None


def is_ready(endpoint: discovery.Endpoint) -> bool:
    """Whether an endpoint takes new connections; an unset condition means ready."""
    return endpoint.conditions.ready is not False


def _is_draining(endpoint: discovery.Endpoint) -> bool:
    conditions = endpoint.conditions
    return conditions.terminating is True and conditions.serving is not False
