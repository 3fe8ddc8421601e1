"""Short ways to write Services and EndpointSlices in these tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery


def service(name: str, cluster_ip: str, ports: Sequence[dict[str, Any]] = (), **spec: Any) -> core.Service:
    """A Service of the namespace `default`; other fields of its spec by their JSON names."""
    body = {"clusterIP": cluster_ip, "ports": list(ports), **spec}
    return msgspec.convert({"metadata": {"name": name, "namespace": "default"}, "spec": body}, core.Service)


def endpoint(ip: str, node: str = "node1", hostname: str | None = None, **conditions: bool) -> dict[str, Any]:
    """One endpoint in JSON."""
    return {"addresses": [ip], "nodeName": node, "hostname": hostname, "conditions": conditions}


def endpoint_slice(
    owner: str, ports: Sequence[dict[str, Any]], *endpoints: dict[str, Any], address_type: str = "IPv4"
) -> discovery.EndpointSlice:
    """A slice of a service of the namespace `default`."""
    labels = {"kubernetes.io/service-name": owner}
    body = {
        "metadata": {"name": f"{owner}-1", "namespace": "default", "labels": labels},
        "addressType": address_type,
        "ports": list(ports),
        "endpoints": list(endpoints),
    }
    return msgspec.convert(body, discovery.EndpointSlice)
