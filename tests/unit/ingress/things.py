"""Short ways to write Ingresses and what they name in these tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import networking_v1 as networking
from nodeagent.ingress.site import Site, site


@dataclass
class Known:
    """Services, slices and Secrets of the namespace `default`, by name."""

    services: dict[str, core.Service] = field(default_factory=dict)
    endpoints: dict[str, list[discovery.EndpointSlice]] = field(default_factory=dict)
    secrets: dict[str, core.Secret] = field(default_factory=dict)

    def service(self, namespace: str, name: str) -> core.Service | None:
        """See `site.Cluster`."""
        return self.services.get(name) if namespace == "default" else None

    def slices(self, namespace: str, name: str) -> Sequence[discovery.EndpointSlice]:
        """See `site.Cluster`."""
        return self.endpoints.get(name, ())

    def secret(self, namespace: str, name: str) -> core.Secret | None:
        """See `site.Cluster`."""
        return self.secrets.get(name) if namespace == "default" else None


def class_(name: str = "mizzen", controller: str = "mizzen.dev/ingress") -> networking.IngressClass:
    """A class."""
    body = {"metadata": {"name": name}, "spec": {"controller": controller}}
    return msgspec.convert(body, networking.IngressClass)


def ingress(
    name: str = "web", *rules: Mapping[str, Any], age: str = "2026-01-01T00:00:00Z", **spec: Any
) -> networking.Ingress:
    """An Ingress; other fields of its spec by their JSON names."""
    body = {"ingressClassName": "mizzen", "rules": list(rules), **spec}
    metadata = {"name": name, "namespace": "default", "creationTimestamp": age}
    return msgspec.convert({"metadata": metadata, "spec": body}, networking.Ingress)


def backend(service: str = "web", port: int | str = 80) -> dict[str, Any]:
    """A port of a Service."""
    return {"service": {"name": service, "port": {"number" if isinstance(port, int) else "name": port}}}


def rule(host: str = "", *paths: tuple[str, str] | tuple[str, str, str]) -> dict[str, Any]:
    """Paths of a host, each with its type and, if it is not `web`, its Service."""
    every = [
        {"path": path, "pathType": kind, "backend": backend(*service)}
        for path, kind, *service in paths or [("/", "Prefix")]
    ]
    return {"host": host, "http": {"paths": every}}


def service(name: str = "web", ip: str = "10.96.0.5", port: int = 80, port_name: str = "") -> core.Service:
    """A Service."""
    body = {"clusterIP": ip, "ports": [{"name": port_name, "port": port}]}
    return msgspec.convert({"metadata": {"name": name, "namespace": "default"}, "spec": body}, core.Service)


def served(known: Known, *ingresses: networking.Ingress) -> Site:
    """What these ask for."""
    return site(ingresses, {"mizzen": class_(), "other": class_("other", "example.org/other")}, known)


def tls(secret: str, *hosts: str) -> dict[str, Any]:
    """A Secret with a certificate for hosts."""
    return {"secretName": secret, "hosts": list(hosts)}
