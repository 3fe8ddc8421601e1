"""Cluster IPs: out of the ranges that are ready, one for each family that a service wants, each claimed by an object.

The IPAddress of the address's name is written in the commit that gives it to the service, so no two services get one.
It goes after its service has (a controller sees to it); whoever meets one before that takes it over.
"""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission import allocation
from controlplane.admission.request import Request, Settings
from mizzen.api import kinds, service_ranges, times
from mizzen.api.errors import AlreadyExists, ApiError, Conflict, FieldError, InternalError, Invalid, NotFound
from mizzen.api.managed import objects as managed
from mizzen.api.managed.entries import Writer
from mizzen.api.service_ranges import addresses_of, contains, family_of, is_allocated, is_ready, new_address
from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write, creation, replacement

MANAGER = "kube-apiserver"
_BOTH = ("IPv4", "IPv6")


def allocate(
    request: Request, service: core.Service, had: tuple[str, ...], view: View, settings: Settings
) -> core.Service:
    """The service with an address of each family it wants. Raises Invalid or InternalError."""
    ranges = _ranges(view, settings)
    families = _families(request, service, ranges)
    ips = list(service.spec.cluster_ips)
    for ip in ips:
        problem = "" if ip in had else _problem(ip, ranges, view)
        if problem:
            why = f"failed to allocate IP {ip}: {problem}"
            raise _invalid(request, service, FieldError.invalid("spec.clusterIPs", ips, why))
    ips += [_picked(service, family, ranges, view) for family in families[len(ips) :]]
    spec = replace(service.spec, cluster_ip=ips[0], cluster_ips=tuple(ips), ip_families=families)
    return replace(service, spec=spec)


def _ranges(view: View, settings: Settings) -> tuple[str, ...]:
    """Where addresses may be from."""
    present = view.list(kinds.SERVICE_CIDR)
    ready = tuple(cidr for item in present if is_ready(item) for cidr in item.spec.cidrs)
    begins = not any(item.metadata.deletion_timestamp for item in present)
    return ready or ((settings.service_cidr,) if begins else ())


def _families(request: Request, service: core.Service, ranges: tuple[str, ...]) -> tuple[str, ...]:
    spec = service.spec
    there = {family_of(cidr) for cidr in ranges}
    for place, family in enumerate(spec.ip_families):
        if there and family not in there and place >= len(spec.cluster_ips):
            why = "not configured on this cluster"
            raise _invalid(request, service, FieldError.invalid(f"spec.ipFamilies[{place}]", family, why))
    if spec.ip_family_policy not in ("PreferDualStack", "RequireDualStack") or len(spec.ip_families) > 1:
        return spec.ip_families
    (other,) = (family for family in _BOTH if family not in spec.ip_families)
    if other in there:
        return (*spec.ip_families, other)
    if spec.ip_family_policy == "RequireDualStack":
        why = "this cluster is not configured for dual-stack services"
        raise _invalid(request, service, FieldError.invalid("spec.ipFamilyPolicy", spec.ip_family_policy, why))
    return spec.ip_families


def _invalid(request: Request, service: core.Service, error: FieldError) -> Invalid:
    return Invalid(request.kind, service.metadata.name, [error])


def _problem(ip: str, ranges: tuple[str, ...], view: View) -> str:
    if not any(contains(cidr, ip) for cidr in ranges):
        valid = ", ".join(ranges)
        return f"the provided IP ({ip}) is not in the valid range. The range of valid IPs is {valid}"
    return "" if _is_free(ip, view) else "provided IP is already allocated"


def _is_free(ip: str, view: View) -> bool:
    present = view.get(kinds.IP_ADDRESS, "", ip)
    return present is None or (is_allocated(present) and not _is_used(present, view))


def _is_used(address: networking.IPAddress, view: View) -> bool:
    place = service_ranges.service_of(address)
    service = view.get(kinds.SERVICE, *place) if place is not None else None
    return service is not None and address.metadata.name in addresses_of(service)


def _picked(service: core.Service, family: str, ranges: tuple[str, ...], view: View) -> str:
    tried = [cidr for cidr in ranges if family_of(cidr) == family]
    for cidr in tried:
        ip = allocation.pick_ip(cidr, service.metadata.uid, lambda ip: _is_free(ip, view))
        if ip is not None:
            return ip
    full = f"range {', '.join(tried)} is full" if tried else f"no range of {family} is ready"
    raise InternalError(f"failed to allocate a serviceIP: {full}")


def claims(service: core.Service, addresses: tuple[str, ...], view: View, now: Instant, ids: Ids) -> tuple[Write, ...]:
    """The writes that must happen together with the service's, so that these addresses are its own."""
    writes: list[Write] = []
    for ip in addresses:
        made = new_address(ip, service.metadata.namespace, service.metadata.name)
        stamp = times.render(now)
        made = replace(made, metadata=replace(made.metadata, uid=ids.uid("ipaddress"), creation_timestamp=stamp))
        made = managed.with_entries(made, managed.created(made, Writer(MANAGER, made.api_version), stamp))
        left = view.get(kinds.IP_ADDRESS, "", ip)
        writes.append(creation(made) if left is None else replacement(made, int(left.metadata.resource_version)))
    return tuple(writes)


def is_lost(error: ApiError) -> bool:
    """Whether a commit did not happen because an address is not any longer free."""
    details = error.details
    lost = isinstance(error, AlreadyExists | Conflict | NotFound)
    return lost and details is not None and details.kind == kinds.IP_ADDRESS.plural
