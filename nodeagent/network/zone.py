"""The names of the cluster, computed from Service and EndpointSlice objects. Pure.

It holds what a name server needs to know about each service and nothing about packets; `answers` turns a question
into an answer with it and `dns` carries that over the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from nodeagent.network.services import is_ipv4, is_ready, service_key, slices_by_service


class NamedPort(NamedTuple):
    """A port that has an SRV name: `_name._protocol.service`."""

    name: str
    protocol: str
    """`tcp`, `udp` or `sctp`."""
    port: int


class Host(NamedTuple):
    """One endpoint of a headless service: its own name below the service, its address and its ports."""

    hostname: str
    ip: str
    ports: tuple[NamedPort, ...]
    named: bool
    """Whether the pod asked for the name; otherwise it is made of the address."""


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """What the names of one service lead to: exactly one of a virtual address, hosts, or another name."""

    namespace: str
    name: str
    cluster_ip: str = ""
    ports: tuple[NamedPort, ...] = ()
    """Of a service with a virtual address; the hosts of a headless one bring their own."""
    hosts: tuple[Host, ...] = ()
    external_name: str = ""


@dataclass(frozen=True, slots=True)
class DnsZone:
    """Every service of the cluster, by `namespace/name`."""

    services: Mapping[str, ServiceNames] = field(default_factory=dict)

    def replaced(self, key: str, names: ServiceNames | None) -> DnsZone:
        """The zone with this service's names exchanged, or taken out when None."""
        services = {name: kept for name, kept in self.services.items() if name != key}
        if names is not None:
            services[key] = names
        return DnsZone(services)


def dns_zone(services: Iterable[core.Service], slices: Iterable[discovery.EndpointSlice]) -> DnsZone:
    """The whole zone."""
    grouped = slices_by_service(slices)
    found = ((service_key(service), service) for service in services)
    return DnsZone({key: service_names(service, grouped.get(key, ())) for key, service in found})


def service_names(service: core.Service, slices: Sequence[discovery.EndpointSlice]) -> ServiceNames:
    """The names of one service with its own slices; only endpoints that are ready are found by name."""
    namespace, name, spec = service.metadata.namespace, service.metadata.name, service.spec
    if spec.type == "ExternalName":
        return ServiceNames(namespace, name, external_name=spec.external_name.rstrip(".").lower())
    if is_ipv4(spec.cluster_ip):
        ports = tuple(NamedPort(p.name, (p.protocol or "TCP").lower(), p.port) for p in spec.ports)
        return ServiceNames(namespace, name, cluster_ip=spec.cluster_ip, ports=ports)
    return ServiceNames(namespace, name, hosts=_hosts(slices))


def _hosts(slices: Sequence[discovery.EndpointSlice]) -> tuple[Host, ...]:
    hosts: dict[tuple[str, str], Host] = {}
    for item in slices:
        ports = tuple(NamedPort(p.name or "", (p.protocol or "TCP").lower(), p.port) for p in item.ports if p.port)
        for endpoint in item.endpoints:
            if not is_ready(endpoint):
                continue
            for ip in endpoint.addresses[:1]:
                hostname = (endpoint.hostname or "").lower()
                seen = hosts.get((hostname, ip))
                merged = tuple(dict.fromkeys((*(seen.ports if seen else ()), *ports)))
                hosts[hostname, ip] = Host(hostname or ip.replace(".", "-"), ip, merged, bool(hostname))
    return tuple(sorted(hosts.values(), key=lambda host: (host.hostname, host.ip)))
