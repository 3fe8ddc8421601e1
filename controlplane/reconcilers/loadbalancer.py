"""Gives Services of type LoadBalancer an address of the pool, and says which node announces it on the Ethernet.

An address stays with its Service for as long as that wants one. One node at a time answers for it: a ready one, and
with a ready endpoint where only such may be used (externalTrafficPolicy Local). Which one follows from a hash of the
address and the node (rendezvous hashing: D. G. Thaler, C. V. Ravishankar, 1998), so that addresses are spread and only
those of a lost node move; a node that still may announce keeps doing so.

The agents read `ANNOUNCED_BY`. Without a pool, and for Services with a class of somebody else's, nothing is done.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from mizzen.api import kinds, services
from mizzen.api.types import core_v1, discovery_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Effect, Emit, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
COMPONENT = "service-controller"
Pool = Sequence[tuple[int, int]]
"""First and last addresses of ranges, as numbers."""


def reconcile(pool: Pool, key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Service: its address, and who announces it."""
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    if service is None:
        return Decision()
    if not _is_ours(service) or service.metadata.deletion_timestamp is not None:
        return Decision(tuple(_released(service)))
    present = _address(service)
    address = present if _holds(pool, present) else _chosen(pool, service, view)
    if not address:
        why = _why_none(pool, service)
        return Decision((Emit(service, "Warning", "SyncLoadBalancerFailed", why, COMPONENT),))
    effects: list[Effect] = []
    wanted = _marked(service, _announcer(service, address, view))
    if wanted != service:
        # The finalizer is there before the address is, so that no address is forgotten with its Service.
        return Decision((Update(wanted),))
    if address != present:
        ingress = core_v1.LoadBalancerIngress(ip=address, ip_mode="VIP")
        status = replace(service.status, load_balancer=core_v1.LoadBalancerStatus(ingress=(ingress,)))
        effects.append(UpdateStatus(replace(service, status=status)))
        effects.append(Emit(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer", COMPONENT))
    return Decision(tuple(effects))


def _is_ours(service: core_v1.Service) -> bool:
    return service.spec.type == "LoadBalancer" and not service.spec.load_balancer_class


def _released(service: core_v1.Service) -> Iterator[Effect]:
    """What takes the address away from a Service that had one from here."""
    if FINALIZER not in service.metadata.finalizers:
        return
    if service.metadata.deletion_timestamp is None and service.status.load_balancer.ingress:
        status = replace(service.status, load_balancer=core_v1.LoadBalancerStatus())
        yield UpdateStatus(replace(service, status=status))
        return
    finalizers = tuple(one for one in service.metadata.finalizers if one != FINALIZER)
    annotations = {name: text for name, text in service.metadata.annotations.items() if name != services.ANNOUNCED_BY}
    yield Update(replace(service, metadata=replace(service.metadata, finalizers=finalizers, annotations=annotations)))


def _marked(service: core_v1.Service, node: str) -> core_v1.Service:
    annotations = dict(service.metadata.annotations)
    if node:
        annotations[services.ANNOUNCED_BY] = node
    else:
        annotations.pop(services.ANNOUNCED_BY, None)
    finalizers = service.metadata.finalizers
    if FINALIZER not in finalizers:
        finalizers = (*finalizers, FINALIZER)
    return replace(service, metadata=replace(service.metadata, annotations=annotations, finalizers=finalizers))


def _address(service: core_v1.Service) -> str:
    return next((entry.ip for entry in service.status.load_balancer.ingress), "")


def _holds(pool: Pool, address: str) -> bool:
    try:
        number = int(ipaddress.IPv4Address(address))
    except ValueError:
        return False
    return any(first <= number <= last for first, last in pool)


def _chosen(pool: Pool, service: core_v1.Service, view: View) -> str:
    """A free address of the pool: the one that is asked for, or else the first; empty if there is none."""
    others = view.select(indexes.LOAD_BALANCERS, indexes.BALANCED)
    taken = {_address(other) for other in others if other.metadata.uid != service.metadata.uid}
    asked = service.spec.load_balancer_ip
    if asked:
        return asked if _holds(pool, asked) and asked not in taken else ""
    numbers = (number for first, last in pool for number in range(first, last + 1))
    free = (address for number in numbers if (address := str(ipaddress.IPv4Address(number))) not in taken)
    return next(free, "")


def _why_none(pool: Pool, service: core_v1.Service) -> str:
    asked = service.spec.load_balancer_ip
    why = "no address of the pool is free; add some with --load-balancer-pool"
    if asked:
        why = f"{asked} is taken by another Service" if _holds(pool, asked) else f"{asked} is not in the pool"
    return f"Error syncing load balancer: failed to ensure load balancer: {why}"


def _announcer(service: core_v1.Service, address: str, view: View) -> str:
    """The node that answers for the address; empty if none can."""
    able = {node.metadata.name for node in view.list(kinds.NODE) if _may_announce(node)}
    if service.spec.external_traffic_policy == "Local":
        able &= _with_endpoints(service, view)
    present = service.metadata.annotations.get(services.ANNOUNCED_BY, "")
    if present in able:
        return present
    return max(able, key=lambda node: hashlib.sha256(f"{address}/{node}".encode()).digest(), default="")


def _may_announce(node: core_v1.Node) -> bool:
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)
    return ready and node.metadata.deletion_timestamp is None and EXCLUDED not in node.metadata.labels


def _with_endpoints(service: core_v1.Service, view: View) -> set[str]:
    name = indexes.namespaced(service.metadata.namespace, service.metadata.name)
    return {
        endpoint.node_name
        for piece in view.select(indexes.ENDPOINT_SLICES_BY_SERVICE, name)
        for endpoint in piece.endpoints
        if endpoint.node_name and endpoint.conditions.ready is not False
    }


def _key(service: core_v1.Service) -> Key:
    return Key(kinds.SERVICE.resource, service.metadata.namespace, service.metadata.name)


def _of_node(node: core_v1.Node, view: View) -> Iterable[Key]:
    return [_key(service) for service in view.select(indexes.LOAD_BALANCERS, indexes.BALANCED)]


def _of_slice(piece: discovery_v1.EndpointSlice, view: View) -> Iterable[Key]:
    name = piece.metadata.labels.get(indexes.SERVICE_NAME_LABEL, "")
    service = view.get(kinds.SERVICE, piece.metadata.namespace, name) if name else None
    local = service is not None and _is_ours(service) and service.spec.external_traffic_policy == "Local"
    return [_key(service)] if service is not None and local else []


def _seen_of_node(node: core_v1.Node) -> Any:
    return _may_announce(node)


def _seen_of_service(service: core_v1.Service) -> Any:
    return service if _is_ours(service) or FINALIZER in service.metadata.finalizers else None


def controller(pool: Pool) -> Controller:
    """The controller that gives the addresses of `pool`."""
    return Controller(
        name="service-lb",
        kind=kinds.SERVICE,
        reconcile=partial(reconcile, pool),
        watches=((kinds.NODE, _of_node), (kinds.ENDPOINT_SLICE, _of_slice)),
        sees={kinds.NODE: _seen_of_node, kinds.SERVICE: _seen_of_service},
        # One after the other: two that choose at once might choose the same address.
        workers=1,
    )
