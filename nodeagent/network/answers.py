"""What the cluster's name server says to a question about the cluster's own names. Pure.

It follows Kubernetes' DNS specification for services, endpoints and pods. Nothing here knows packets or the network:
names are lower case without a final dot, types are DNS numbers, and a question that is not the cluster's gets None.

Vocabulary: an answer without records is NODATA when the name exists (rcode 0) and NXDOMAIN when it does not (rcode 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from nodeagent.network.zone import DnsZone, Host, NamedPort, ServiceNames

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 255
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
_SPECIFICATION = "1.1.0"
_REVERSE = ".in-addr.arpa"


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record; `data` is an address, a name or a text."""

    name: str
    kind: int
    data: str
    port: int = 0
    """Of an SRV record."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    rcode: int = NOERROR
    records: tuple[Record, ...] = ()
    extra: tuple[Record, ...] = ()
    """Addresses of the names that SRV records mention."""
    chase: str = ""
    """A name outside the cluster whose records belong to the answer as well (an ExternalName)."""


_NODATA = Answer()
_UNKNOWN = Answer(NXDOMAIN)


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """The zone under its domain, with the address ranges whose reverse names belong to the cluster."""

    zone: DnsZone
    domain: str
    server_ip: str
    ranges: tuple[IPv4Network, ...]
    """Pods' and services' addresses."""

    def answer(self, name: str, kind: int) -> Answer | None:
        """The answer, or None when the name is not the cluster's and others have to be asked."""
        if name == self.domain:
            return self._apex(kind)
        if name.endswith("." + self.domain):
            return self._below(name, name[: -len(self.domain) - 1].split("."), kind)
        if name.endswith(_REVERSE):
            return self._reverse(name, kind)
        return None

    def _apex(self, kind: int) -> Answer:
        if kind == SOA:
            return Answer(records=(Record(self.domain, SOA, ""),))
        server = f"ns.dns.{self.domain}"
        if kind == NS:
            return Answer(records=(Record(self.domain, NS, server),), extra=(Record(server, A, self.server_ip),))
        return _NODATA

    def _below(self, name: str, labels: Sequence[str], kind: int) -> Answer:
        match labels:
            case ["svc"] | ["pod"]:
                return _NODATA
            case [namespace, "svc" | "pod"]:
                return _NODATA if self._has_namespace(namespace) else _UNKNOWN
            case [dashed, _, "pod"]:
                return self._pod(name, dashed, kind)
            case [*parts, service, namespace, "svc"]:
                found = self.zone.services.get(f"{namespace}/{service}")
                return self._service(name, found, parts, kind) if found is not None else _UNKNOWN
            case ["dns-version"]:
                return _of(kind, TXT, [Record(name, TXT, _SPECIFICATION)])
            case ["ns", "dns"]:
                return _of(kind, A, [Record(name, A, self.server_ip)])
            case _:
                return _UNKNOWN

    def _has_namespace(self, namespace: str) -> bool:
        return any(service.namespace == namespace for service in self.zone.services.values())

    def _pod(self, name: str, dashed: str, kind: int) -> Answer:
        address = _address(dashed.split("-"))
        if address is None or not self._is_ours(address):
            return _UNKNOWN
        return _of(kind, A, [Record(name, A, str(address))])

    def _service(self, name: str, service: ServiceNames, parts: Sequence[str], kind: int) -> Answer:
        if service.external_name:
            return self._external(name, service.external_name) if not parts else _UNKNOWN
        if not service.cluster_ip and not service.hosts:
            return _UNKNOWN
        match parts:
            case []:
                addresses = [service.cluster_ip] if service.cluster_ip else _addresses(service.hosts)
                return _of(kind, A, [Record(name, A, address) for address in addresses])
            case [protocol] if protocol.startswith("_"):
                known = any(f"_{port.protocol}" == protocol and port.name for port in _ports(service))
                return _NODATA if known else _UNKNOWN
            case [hostname]:
                addresses = _addresses(host for host in service.hosts if host.hostname == hostname)
                return _of(kind, A, [Record(name, A, address) for address in addresses]) if addresses else _UNKNOWN
            case [port, protocol]:
                return self._ports_named(name, service, port, protocol, kind)
            case _:
                return _UNKNOWN

    def _external(self, name: str, target: str) -> Answer:
        alias = Record(name, CNAME, target)
        return Answer(records=(alias,), chase=target)

    def _ports_named(self, name: str, service: ServiceNames, port: str, protocol: str, kind: int) -> Answer:
        own = f"{service.name}.{service.namespace}.svc.{self.domain}"
        hosts = ((f"{host.hostname}.{own}", host.ip, host.ports) for host in service.hosts)
        places = [(own, service.cluster_ip, service.ports)] if service.cluster_ip else list(hosts)
        records: list[Record] = []
        extra: list[Record] = []
        for target, ip, ports in places:
            for candidate in ports:
                if candidate.name and port == f"_{candidate.name}" and protocol == f"_{candidate.protocol}":
                    records.append(Record(name, SRV, target, candidate.port))
                    extra.append(Record(target, A, ip))
        if not records:
            return _UNKNOWN
        return Answer(records=tuple(records), extra=tuple(extra)) if kind in (SRV, ANY) else _NODATA

    def _reverse(self, name: str, kind: int) -> Answer | None:
        address = _address(name.removesuffix(_REVERSE).split(".")[::-1])
        if address is None or not self._is_ours(address):
            return None
        targets = [Record(name, PTR, target) for target in self._names_of(str(address))]
        return _of(kind, PTR, targets) if targets else _UNKNOWN

    def _names_of(self, ip: str) -> list[str]:
        # Asked for rarely and remembered by the server, so a search is cheaper than an index kept up to date.
        found: list[str] = []
        for service in self.zone.services.values():
            own = f"{service.name}.{service.namespace}.svc.{self.domain}"
            if service.cluster_ip == ip:
                found.append(own)
            found += (f"{host.hostname}.{own}" for host in service.hosts if host.ip == ip)
        return found

    def _is_ours(self, address: IPv4Address) -> bool:
        return any(address in network for network in self.ranges)


def _of(asked: int, kind: int, records: Sequence[Record]) -> Answer:
    """These records when their type was asked for; otherwise the name exists without the type."""
    return Answer(records=tuple(records)) if asked in (kind, ANY) else _NODATA


def _addresses(hosts: Iterable[Host]) -> list[str]:
    return list(dict.fromkeys(host.ip for host in hosts))


def _ports(service: ServiceNames) -> tuple[NamedPort, ...]:
    return service.ports or tuple(port for host in service.hosts for port in host.ports)


def _address(parts: Sequence[str]) -> IPv4Address | None:
    try:
        return IPv4Address(".".join(parts)) if len(parts) == 4 else None
    except AddressValueError:
        return None
