"""Keeps the endpoints of the service `kubernetes` what they are for: the control planes that serve now.

Each control plane renews a Lease that names its address (see `controlplane.server.presence`). One that is silent for
too long loses its place, and its lease, which it makes again when it is back. Pods reach the API through the service,
and node agents learn from the endpoints which control planes there are.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mizzen.api import kinds, times
from mizzen.api.types import coordination_v1, core_v1, discovery_v1, meta_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

LEASE_NAMESPACE = "kube-system"
IDENTITY = "apiserver.kubernetes.io/identity"
"""The label of the leases of control planes."""
SERVICE = Key(kinds.SERVICE.resource, "default", "kubernetes")
SLICE = Key(kinds.ENDPOINT_SLICE.resource, "default", "kubernetes")
_PORT = "https"


def controller(since: Instant) -> Controller:
    """The controller; silence counts from `since`, when this leader took office: before, nobody may have listened."""

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        return decide(key, view, now, since)

    return Controller(
        name="kubernetes_endpoints",
        kind=kinds.SERVICE,
        reconcile=reconcile,
        watches=((kinds.LEASE, _of_lease), (kinds.ENDPOINT_SLICE, _of_endpoints), (kinds.ENDPOINTS, _of_endpoints)),
    )


def decide(key: Key, view: View, now: Instant, since: Instant) -> Decision:
    """The one service: its endpoints are the addresses whose leases are alive."""
    service = view.get(kinds.SERVICE, key.namespace, key.name) if key == SERVICE else None
    leases = [lease for lease in view.list(kinds.LEASE, LEASE_NAMESPACE) if _is_ours(lease)]
    if service is None or not leases:
        # On loopback nobody takes part: behind such an address pods would find themselves.
        return Decision()
    left_ms = {lease.metadata.name: _left_ms(lease, now, since) for lease in leases}
    silent = [lease for lease in leases if left_ms[lease.metadata.name] <= 0]
    addresses = sorted({lease.spec.holder_identity or "" for lease in leases if lease not in silent} - {""})
    target = service.spec.ports[0].target_port if service.spec.ports else None
    port = target if isinstance(target, int) else None
    effects: list[Effect] = [*_slice_effects(port, addresses, view), *_endpoints_effects(port, addresses, view)]
    effects += (
        Delete(
            Key(kinds.LEASE.resource, LEASE_NAMESPACE, lease.metadata.name),
            lease.metadata.uid,
            lease.metadata.resource_version,
        )
        for lease in silent
    )
    return Decision(tuple(effects), wake_after_ms=min((ms for ms in left_ms.values() if ms > 0), default=None))


def _slice_effects(port: int | None, addresses: list[str], view: View) -> Iterable[Effect]:
    present = view.get(kinds.ENDPOINT_SLICE, SLICE.namespace, SLICE.name)
    endpoints = tuple(
        discovery_v1.Endpoint(addresses=(address,), conditions=discovery_v1.EndpointConditions(ready=True))
        for address in addresses
    )
    ports = (discovery_v1.EndpointPort(name=_PORT, port=port, protocol="TCP"),)
    if present is None:
        labels = {"kubernetes.io/service-name": SERVICE.name}
        metadata = meta_v1.ObjectMeta(name=SLICE.name, namespace=SLICE.namespace, labels=labels)
        yield Create(
            discovery_v1.EndpointSlice(metadata=metadata, address_type="IPv4", endpoints=endpoints, ports=ports)
        )
    elif [endpoint.addresses for endpoint in present.endpoints] != [endpoint.addresses for endpoint in endpoints]:
        yield Update(msgspec.structs.replace(present, endpoints=endpoints))


def _endpoints_effects(port: int | None, addresses: list[str], view: View) -> Iterable[Effect]:
    """The same in the old form, which is not to be mirrored into another slice."""
    present = view.get(kinds.ENDPOINTS, SERVICE.namespace, SERVICE.name)
    subset = core_v1.EndpointSubset(
        addresses=tuple(core_v1.EndpointAddress(ip=address) for address in addresses),
        ports=(core_v1.EndpointPort(name=_PORT, port=port or 0, protocol="TCP"),),
    )
    subsets = (subset,) if addresses else ()
    if present is None:
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
        metadata = meta_v1.ObjectMeta(name=SERVICE.name, namespace=SERVICE.namespace, labels=labels)
        yield Create(core_v1.Endpoints(metadata=metadata, subsets=subsets))
    elif present.subsets != subsets:
        yield Update(msgspec.structs.replace(present, subsets=subsets))


def _left_ms(lease: coordination_v1.Lease, now: Instant, since: Instant) -> int:
    """How long a lease is still good for."""
    renewed = times.parse(lease.spec.renew_time) if lease.spec.renew_time else 0
    return max(renewed, since) + (lease.spec.lease_duration_seconds or 0) * 1000 - now


def _is_ours(lease: coordination_v1.Lease) -> bool:
    return IDENTITY in lease.metadata.labels


def _of_lease(lease: coordination_v1.Lease, view: View) -> Iterable[Key]:
    if lease.metadata.namespace == LEASE_NAMESPACE and _is_ours(lease):
        yield SERVICE


def _of_endpoints(obj: discovery_v1.EndpointSlice | core_v1.Endpoints, view: View) -> Iterable[Key]:
    if (obj.metadata.namespace, obj.metadata.name) == (SERVICE.namespace, SERVICE.name):
        yield SERVICE
