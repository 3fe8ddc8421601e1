"""Where a call goes: which address, and which node can reach it. From objects, without I/O.

A pod is reached from its own node, because the control plane need not be on the pods' network. An address behind a
service that belongs to no pod is reached from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mizzen.api import kinds
from mizzen.api.errors import BadRequest, NotFound, ServiceUnavailable, quoted
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.engine.view import View

_SCHEMES = ("", "http", "https")
_OF_SERVICE = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Target:
    """One end of a connection that is to be made."""

    host: str
    """An address, or a name for what is outside; empty for the page of the node's agent."""
    port: int
    node: str = ""
    """The node that makes the connection; empty for this machine."""

    @property
    def address(self) -> str:
        """`host:port`, as URLs have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Named(NamedTuple):
    """What stands for an object in the path of a proxy: `web`, `web:80`, `https:web:443`."""

    scheme: str
    name: str
    port: str


def split(word: str, what: str) -> Named:
    """The parts of such a word; `what` is the kind in small letters. Raises BadRequest."""
    parts = word.split(":")
    scheme, name, port = parts if len(parts) == 3 else ("", parts[0], parts[1] if len(parts) == 2 else "")
    if len(parts) > 3 or not name or scheme not in _SCHEMES:
        raise BadRequest(f"invalid {what} request {quoted(word)}")
    return Named(scheme, name, port)


def pod_target(view: View, namespace: str, wanted: Named) -> Target:
    """A pod, by default its first port that is declared. Raises NotFound or BadRequest."""
    pod = view.get(kinds.POD, namespace, wanted.name)
    if pod is None:
        raise NotFound(kinds.POD, wanted.name)
    declared = [port.container_port for container in pod.spec.containers for port in container.ports]
    if not pod.status.pod_ip:
        raise BadRequest("address not allowed")
    default = declared[0] if declared else 443 if wanted.scheme == "https" else 80
    return Target(pod.status.pod_ip, _number(wanted.port) if wanted.port else default, pod.spec.node_name)


def node_target(view: View, wanted: Named) -> Target:
    """A node: its agent's own page unless another port is named. Raises NotFound or BadRequest."""
    node = view.get(kinds.NODE, "", wanted.name)
    if node is None:
        raise NotFound(kinds.NODE, wanted.name)
    daemon = node.status.daemon_endpoints.kubelet_endpoint.port
    if not wanted.port or wanted.port == str(daemon):
        return Target("", 0, wanted.name)
    host = next((one.address for one in node.status.addresses if one.type == "InternalIP"), "")
    if not host:
        raise BadRequest("address not allowed")
    return Target(host, _number(wanted.port), wanted.name)


def _number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise BadRequest(f"invalid port {quoted(text)}: must be a number from 1 to 65535")
    return int(text)


def service_targets(view: View, namespace: str, wanted: Named) -> list[Target]:
    """The pods that are ready behind a service's port. Raises NotFound, or ServiceUnavailable where there is none."""
    service = _service(view, namespace, wanted.name)
    port_name = wanted.port
    if port_name.isdecimal():
        port = _port(service, int(port_name))
        if port is None:
            raise ServiceUnavailable(f'no service port {port_name} found for service "{wanted.name}"')
        port_name = port.name
    found = [target for target in _ready(view, service, port_name) if target.node]
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{_joined(wanted)}"')
    return found


def backend_targets(view: View, namespace: str, name: str, port: int) -> list[Target]:
    """Who answers for a service that the server itself calls, pod or not. Raises ApiError that says what is missing."""
    service = _service(view, namespace, name)
    if service.spec.type == "ExternalName":
        return [Target(service.spec.external_name, port)]
    declared = _port(service, port)
    if declared is None:
        raise ServiceUnavailable(f'no service port {port} found for service "{name}"')
    found = list(_ready(view, service, declared.name))
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{name}"')
    return found


def _service(view: View, namespace: str, name: str) -> core.Service:
    service = view.get(kinds.SERVICE, namespace, name)
    if service is None:
        raise NotFound(kinds.SERVICE, name)
    return service


def _port(service: core.Service, number: int) -> core.ServicePort | None:
    return next((port for port in service.spec.ports if port.port == number), None)


def _joined(wanted: Named) -> str:
    return ":".join(wanted) if wanted.scheme else f"{wanted.name}:{wanted.port}" if wanted.port else wanted.name


def _ready(view: View, service: core.Service, port_name: str) -> Iterator[Target]:
    """The endpoints that are ready on the port of a name; Endpoints that users write are mirrored into slices."""
    namespace, name = service.metadata.namespace, service.metadata.name
    for piece in view.list(kinds.ENDPOINT_SLICE, namespace):
        if piece.metadata.labels.get(_OF_SERVICE) != name:
            continue
        port = next((port.port for port in piece.ports if (port.name or "") == port_name), None)
        for endpoint in piece.endpoints if port else ():
            if endpoint.addresses and endpoint.conditions.ready is not False:
                yield Target(endpoint.addresses[0], port or 0, _node(view, namespace, endpoint))


def _node(view: View, namespace: str, endpoint: discovery.Endpoint) -> str:
    """The node of the pod behind an endpoint; empty where there is no pod."""
    reference = endpoint.target_ref
    if reference is None or reference.kind != "Pod":
        return ""
    pod = view.get(kinds.POD, reference.namespace or namespace, reference.name)
    return pod.spec.node_name if pod is not None else ""
