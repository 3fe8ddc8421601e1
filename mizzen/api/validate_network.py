"""The rules for Endpoints and EndpointSlices."""

from __future__ import annotations

import ipaddress

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.validate_common import PROTOCOLS, Errors, checked, immutable, label_key, labels, one_of, port, unique
from mizzen.api.validate_service import not_special

ENDPOINTS_MAX = 1000
ADDRESSES_MAX = 100
PORTS_MAX = 100
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")

_TOPOLOGY_MAX = 16
_HINTS_MAX = 8


def create_endpoints(endpoints: core.Endpoints) -> Errors:
    """Endpoints that are about to be."""
    yield from validate_meta.create(endpoints.metadata, formats.dns_subdomain, namespaced=True)
    yield from _subsets(endpoints)


def update_endpoints(new: core.Endpoints, old: core.Endpoints) -> Errors:
    """Endpoints that are about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _subsets(new)


def _subsets(endpoints: core.Endpoints) -> Errors:
    for i, subset in enumerate(endpoints.subsets):
        path = f"subsets[{i}]"
        if not subset.addresses and not subset.not_ready_addresses:
            yield FieldError.required(path, "must specify `addresses` or `notReadyAddresses`")
        for field, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for j, address in enumerate(addresses):
                yield from _address(f"{path}.{field}[{j}]", address)
        for j, entry in enumerate(subset.ports):
            yield from _port(f"{path}.ports[{j}]", entry, named=len(subset.ports) > 1)


def _address(path: str, address: core.EndpointAddress) -> Errors:
    yield from not_special(f"{path}.ip", address.ip)
    if address.hostname:
        yield from checked(f"{path}.hostname", address.hostname, formats.dns_label)
    if address.node_name is not None:
        yield from checked(f"{path}.nodeName", address.node_name, formats.dns_subdomain)


def _port(path: str, entry: core.EndpointPort, *, named: bool) -> Errors:
    if entry.name:
        yield from checked(f"{path}.name", entry.name, formats.dns_label)
    elif named:
        yield FieldError.required(f"{path}.name")
    yield from port(f"{path}.port", entry.port)
    yield from one_of(f"{path}.protocol", entry.protocol, PROTOCOLS)
    if entry.app_protocol is not None:
        yield from label_key(f"{path}.appProtocol", entry.app_protocol)


def create_slice(slice_: discovery.EndpointSlice) -> Errors:
    """An EndpointSlice that is about to be."""
    yield from validate_meta.create(slice_.metadata, formats.dns_subdomain, namespaced=True)
    yield from _slice(slice_)


def update_slice(new: discovery.EndpointSlice, old: discovery.EndpointSlice) -> Errors:
    """An EndpointSlice that is about to be replaced: the type of its addresses stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _slice(new)
    yield from immutable("addressType", new.address_type, old.address_type)


def _slice(slice_: discovery.EndpointSlice) -> Errors:
    yield from one_of("addressType", slice_.address_type, ADDRESS_TYPES)
    if len(slice_.endpoints) > ENDPOINTS_MAX:
        yield FieldError.too_many("endpoints", len(slice_.endpoints), ENDPOINTS_MAX)
    else:
        for i, endpoint in enumerate(slice_.endpoints):
            yield from _endpoint(f"endpoints[{i}]", endpoint, slice_.address_type)
    if len(slice_.ports) > PORTS_MAX:
        yield FieldError.too_many("ports", len(slice_.ports), PORTS_MAX)
        return
    names: set[str] = set()
    for i, entry in enumerate(slice_.ports):
        yield from _slice_port(f"ports[{i}]", entry, names)


def _endpoint(path: str, endpoint: discovery.Endpoint, address_type: str) -> Errors:
    if not endpoint.addresses:
        yield FieldError.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(endpoint.addresses) > ADDRESSES_MAX:
        yield FieldError.too_many(f"{path}.addresses", len(endpoint.addresses), ADDRESSES_MAX)
    for i, address in enumerate(endpoint.addresses):
        yield from _of_type(f"{path}.addresses[{i}]", address, address_type)
    if len(endpoint.deprecated_topology) > _TOPOLOGY_MAX:
        yield FieldError.too_many(f"{path}.deprecatedTopology", len(endpoint.deprecated_topology), _TOPOLOGY_MAX)
    yield from labels(f"{path}.deprecatedTopology", endpoint.deprecated_topology)
    if endpoint.hostname is not None:
        yield from checked(f"{path}.hostname", endpoint.hostname, formats.dns_label)
    if endpoint.node_name is not None:
        yield from checked(f"{path}.nodeName", endpoint.node_name, formats.dns_subdomain)
    if endpoint.hints is not None and len(endpoint.hints.for_zones) > _HINTS_MAX:
        yield FieldError.too_many(f"{path}.hints.forZones", len(endpoint.hints.for_zones), _HINTS_MAX)


def _of_type(path: str, address: str, address_type: str) -> Errors:
    if address_type == "FQDN":
        yield from checked(path, address.removesuffix("."), formats.dns_subdomain)
        if "." not in address.removesuffix("."):
            yield FieldError.invalid(path, address, "should be a domain with at least two segments separated by dots")
        return
    yield from not_special(path, address)
    if not formats.ip_address(address) and f"IPv{ipaddress.ip_address(address).version}" != address_type:
        yield FieldError.invalid(path, address, f"must be an {address_type} address")


def _slice_port(path: str, entry: discovery.EndpointPort, names: set[str]) -> Errors:
    name = entry.name or ""
    if name:
        yield from checked(f"{path}.name", name, formats.dns_label)
    yield from unique(f"{path}.name", name, names)
    yield from one_of(f"{path}.protocol", entry.protocol or "", PROTOCOLS)
    if entry.app_protocol is not None:
        yield from label_key(f"{path}.appProtocol", entry.app_protocol)
