"""Keeps what services were given and the objects that say so in step: cluster IPs, IPAddresses, node ports.

An address is claimed in the commit that gives it to its service. What is repaired here is what others have done to
these objects since; what two services have, or what is out of range, is told, and for people to put in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.service_ranges import (
    addresses_of,
    contains,
    family_of,
    is_allocated,
    new_address,
    service_of,
)
from mizzen.api.types import core_v1, networking_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "ipallocator-repair-controller"
PORTS_COMPONENT = "portallocator-repair-controller"


def reconcile_service(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One service: each of its addresses is its own."""
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    if service is None or service.metadata.deletion_timestamp is not None:
        return Decision()
    effects = [effect for ip in addresses_of(service) for effect in _address(service, ip, view)]
    return Decision((*effects, *_ports(service, view)))


def _address(service: core_v1.Service, ip: str, view: View) -> Iterator[Effect]:
    namespace, name, about = service.metadata.namespace, service.metadata.name, f"[{family_of(ip)}]: {ip}"
    ranges = [cidr for item in view.list(kinds.SERVICE_CIDR) for cidr in item.spec.cidrs]
    if ranges and not any(contains(cidr, ip) for cidr in ranges):
        message = f"Cluster IP {about} is not within any configured Service CIDR; please recreate service"
        yield _warning(service, "ClusterIPOutOfRange", message)
        return
    present = view.get(kinds.IP_ADDRESS, "", ip)
    if present is None:
        yield _warning(service, "ClusterIPNotAllocated", f"Cluster IP {about} is not allocated; repairing")
        yield Create(new_address(ip, namespace, name))
        return
    owner = service_of(present)
    if owner == (namespace, name) and is_allocated(present):
        return
    other = view.get(kinds.SERVICE, *owner) if owner is not None else None
    if other is not None and owner != (namespace, name) and ip in addresses_of(other):
        message = f"Cluster IP {about} was assigned to multiple services; please recreate service"
        yield _warning(service, "ClusterIPAlreadyAllocated", message)
        return
    message = f"the ClusterIP {about} for Service {namespace}/{name} has a wrong reference; repairing"
    yield _warning(service, "ClusterIPNotAllocated", message)
    # Its end gives the service the next turn, which makes it anew.
    yield _delete(present)


def _ports(service: core_v1.Service, view: View) -> Iterator[Effect]:
    numbers = (*(port.node_port for port in service.spec.ports), service.spec.health_check_node_port)
    for number in dict.fromkeys(number for number in numbers if number):
        holders = view.select(indexes.SERVICES_BY_NODE_PORT, str(number))
        eldest = min(holders, key=lambda one: (one.metadata.creation_timestamp or "", one.metadata.uid))
        if eldest.metadata.uid != service.metadata.uid:
            message = f"Port {number} was assigned to multiple services; please recreate service"
            yield Emit(service, "Warning", "PortAlreadyAllocated", message, PORTS_COMPONENT)


def reconcile_address(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One address: it goes with its service, and when its service has another one."""
    address = view.get(kinds.IP_ADDRESS, "", key.name)
    if address is None or not is_allocated(address):
        return Decision()
    owner = service_of(address)
    if owner is None:
        parent = address.spec.parent_ref
        what = f"{parent.resource}/{parent.name}" if parent is not None else "nothing"
        message = f"IPAddress {key.name} appears to have been modified, not referencing a Service {what}: cleaning up"
        warning = Emit(address, "Warning", "IPAddressNotAllocated", message, COMPONENT)
        return Decision((warning, _delete(address)))
    service = view.get(kinds.SERVICE, *owner)
    if service is not None and key.name in addresses_of(service):
        return Decision()
    return Decision((_delete(address),))


def _warning(service: core_v1.Service, reason: str, message: str) -> Emit:
    return Emit(service, "Warning", reason, message, COMPONENT)


def _delete(address: networking_v1.IPAddress) -> Delete:
    metadata = address.metadata
    # At this very version: a service that takes the address over meanwhile keeps it.
    return Delete(
        Key(kinds.IP_ADDRESS.resource, "", metadata.name), metadata.uid, resource_version=metadata.resource_version
    )


def _service_with(address: networking_v1.IPAddress, view: View) -> Iterable[Key]:
    owner = service_of(address)
    return [Key(kinds.SERVICE.resource, *owner)] if owner is not None else []


def _addresses_of(obj: Object, view: View) -> Iterable[Key]:
    """The addresses that a service has, and those that were given to it."""
    given = view.select(indexes.ADDRESSES_BY_SERVICE, indexes.namespaced(obj.metadata.namespace, obj.metadata.name))
    return [Key(kinds.IP_ADDRESS.resource, "", address.metadata.name) for address in given]


def _claimed(service: core_v1.Service) -> tuple[object, ...]:
    """What of a service is looked at here."""
    ports = tuple(port.node_port for port in service.spec.ports)
    return addresses_of(service), ports, service.spec.health_check_node_port, service.metadata.deletion_timestamp


SERVICES = Controller(
    name="service-allocation-repair",
    kind=kinds.SERVICE,
    reconcile=reconcile_service,
    watches=((kinds.IP_ADDRESS, _service_with),),
    sees={kinds.SERVICE: _claimed},
)
ADDRESSES = Controller(
    name="ipaddress-repair",
    kind=kinds.IP_ADDRESS,
    reconcile=reconcile_address,
    watches=((kinds.SERVICE, _addresses_of),),
    sees={kinds.SERVICE: _claimed},
)
