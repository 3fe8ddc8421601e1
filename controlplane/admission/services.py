"""Services get an address in the cluster and, where they ask for it, ports on every node; they keep both.

An update that leaves an allocated value out keeps it; one that changes the type so that a value has no meaning any
longer drops it, unless the client insists on another value.
"""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission import allocation, cluster_ips
from controlplane.admission.allocation import port_claim
from controlplane.admission.request import Admitted, Request, Settings, unique
from mizzen.api.errors import FieldError, Forbidden, InternalError, Invalid
from mizzen.api.service_ranges import HEADLESS, addresses_of, family_of
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_service import is_outside, needs_health_check
from mizzen.engine import indexes
from mizzen.engine.view import View


def claims_of(service: core.Service) -> tuple[str, ...]:
    """What a service holds beside its addresses."""
    return unique(port_claim(port) for port in _node_ports(service.spec))


def _node_ports(spec: core.ServiceSpec) -> tuple[int, ...]:
    numbers = (*(port.node_port for port in spec.ports), spec.health_check_node_port)
    return tuple(number for number in numbers if number)


def _needs_ip(spec: core.ServiceSpec) -> bool:
    return spec.type != "ExternalName"


def _needs_ports(spec: core.ServiceSpec) -> bool:
    return spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )


def normalise(service: core.Service) -> core.Service:
    """The service with both ways of writing its address filled from the other."""
    spec = service.spec
    if spec.cluster_ip and not spec.cluster_ips:
        spec = replace(spec, cluster_ips=(spec.cluster_ip,))
    elif spec.cluster_ips and not spec.cluster_ip:
        spec = replace(spec, cluster_ip=spec.cluster_ips[0])
    if _needs_ip(spec):
        given = tuple(family_of(ip) for ip in spec.cluster_ips if ip != HEADLESS)
        policy = "RequireDualStack" if len(spec.ip_families or given) > 1 else "SingleStack"
        spec = replace(
            spec,
            ip_families=spec.ip_families or given or ("IPv4",),
            ip_family_policy=spec.ip_family_policy or policy,
        )
    return replace(service, spec=spec)


def carry_over(service: core.Service, old: core.Service) -> core.Service:
    """The changed service with the allocated values of the stored one that it neither names nor gives up."""
    spec, before = service.spec, old.spec
    if _needs_ip(before) and _needs_ip(spec) and not spec.cluster_ip and not spec.cluster_ips:
        spec = replace(spec, cluster_ip=before.cluster_ip, cluster_ips=before.cluster_ips)
    elif _needs_ip(spec) and spec.cluster_ip != before.cluster_ip and spec.cluster_ips == before.cluster_ips:
        # Whoever knows only one way of writing it changes only that; the other one follows.
        spec = replace(spec, cluster_ips=(spec.cluster_ip,) if spec.cluster_ip else ())
    elif not _needs_ip(spec) and spec.cluster_ip == before.cluster_ip:
        spec = replace(spec, cluster_ip="", cluster_ips=(), ip_families=(), ip_family_policy=None)
    if _needs_ports(before) and _needs_ports(spec):
        spec = replace(spec, ports=_with_ports_of(spec.ports, before.ports))
    elif _needs_ports(before):
        spec = replace(spec, ports=_without_ports_of(spec.ports, before.ports))
    return normalise(replace(service, spec=_without_leftovers(spec, before)))


def _without_leftovers(spec: core.ServiceSpec, before: core.ServiceSpec) -> core.ServiceSpec:
    """The spec without unchanged values that belong to the type that it had."""
    if is_outside(before) and not is_outside(spec) and spec.external_traffic_policy == before.external_traffic_policy:
        spec = replace(spec, external_traffic_policy="")
    if needs_health_check(before) and not needs_health_check(spec):
        if spec.health_check_node_port == before.health_check_node_port:
            spec = replace(spec, health_check_node_port=0)
    elif needs_health_check(spec) and not spec.health_check_node_port:
        spec = replace(spec, health_check_node_port=before.health_check_node_port)
    if before.type == "LoadBalancer" != spec.type:
        if spec.load_balancer_class == before.load_balancer_class:
            spec = replace(spec, load_balancer_class=None)
        if spec.allocate_load_balancer_node_ports == before.allocate_load_balancer_node_ports:
            spec = replace(spec, allocate_load_balancer_node_ports=None)
    return spec


def _with_ports_of(
    ports: tuple[core.ServicePort, ...], old: tuple[core.ServicePort, ...]
) -> tuple[core.ServicePort, ...]:
    known = {(port.protocol, port.port): port.node_port for port in old}
    used = {port.node_port for port in ports}
    kept = []
    for port in ports:
        number = known.get((port.protocol, port.port), 0)
        kept.append(port if port.node_port or number in used else replace(port, node_port=number))
    return tuple(kept)


def _without_ports_of(
    ports: tuple[core.ServicePort, ...], old: tuple[core.ServicePort, ...]
) -> tuple[core.ServicePort, ...]:
    known = {port.node_port for port in old}
    return tuple(replace(port, node_port=0) if port.node_port in known else port for port in ports)


def allocate(
    request: Request, service: core.Service, old: core.Service | None, view: View, settings: Settings
) -> Admitted:
    """The service with its addresses and ports, and which of them are new.

    Raises Forbidden, Invalid or InternalError.
    """
    if not settings.external_ips:
        _refuse_external_ips(request, service, old)
    held = frozenset(claims_of(old)) if old else frozenset()
    had = addresses_of(old) if old else ()
    if _needs_ip(service.spec) and service.spec.cluster_ip != HEADLESS:
        service = cluster_ips.allocate(request, service, had, view, settings)
    service = _with_node_ports(request, service, settings, _Ports(request, service, view, held))
    claims = tuple(claim for claim in claims_of(service) if claim not in held)
    return Admitted(service, claims=claims, addresses=tuple(ip for ip in addresses_of(service) if ip not in had))


def _refuse_external_ips(request: Request, service: core.Service, old: core.Service | None) -> None:
    """Whoever may make a service could else take over the traffic to any address; those that are there may stay."""
    had = old.spec.external_ips if old is not None else ()
    if any(ip not in had for ip in service.spec.external_ips):
        why = "use of external IPs is denied; the server allows it with --allow-external-ips"
        raise Forbidden(request.kind, service.metadata.name, f"spec.externalIPs: {why}")


class _Ports:
    """Which node ports a service may have."""

    def __init__(self, request: Request, service: core.Service, view: View, held: frozenset[str]) -> None:
        self._taken = request.taken
        self._uid = service.metadata.uid
        self._view = view
        self._held = held

    def is_free(self, port: int) -> bool:
        """Whether no other service has a port, as far as is known."""
        claim = port_claim(port)
        if claim in self._held:
            return True
        others = self._view.select(indexes.SERVICES_BY_NODE_PORT, str(port))
        return claim not in self._taken and all(other.metadata.uid == self._uid for other in others)

    def holds(self, port: int) -> bool:
        """Whether the service has it already."""
        return port_claim(port) in self._held


def _with_node_ports(request: Request, service: core.Service, settings: Settings, ports: _Ports) -> core.Service:
    spec = service.spec
    named = [(f"spec.ports[{place}].nodePort", port.node_port) for place, port in enumerate(spec.ports)]
    for field, number in (*named, ("spec.healthCheckNodePort", spec.health_check_node_port)):
        problem = _port_problem(number, settings, ports) if number else ""
        if problem:
            raise Invalid(request.kind, service.metadata.name, [FieldError.invalid(field, number, problem)])
    busy = set(_node_ports(spec))
    if _needs_ports(spec):
        spec = replace(spec, ports=_numbered(service, settings, ports, busy))
    if needs_health_check(spec) and not spec.health_check_node_port:
        seed = f"{service.metadata.uid}/health"
        spec = replace(spec, health_check_node_port=_free_port(settings, seed, ports, busy))
    return replace(service, spec=spec)


def _numbered(service: core.Service, settings: Settings, free: _Ports, busy: set[int]) -> tuple[core.ServicePort, ...]:
    """The service's ports, each with a node port; the same port for another protocol has the same one."""
    ports: list[core.ServicePort] = []
    by_port: dict[int, int] = {}
    for place, port in enumerate(service.spec.ports):
        number = port.node_port or by_port.get(port.port, 0)
        number = number or _free_port(settings, f"{service.metadata.uid}/{place}", free, busy)
        by_port[port.port] = number
        ports.append(replace(port, node_port=number))
    return tuple(ports)


def _free_port(settings: Settings, seed: str, free: _Ports, busy: set[int]) -> int:
    number = allocation.pick_port(
        settings.node_port_first, settings.node_port_last, seed, lambda port: port not in busy and free.is_free(port)
    )
    if number is None:
        raise InternalError("failed to allocate a nodePort: range is full")
    busy.add(number)
    return number


def _port_problem(port: int, settings: Settings, ports: _Ports) -> str:
    if ports.holds(port):
        return ""
    first, last = settings.node_port_first, settings.node_port_last
    if not first <= port <= last:
        return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
    return "" if ports.is_free(port) else "provided port is already allocated"
