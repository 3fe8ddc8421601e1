"""Ranges of cluster IPs, and who has which: what all read and write ServiceCIDR and IPAddress objects by. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking

DEFAULT_RANGE = "kubernetes"
"""The name of the range that a cluster begins with."""
RANGE_FINALIZER = "networking.k8s.io/service-cidr-finalizer"
FAMILY = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
ALLOCATOR = "ipallocator.k8s.io"
"""Who manages the addresses that services were given, in tools' words."""
HEADLESS = "None"

Network: TypeAlias = IPv4Network | IPv6Network


@lru_cache(maxsize=64)
def network(cidr: str) -> Network:
    """A range as a value. Raises ValueError for what is none."""
    return ip_network(cidr)


def contains(cidr: str, address: str) -> bool:
    """Whether an address, as text, is one that a service can have out of a range."""
    try:
        place = int(ip_address(address)) - int(network(cidr).network_address)
    except ValueError:
        return False
    # Versions may differ, and the first and the last address of an IPv4 network are nobody's.
    return (":" in address) == (":" in cidr) and 0 < place < network(cidr).num_addresses - 1


def covers(outer: str, inner: str) -> bool:
    """Whether all of a range lies within another, or is the same."""
    large, small = network(outer), network(inner)
    if isinstance(large, IPv4Network):
        return isinstance(small, IPv4Network) and small.subnet_of(large)
    return isinstance(small, IPv6Network) and small.subnet_of(large)


def family_of(text: str) -> str:
    """`IPv4` or `IPv6`, of an address or a range as text."""
    return "IPv6" if ":" in text else "IPv4"


def is_ready(item: networking.ServiceCIDR) -> bool:
    """Whether services are given addresses of a range."""
    ready = any(one.type == "Ready" and one.status == "True" for one in item.status.conditions)
    return ready and item.metadata.deletion_timestamp is None


def new_address(ip: str, namespace: str, name: str) -> networking.IPAddress:
    """An address that a service is given."""
    parent = networking.ParentReference(resource="services", namespace=namespace, name=name)
    labels = {FAMILY: family_of(ip), MANAGED_BY: ALLOCATOR}
    return networking.IPAddress(
        metadata=meta.ObjectMeta(name=ip, labels=labels), spec=networking.IPAddressSpec(parent_ref=parent)
    )


def is_allocated(address: networking.IPAddress) -> bool:
    """Whether an address was given to a service; others are their makers'."""
    return address.metadata.labels.get(MANAGED_BY) == ALLOCATOR


def service_of(address: networking.IPAddress) -> tuple[str, str] | None:
    """Namespace and name of the service that has an address; None where it belongs to something else."""
    parent = address.spec.parent_ref
    if parent is None or parent.group or parent.resource != "services":
        return None
    return parent.namespace, parent.name


def addresses_of(service: core.Service) -> tuple[str, ...]:
    """The addresses that a service has out of ranges."""
    if service.spec.type == "ExternalName":
        return ()
    return tuple(ip for ip in service.spec.cluster_ips if ip != HEADLESS)
