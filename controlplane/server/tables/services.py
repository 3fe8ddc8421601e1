"""The tables of services and of what stands behind them: endpoints and endpoint slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.server.tables.model import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Row,
    TableOf,
    age,
    column,
    joined,
    labels_text,
)
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.engine.values import Instant

_SHOWN = 3
"""Addresses or ports named before the rest is only counted."""


def service_row(obj: core.Service, now: Instant) -> Row:
    """The cells of one service."""
    spec = obj.spec
    return Row(
        (
            obj.metadata.name,
            spec.type,
            spec.cluster_ips[0] if spec.cluster_ips else spec.cluster_ip or NONE,
            _external_ip(obj),
            joined(_port(port) for port in spec.ports),
            age(obj.metadata, now),
            labels_text(spec.selector),
        )
    )


def _port(port: core.ServicePort) -> str:
    node = f":{port.node_port}" if port.node_port else ""
    return f"{port.port}{node}/{port.protocol}"


def _external_ip(obj: core.Service) -> str:
    spec = obj.spec
    if spec.type in ("ClusterIP", "NodePort"):
        return joined(spec.external_ips)
    if spec.type == "ExternalName":
        return spec.external_name
    if spec.type != "LoadBalancer":
        return UNKNOWN
    given = sorted({ingress.ip or ingress.hostname for ingress in obj.status.load_balancer.ingress} - {""})
    return joined((*given, *spec.external_ips), empty="<pending>")


def endpoints_row(obj: core.Endpoints, now: Instant) -> Row:
    """The cells of one endpoints object."""
    return Row((obj.metadata.name, _some(_addresses(obj), empty=NONE), age(obj.metadata, now)))


def _addresses(obj: core.Endpoints) -> Iterator[str]:
    for subset in obj.subsets:
        for port in subset.ports or (None,):
            for address in subset.addresses:
                host = f"[{address.ip}]" if ":" in address.ip else address.ip
                yield f"{host}:{port.port}" if port else address.ip


def endpoint_slice_row(obj: discovery.EndpointSlice, now: Instant) -> Row:
    """The cells of one endpoint slice."""
    return Row(
        (
            obj.metadata.name,
            obj.address_type,
            _some(_slice_port(port) for port in obj.ports),
            _some(address for endpoint in obj.endpoints for address in endpoint.addresses),
            age(obj.metadata, now),
        )
    )


def _slice_port(port: discovery.EndpointPort) -> str:
    if port.port is not None:
        return str(port.port)
    return port.name or "*"


def _some(values: Iterable[str], empty: str = "<unset>") -> str:
    every = list(values)
    text = joined(every[:_SHOWN], empty)
    return f"{text} + {len(every) - _SHOWN} more..." if len(every) > _SHOWN else text


SERVICE_TABLE = TableOf(
    (
        NAME,
        column("Type", "How the service is reached."),
        column("Cluster-IP", "Its address inside the cluster."),
        column("External-IP", "Its addresses outside of the cluster."),
        column("Port(s)", "Its ports, with the node port where there is one."),
        AGE,
        column("Selector", "Labels of the pods that serve it.", wide=True),
    ),
    service_row,
)
ENDPOINTS_TABLE = TableOf((NAME, column("Endpoints", "Addresses that serve."), AGE), endpoints_row)
ENDPOINT_SLICE_TABLE = TableOf(
    (
        NAME,
        column("AddressType", "The family of the addresses."),
        column("Ports", "Ports on which every endpoint serves."),
        column("Endpoints", "Addresses that serve."),
        AGE,
    ),
    endpoint_slice_row,
)
