"""The rules for Ingresses and their classes, NetworkPolicies, IPAddresses and ServiceCIDRs."""

from __future__ import annotations

import ipaddress

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.ingress import CLASS_ANNOTATION
from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking
from mizzen.api.validate_common import (
    PROTOCOLS,
    Errors,
    checked,
    immutable,
    label_selector,
    maybe_one_of,
    port,
    port_or_name,
    required,
    required_and,
)

CONTROLLER_MAX = 250

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDINGS = ("/..", "/.")
_POLICY_TYPES = ("Egress", "Ingress")
_NOT_IP = "must be a DNS name, not an IP address"
_CIDRS_MAX = 2


def create_ingress(ingress: networking.Ingress) -> Errors:
    """An Ingress that is about to be."""
    yield from validate_meta.create(ingress.metadata, formats.dns_subdomain, namespaced=True)
    yield from _ingress(ingress.spec)
    named, wanted = ingress.metadata.annotations.get(CLASS_ANNOTATION), ingress.spec.ingress_class_name
    if named is not None and wanted is not None and named != wanted:
        why = "must match `ingressClassName` when both are specified"
        yield FieldError.invalid(f"annotations.{CLASS_ANNOTATION}", named, why)


def update_ingress(new: networking.Ingress, old: networking.Ingress) -> Errors:
    """An Ingress that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _ingress(new.spec)


def update_ingress_status(new: networking.Ingress, old: networking.Ingress) -> Errors:
    """An Ingress' status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    for i, entry in enumerate(new.status.load_balancer.ingress):
        at = f"status.loadBalancer.ingress[{i}]"
        if entry.ip:
            yield from checked(f"{at}.ip", entry.ip, formats.ip_address)
        if entry.hostname:
            yield from _host(f"{at}.hostname", entry.hostname)


def _ingress(spec: networking.IngressSpec) -> Errors:
    if not spec.rules and spec.default_backend is None:
        yield FieldError.invalid("spec", spec.rules, "either `defaultBackend` or `rules` must be specified")
    if spec.default_backend is not None:
        yield from _backend("spec.defaultBackend", spec.default_backend)
    for i, rule in enumerate(spec.rules):
        yield from _rule(f"spec.rules[{i}]", rule)
    for i, tls in enumerate(spec.tls):
        for j, host in enumerate(tls.hosts):
            check = formats.wildcard_subdomain if "*" in host else formats.dns_subdomain
            yield from checked(f"spec.tls[{i}].hosts[{j}]", host, check)
        if tls.secret_name:
            yield from checked(f"spec.tls[{i}].secretName", tls.secret_name, formats.dns_subdomain)
    if spec.ingress_class_name is not None:
        yield from checked("spec.ingressClassName", spec.ingress_class_name, formats.dns_subdomain)


def _rule(path: str, rule: networking.IngressRule) -> Errors:
    if "*" in rule.host:
        yield from checked(f"{path}.host", rule.host, formats.wildcard_subdomain)
    elif rule.host:
        yield from _host(f"{path}.host", rule.host)
    if rule.http is None:
        return
    at = f"{path}.http.paths"
    yield from required(at, rule.http.paths)
    for i, entry in enumerate(rule.http.paths):
        yield from _path(f"{at}[{i}]", entry)


def _host(path: str, host: str) -> Errors:
    if not formats.ip_address(host):
        yield FieldError.invalid(path, host, _NOT_IP)
    yield from checked(path, host, formats.dns_subdomain)


def _path(path: str, entry: networking.HTTPIngressPath) -> Errors:
    if entry.path_type is None:
        yield FieldError.required(f"{path}.pathType", "pathType must be specified")
        return
    at, text = f"{path}.path", entry.path
    if entry.path_type in ("Exact", "Prefix"):
        yield from _absolute(at, text)
        for part in _BAD_SEQUENCES:
            if part in text:
                yield FieldError.invalid(at, text, f"must not contain '{part}'")
        for part in _BAD_ENDINGS:
            if text.endswith(part):
                yield FieldError.invalid(at, text, f"cannot end with '{part}'")
    elif entry.path_type == "ImplementationSpecific":
        if text:
            yield from _absolute(at, text)
    else:
        yield FieldError.unsupported(f"{path}.pathType", entry.path_type, _PATH_TYPES)
    yield from _backend(f"{path}.backend", entry.backend)


def _absolute(path: str, text: str) -> Errors:
    if not text.startswith("/"):
        yield FieldError.invalid(path, text, "must be an absolute path")


def _backend(path: str, backend: networking.IngressBackend) -> Errors:
    if backend.resource is not None and backend.service is not None:
        yield FieldError.invalid(path, "", "cannot set both resource and service backends")
    elif backend.resource is not None:
        yield from _typed(f"{path}.resource", backend.resource)
    elif backend.service is not None:
        yield from _service(path, backend.service)
    else:
        yield FieldError.invalid(path, "", "resource or service backend is required")


def _service(path: str, service: networking.IngressServiceBackend) -> Errors:
    yield from required_and(f"{path}.service.name", service.name, formats.dns_label)
    name, number = service.port.name, service.port.number
    if name and number:
        yield FieldError.invalid(path, "", "cannot set both port name & port number")
    elif name:
        yield from checked(f"{path}.service.port.name", name, formats.port_name)
    elif number:
        yield from port(f"{path}.service.port.number", number)
    else:
        yield FieldError.required(path, "port name or number is required")


def _typed(path: str, ref: core.TypedLocalObjectReference | networking.IngressClassParametersReference) -> Errors:
    """A reference to an object by group, kind and name."""
    if ref.api_group is not None:
        yield from checked(f"{path}.apiGroup", ref.api_group, formats.dns_subdomain)
    yield from required_and(f"{path}.kind", ref.kind, formats.path_segment)
    yield from required_and(f"{path}.name", ref.name, formats.path_segment)


def create_class(obj: networking.IngressClass) -> Errors:
    """An IngressClass that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _class(obj.spec)


def update_class(new: networking.IngressClass, old: networking.IngressClass) -> Errors:
    """An IngressClass that is about to be replaced: its controller stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("spec.controller", new.spec.controller, old.spec.controller)
    yield from _class(new.spec)


def _class(spec: networking.IngressClassSpec) -> Errors:
    yield from required_and("spec.controller", spec.controller, formats.domain_path)
    if len(spec.controller.encode()) > CONTROLLER_MAX:
        yield FieldError.too_long("spec.controller", CONTROLLER_MAX)
    given, path = spec.parameters, "spec.parameters"
    if given is None:
        return
    yield from _typed(path, given)
    if given.scope is None:
        yield FieldError.required(f"{path}.scope")
    elif given.scope == "Namespace":
        if given.namespace is None:
            yield FieldError.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            yield from checked(f"{path}.namespace", given.namespace, formats.dns_label)
    elif given.scope != "Cluster":
        yield FieldError.unsupported(f"{path}.scope", given.scope, ("Cluster", "Namespace"))
    elif given.namespace is not None:
        yield FieldError.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


def create_policy(policy: networking.NetworkPolicy) -> Errors:
    """A NetworkPolicy that is about to be."""
    yield from validate_meta.create(policy.metadata, formats.dns_subdomain, namespaced=True)
    yield from _policy(policy.spec)


def update_policy(new: networking.NetworkPolicy, old: networking.NetworkPolicy) -> Errors:
    """A NetworkPolicy that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _policy(new.spec)


def _policy(spec: networking.NetworkPolicySpec) -> Errors:
    yield from label_selector("spec.podSelector", spec.pod_selector)
    for i, ingress in enumerate(spec.ingress):
        yield from _policy_rule(f"spec.ingress[{i}]", ingress.ports, "from", ingress.from_)
    for i, egress in enumerate(spec.egress):
        yield from _policy_rule(f"spec.egress[{i}]", egress.ports, "to", egress.to)
    if len(spec.policy_types) > len(_POLICY_TYPES):
        yield FieldError.invalid("spec.policyTypes", spec.policy_types, "may not specify more than two policyTypes")
        return
    for i, type_ in enumerate(spec.policy_types):
        yield from maybe_one_of(f"spec.policyTypes[{i}]", type_, _POLICY_TYPES)


def _policy_rule(
    path: str,
    ports: tuple[networking.NetworkPolicyPort, ...],
    side: str,
    peers: tuple[networking.NetworkPolicyPeer, ...],
) -> Errors:
    for i, entry in enumerate(ports):
        yield from _policy_port(f"{path}.ports[{i}]", entry)
    for i, peer in enumerate(peers):
        yield from _peer(f"{path}.{side}[{i}]", peer)


def _policy_port(path: str, entry: networking.NetworkPolicyPort) -> Errors:
    yield from maybe_one_of(f"{path}.protocol", entry.protocol, PROTOCOLS)
    end, at = entry.end_port, f"{path}.endPort"
    if entry.port is None:
        if end is not None:
            yield FieldError.invalid(at, end, "may not be specified when `port` is not specified")
        return
    yield from port_or_name(f"{path}.port", entry.port)
    if end is None:
        return
    if isinstance(entry.port, str):
        yield FieldError.invalid(at, end, "may not be specified when `port` is non-numeric")
        return
    if end < entry.port:
        yield FieldError.invalid(at, end, "must be greater than or equal to `port`")
    yield from port(at, end)


def _peer(path: str, peer: networking.NetworkPolicyPeer) -> Errors:
    yield from label_selector(f"{path}.podSelector", peer.pod_selector)
    yield from label_selector(f"{path}.namespaceSelector", peer.namespace_selector)
    if peer.ip_block is not None:
        yield from _block(f"{path}.ipBlock", peer.ip_block)
    given = [part for part in (peer.pod_selector, peer.namespace_selector, peer.ip_block) if part is not None]
    if not given:
        yield FieldError.required(path, "must specify a peer")
    elif len(given) > 1 and peer.ip_block is not None:
        yield FieldError.forbidden(path, "may not specify both ipBlock and another peer")


def _block(path: str, block: networking.IPBlock) -> Errors:
    yield from required_and(f"{path}.cidr", block.cidr, formats.cidr)
    for i, text in enumerate(block.except_):
        at = f"{path}.except[{i}]"
        yield from checked(at, text, formats.cidr)
        if not formats.cidr(text) and not formats.cidr(block.cidr) and not _within(text, block.cidr):
            yield FieldError.invalid(at, text, "must be a strict subset of `cidr`")


def _within(inner: str, outer: str) -> bool:
    """Whether one range lies within another and is not the same."""
    small, large = ipaddress.ip_network(inner, strict=False), ipaddress.ip_network(outer, strict=False)
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small != large and small.subnet_of(large)
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small != large and small.subnet_of(large)
    return False


def create_address(obj: networking.IPAddress) -> Errors:
    """An IPAddress that is about to be: its name is the address."""
    yield from validate_meta.create(obj.metadata, _canonical_ip, namespaced=False)
    yield from _address(obj.spec)


def update_address(new: networking.IPAddress, old: networking.IPAddress) -> Errors:
    """An IPAddress that is about to be replaced: its owner stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _address(new.spec)
    yield from immutable("spec.parentRef", new.spec.parent_ref, old.spec.parent_ref)


def _canonical_ip(value: str) -> tuple[str, ...]:
    problems = formats.ip_address(value)
    if problems or str(ipaddress.ip_address(value)) == value:
        return problems
    return (f"must be in canonical form ({ipaddress.ip_address(value)!s})",)


def _address(spec: networking.IPAddressSpec) -> Errors:
    parent, path = spec.parent_ref, "spec.parentRef"
    if parent is None:
        yield FieldError.required(path)
        return
    if parent.group:
        yield from checked(f"{path}.group", parent.group, formats.dns_subdomain)
    yield from required_and(f"{path}.resource", parent.resource, formats.path_segment)
    yield from required_and(f"{path}.name", parent.name, formats.path_segment)
    if parent.namespace:
        yield from checked(f"{path}.namespace", parent.namespace, formats.path_segment)


def create_range(obj: networking.ServiceCIDR) -> Errors:
    """A ServiceCIDR that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _range(obj.spec.cidrs)


def update_range(new: networking.ServiceCIDR, old: networking.ServiceCIDR) -> Errors:
    """A ServiceCIDR that is about to be replaced: a second family may be added, no more."""
    yield from validate_meta.update(new.metadata, old.metadata)
    after, before = new.spec.cidrs, old.spec.cidrs
    if len(before) == 1 and len(after) == _CIDRS_MAX:
        yield from immutable("spec.cidrs[0]", after[0], before[0])
    else:
        yield from immutable("spec.cidrs", after, before)
    yield from _range(after)


def update_range_status(new: networking.ServiceCIDR, old: networking.ServiceCIDR) -> Errors:
    """A ServiceCIDR's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)


def _range(ranges: tuple[str, ...]) -> Errors:
    path = "spec.cidrs"
    yield from required(path, ranges, "at least one CIDR required")
    if len(ranges) > _CIDRS_MAX:
        yield FieldError.invalid(path, ranges, "may only hold up to 2 values")
        return
    families = set()
    for i, text in enumerate(ranges):
        problems = formats.cidr(text)
        yield from checked(f"{path}[{i}]", text, formats.cidr)
        if problems:
            return
        network = ipaddress.ip_network(text, strict=False)
        if str(network) != text:
            yield FieldError.invalid(f"{path}[{i}]", text, f'must be in canonical form ("{network}")')
        families.add(network.version)
    if len(families) < len(ranges):
        why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        yield FieldError.invalid(path, ranges, why)
