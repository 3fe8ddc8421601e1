"""The rules for Services."""

from __future__ import annotations

import ipaddress

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import (
    PROTOCOLS,
    Errors,
    checked,
    label_key,
    labels,
    maybe_one_of,
    one_of,
    port,
    port_or_name,
    unique,
    within,
)

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
HEADLESS = "None"
AFFINITY_MAX_S = 86_400

_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_POLICIES = ("Cluster", "Local")
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def create(service: core.Service) -> Errors:
    """A service that is about to be."""
    yield from validate_meta.create(service.metadata, formats.dns_label_1035, namespaced=True)
    yield from _spec(service.spec)


def update(new: core.Service, old: core.Service) -> Errors:
    """A service that is about to be replaced: its addresses stay."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _addresses_stay(new.spec, old.spec)
    changed = new.spec.health_check_node_port != old.spec.health_check_node_port
    if needs_health_check(new.spec) and needs_health_check(old.spec) and changed:
        yield FieldError.forbidden("spec.healthCheckNodePort", "field is immutable")
    if (
        new.spec.type == old.spec.type == "LoadBalancer"
        and new.spec.load_balancer_class != old.spec.load_balancer_class
    ):
        yield FieldError.invalid("spec.loadBalancerClass", new.spec.load_balancer_class, "may not change once set")
    yield from _spec(new.spec)


def update_status(new: core.Service, old: core.Service) -> Errors:
    """A service's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    ingress = new.status.load_balancer.ingress
    if ingress and new.spec.type != "LoadBalancer":
        why = "may only be used when `spec.type` is 'LoadBalancer'"
        yield FieldError.forbidden("status.loadBalancer.ingress", why)
    for i, entry in enumerate(ingress):
        at = f"status.loadBalancer.ingress[{i}]"
        if entry.ip:
            yield from checked(f"{at}.ip", entry.ip, formats.ip_address)
        if entry.hostname:
            yield from checked(f"{at}.hostname", entry.hostname, formats.dns_subdomain)


def is_headless(spec: core.ServiceSpec) -> bool:
    """Whether a service has no address of its own."""
    return spec.cluster_ip == HEADLESS or spec.cluster_ips == (HEADLESS,)


def is_outside(spec: core.ServiceSpec) -> bool:
    """Whether a service can be reached from outside of the cluster."""
    return spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def needs_health_check(spec: core.ServiceSpec) -> bool:
    """Whether a load balancer has to ask the nodes which of them have a pod."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def _spec(spec: core.ServiceSpec) -> Errors:
    yield from one_of("spec.type", spec.type, TYPES)
    yield from _by_type(spec)
    yield from _ports(spec)
    yield from labels("spec.selector", spec.selector)
    yield from _affinity(spec)
    if spec.type != "ExternalName":
        yield from _addresses(spec)
    for i, address in enumerate(spec.external_ips):
        yield from not_special(f"spec.externalIPs[{i}]", address)
    yield from _balancer(spec)
    yield from _traffic(spec)


def _by_type(spec: core.ServiceSpec) -> Errors:
    if not spec.ports and not is_headless(spec) and spec.type != "ExternalName":
        yield FieldError.required("spec.ports")
    if spec.type in ("LoadBalancer", "NodePort") and is_headless(spec):
        why = f"may not be set to 'None' for {spec.type} services"
        yield FieldError.invalid("spec.clusterIPs[0]", HEADLESS, why)
    if spec.type != "ExternalName":
        return
    for name, value in (
        ("clusterIPs", spec.cluster_ips), ("ipFamilies", spec.ip_families), ("ipFamilyPolicy", spec.ip_family_policy)
    ):  # fmt: skip
        if value:
            yield FieldError.forbidden(f"spec.{name}", "may not be set for ExternalName services")
    external = spec.external_name.removesuffix(".")
    if external:
        yield from checked("spec.externalName", external, formats.dns_subdomain)
    else:
        yield FieldError.required("spec.externalName")


def _ports(spec: core.ServiceSpec) -> Errors:
    names: set[str] = set()
    pairs: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for i, entry in enumerate(spec.ports):
        at = f"spec.ports[{i}]"
        yield from _port(at, entry, names, required=len(spec.ports) > 1)
        if entry.node_port:
            if spec.type == "ClusterIP":
                yield FieldError.forbidden(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'")
            if (entry.protocol, entry.node_port) in node_ports:
                yield FieldError.duplicate(f"{at}.nodePort", entry.node_port)
            node_ports.add((entry.protocol, entry.node_port))
        if (entry.protocol, entry.port) in pairs:
            yield FieldError.duplicate(at, {"protocol": entry.protocol, "port": entry.port})
        pairs.add((entry.protocol, entry.port))


def _port(path: str, entry: core.ServicePort, names: set[str], *, required: bool) -> Errors:
    if entry.name:
        yield from checked(f"{path}.name", entry.name, formats.dns_label)
        yield from unique(f"{path}.name", entry.name, names)
    elif required:
        yield FieldError.required(f"{path}.name")
    yield from port(f"{path}.port", entry.port)
    yield from one_of(f"{path}.protocol", entry.protocol, PROTOCOLS)
    yield from port_or_name(f"{path}.targetPort", entry.target_port)
    if entry.app_protocol is not None:
        yield from label_key(f"{path}.appProtocol", entry.app_protocol)


def _affinity(spec: core.ServiceSpec) -> Errors:
    yield from one_of("spec.sessionAffinity", spec.session_affinity, ("ClientIP", "None"))
    path = "spec.sessionAffinityConfig"
    config = spec.session_affinity_config
    if spec.session_affinity == "None":
        if config is not None:
            yield FieldError.forbidden(path, "must not be set when session affinity is None")
        return
    timeout = config.client_ip.timeout_seconds if config and config.client_ip else None
    if timeout is None:
        yield FieldError.required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")
    elif not 0 < timeout <= AFFINITY_MAX_S:
        why = f"must be greater than 0 and less than {AFFINITY_MAX_S}"
        yield FieldError.invalid(f"{path}.clientIP.timeoutSeconds", timeout, why)


def _addresses(spec: core.ServiceSpec) -> Errors:
    path, addresses = "spec.clusterIPs", spec.cluster_ips
    if spec.cluster_ip and not addresses:
        yield FieldError.required(path)
    elif spec.cluster_ip and addresses[0] != spec.cluster_ip:
        yield FieldError.invalid(path, addresses, "first value must match `clusterIP`")
    elif addresses and not spec.cluster_ip:
        yield FieldError.invalid(path, addresses, "must be empty when `clusterIP` is not specified")
    families: set[str] = set()
    for i, family in enumerate(spec.ip_families):
        yield from maybe_one_of(f"spec.ipFamilies[{i}]", family, ("IPv4", "IPv6"))
        yield from unique(f"spec.ipFamilies[{i}]", family, families)
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    yield from maybe_one_of("spec.ipFamilyPolicy", spec.ip_family_policy, policies)
    if HEADLESS in addresses:
        if len(addresses) > 1:
            yield FieldError.invalid(path, addresses, "'None' must be the first and only value")
        return
    yield from _families_of(path, spec)


def _families_of(path: str, spec: core.ServiceSpec) -> Errors:
    """At most one address of each family, in the order of the families."""
    addresses = spec.cluster_ips
    if len(addresses) > 2:
        yield FieldError.invalid(path, addresses, "may only hold up to 2 values")
    families: list[str] = []
    for i, address in enumerate(addresses):
        problems = formats.ip_address(address)
        for problem in problems:
            yield FieldError.invalid(f"{path}[{i}]", address, problem)
        if problems:
            return
        family = f"IPv{ipaddress.ip_address(address).version}"
        families.append(family)
        if i < len(spec.ip_families) and spec.ip_families[i] != family:
            why = f"expected an {spec.ip_families[i]} value as indicated by `ipFamilies[{i}]`"
            yield FieldError.invalid(f"{path}[{i}]", address, why)
    if len(set(families)) != len(families):
        yield FieldError.invalid(path, addresses, "may specify no more than one IP for each IP family")


def _addresses_stay(new: core.ServiceSpec, old: core.ServiceSpec) -> Errors:
    if "ExternalName" in (new.type, old.type) or (is_headless(new) and is_headless(old)):
        return
    path = "spec.clusterIPs"
    if old.cluster_ips and not new.cluster_ips:
        yield FieldError.invalid(f"{path}[0]", new.cluster_ips, "primary clusterIP can not be unset")
        return
    for i, (after, before) in enumerate(zip(new.cluster_ips, old.cluster_ips, strict=False)):
        if after != before:
            yield FieldError.invalid(f"{path}[{i}]", new.cluster_ips, "may not change once set")
    for i, (after, before) in enumerate(zip(new.ip_families, old.ip_families, strict=False)):
        if after != before:
            yield FieldError.invalid(f"spec.ipFamilies[{i}]", new.ip_families, "may not change once set")


def _balancer(spec: core.ServiceSpec) -> Errors:
    balanced = spec.type == "LoadBalancer"
    if spec.load_balancer_source_ranges and not balanced:
        yield FieldError.forbidden("spec.LoadBalancerSourceRanges", _ONLY_BALANCER)
    for i, source in enumerate(spec.load_balancer_source_ranges):
        yield from checked(f"spec.LoadBalancerSourceRanges[{i}]", source.strip(), formats.cidr)
    if spec.allocate_load_balancer_node_ports is not None and not balanced:
        yield FieldError.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER)
    if spec.load_balancer_class is not None:
        if not balanced:
            yield FieldError.forbidden("spec.loadBalancerClass", _ONLY_BALANCER)
        yield from label_key("spec.loadBalancerClass", spec.load_balancer_class)


def _traffic(spec: core.ServiceSpec) -> Errors:
    outside, policy = is_outside(spec), spec.external_traffic_policy
    if outside:
        yield from one_of("spec.externalTrafficPolicy", policy, _POLICIES)
    elif policy:
        why = "may only be set for externally-accessible services"
        yield FieldError.invalid("spec.externalTrafficPolicy", policy, why)
    if needs_health_check(spec):
        if spec.health_check_node_port:
            yield from within("spec.healthCheckNodePort", spec.health_check_node_port, 1, 65535)
    elif spec.health_check_node_port:
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield FieldError.invalid("spec.healthCheckNodePort", spec.health_check_node_port, why)
    if spec.internal_traffic_policy is None and spec.type in ("NodePort", "LoadBalancer", "ClusterIP"):
        yield FieldError.required("spec.internalTrafficPolicy")
    yield from maybe_one_of("spec.internalTrafficPolicy", spec.internal_traffic_policy, _POLICIES)
    yield from maybe_one_of("spec.trafficDistribution", spec.traffic_distribution, _DISTRIBUTIONS)


def not_special(path: str, value: str) -> Errors:
    """An address that traffic can be sent to from anywhere in the cluster."""
    problems = formats.ip_address(value)
    for problem in problems:
        yield FieldError.invalid(path, value, problem)
    if problems:
        return
    address = ipaddress.ip_address(value)
    if address.is_unspecified:
        yield FieldError.invalid(path, value, f"may not be unspecified ({value})")
    if address.is_loopback:
        yield FieldError.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield FieldError.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address in ipaddress.ip_network("224.0.0.0/24") or address in ipaddress.ip_network("ff02::/16"):
        why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        yield FieldError.invalid(path, value, why)
