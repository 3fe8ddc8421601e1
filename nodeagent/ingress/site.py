"""What the Ingresses of a cluster ask for: which requests go where, and which certificates are shown. Pure.

Requests are led to the cluster IPs of Services, so that the node's own rules choose among the pods: a pod that leaves
those takes no request from here either. Only a headless Service's endpoints are led to one by one.

Of two Ingresses that want the same host and path the older one has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mizzen.api.ingress import is_ours
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import networking_v1 as networking

TLS_TYPE = "kubernetes.io/tls"


class Cluster(Protocol):
    """What there is of what Ingresses name."""

    def service(self, namespace: str, name: str) -> core.Service | None:
        """A Service."""
        ...

    def slices(self, namespace: str, name: str) -> Sequence[discovery.EndpointSlice]:
        """The IPv4 slices of a Service."""
        ...

    def secret(self, namespace: str, name: str) -> core.Secret | None:
        """A Secret."""
        ...


class Server(NamedTuple):
    """Where requests end."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Target:
    """A port of a Service."""

    name: str
    """`namespace:service:port`."""
    servers: tuple[Server, ...]
    """None answer for a Service that is not there, or has nobody."""


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for a host and a path."""

    host: str
    """In lower case; `*.example.org` for all names of one more label, empty for any."""
    path: str
    exact: bool
    """That path alone; otherwise all below it, too, by whole elements."""
    target: Target


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is shown to clients that ask for some hosts."""

    name: str
    """`namespace:secret`."""
    pem: bytes
    """The chain and the key."""
    hosts: tuple[str, ...]
    """Those it is for; none: those that it names itself."""


@dataclass(frozen=True, slots=True)
class Site:
    """All that is served."""

    routes: tuple[Route, ...] = ()
    """The first that fits a request has it."""
    default: Target | None = None
    """Has what no route fits."""
    certificates: tuple[Certificate, ...] = ()


def site(
    ingresses: Iterable[networking.Ingress], classes: Mapping[str, networking.IngressClass], cluster: Cluster
) -> Site:
    """What the Ingresses of our classes ask for."""
    ours = sorted((item for item in ingresses if is_ours(item, classes)), key=_age)
    routes: dict[tuple[str, str, bool], Route] = {}
    default: Target | None = None
    for item in ours:
        for route in _routes(item, cluster):
            routes.setdefault((route.host, route.path, route.exact), route)
        if default is None and item.spec.default_backend is not None:
            default = _target(item, item.spec.default_backend, cluster)
    return Site(tuple(sorted(routes.values(), key=_turn)), default, _certificates(ours, cluster))


def _age(item: networking.Ingress) -> tuple[str, str, str]:
    metadata = item.metadata
    return metadata.creation_timestamp or "", metadata.namespace, metadata.name


def _turn(route: Route) -> tuple[int, int, str, bool, int, str]:
    """Certain hosts before wildcards before any; exact paths before others; long ones before short ones."""
    kind = 2 if not route.host else 1 if route.host.startswith("*.") else 0
    return kind, -len(route.host), route.host, not route.exact, -len(route.path), route.path


def _routes(item: networking.Ingress, cluster: Cluster) -> Iterable[Route]:
    for rule in item.spec.rules:
        if rule.http is None or not rule.http.paths:
            if item.spec.default_backend is not None:
                yield Route(rule.host.lower(), "/", False, _target(item, item.spec.default_backend, cluster))
            continue
        for one in rule.http.paths:
            target = _target(item, one.backend, cluster)
            exact = one.path_type == "Exact"
            path = one.path if exact else one.path.rstrip("/") or "/"
            # Such a path no client can send, and the configuration is a file of lines.
            if path.isprintable():
                yield Route(rule.host.lower(), path, exact, target)


def _target(item: networking.Ingress, backend: networking.IngressBackend, cluster: Cluster) -> Target:
    namespace, wanted = item.metadata.namespace, backend.service
    if wanted is None:
        return Target(f"{namespace}:resource", ())
    name = f"{namespace}:{wanted.name}:{wanted.port.name or wanted.port.number}"
    service = cluster.service(namespace, wanted.name)
    port = _port(service, wanted.port) if service is not None else None
    if service is None or port is None:
        return Target(name, ())
    if service.spec.cluster_ip not in ("", "None"):
        return Target(name, (Server(service.spec.cluster_ip, port.port),))
    return Target(name, _endpoints(cluster.slices(namespace, wanted.name), port))


def _port(service: core.Service, wanted: networking.ServiceBackendPort) -> core.ServicePort | None:
    for port in service.spec.ports:
        if (port.name == wanted.name) if wanted.name else (port.port == wanted.number):
            return port
    return None


def _endpoints(slices: Sequence[discovery.EndpointSlice], port: core.ServicePort) -> tuple[Server, ...]:
    found: set[Server] = set()
    for item in slices:
        number = next((one.port for one in item.ports if (one.name or "") == port.name), None)
        ready = (endpoint for endpoint in item.endpoints if endpoint.conditions.ready is not False)
        if number:
            found.update(Server(address, number) for endpoint in ready for address in endpoint.addresses[:1])
    return tuple(sorted(found))


def _certificates(ingresses: Sequence[networking.Ingress], cluster: Cluster) -> tuple[Certificate, ...]:
    hosts: dict[tuple[str, str], list[str]] = {}
    for item in ingresses:
        for tls in item.spec.tls:
            if tls.secret_name:
                hosts.setdefault((item.metadata.namespace, tls.secret_name), []).extend(tls.hosts)
    found = []
    for (namespace, name), wanted in hosts.items():
        secret = cluster.secret(namespace, name)
        if secret is None or secret.type != TLS_TYPE:
            continue
        chain, key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
        pem = chain.rstrip() + b"\n" + key.rstrip() + b"\n"
        found.append(Certificate(f"{namespace}:{name}", pem, tuple(dict.fromkeys(host.lower() for host in wanted))))
    return tuple(found)
