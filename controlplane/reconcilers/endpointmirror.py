"""Mirrors Endpoints that somebody wrote for a Service without a selector into slices, which all readers read."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from controlplane.reconcilers import slices
from controlplane.reconcilers.slices import Ports
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, discovery_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
"""The annotation of Endpoints that are a lock, and no endpoints."""
MAX_ADDRESSES = 1000
"""Addresses of one subset that are mirrored."""

_Groups = dict[str, dict[Ports, list[discovery_v1.Endpoint]]]


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Endpoints object: its slices say the same, as long as its service has no selector."""
    mirrored = slices.managed(view, key, MANAGER)
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    source = view.get(kinds.ENDPOINTS, key.namespace, key.name)
    if service is None or service.spec.selector or source is None or not _is_mirrored(source):
        return Decision(tuple(slices.delete(piece) for piece in mirrored))
    shall = [one for family, groups in _groups(source).items() for one in slices.wanted(family, groups)]
    return Decision(tuple(slices.converge(source, _labels(source), mirrored, shall, ids)))


def _is_mirrored(source: core_v1.Endpoints) -> bool:
    metadata = source.metadata
    skipped = metadata.labels.get(SKIP) == "true" or LEADER in metadata.annotations
    return not skipped and metadata.deletion_timestamp is None


def _labels(source: core_v1.Endpoints) -> dict[str, str]:
    own = {indexes.SERVICE_NAME_LABEL: source.metadata.name, slices.MANAGED_BY: MANAGER}
    return {**source.metadata.labels, **own}


def _groups(source: core_v1.Endpoints) -> _Groups:
    """The endpoints by address family and ports."""
    found: _Groups = {}
    for subset in source.subsets:
        ports = tuple(
            discovery_v1.EndpointPort(
                name=port.name, port=port.port, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
            )
            for port in subset.ports
        )
        known = [(address, True) for address in subset.addresses]
        known += [(address, False) for address in subset.not_ready_addresses]
        for address, ready in known[:MAX_ADDRESSES]:
            family = f"IPv{ip_address(address.ip).version}"
            found.setdefault(family, {}).setdefault(ports, []).append(_endpoint(address, ready=ready))
    return found


def _endpoint(address: core_v1.EndpointAddress, *, ready: bool) -> discovery_v1.Endpoint:
    return discovery_v1.Endpoint(
        addresses=(address.ip,),
        conditions=discovery_v1.EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _endpoints_of(obj: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.ENDPOINTS.resource, obj.metadata.namespace, obj.metadata.name)]


def _endpoints_of_slice(obj: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.ENDPOINTS.resource, key.namespace, key.name) for key in slices.service_of(obj, view)]


CONTROLLER = Controller(
    name="endpoint_slice_mirroring",
    kind=kinds.ENDPOINTS,
    reconcile=reconcile,
    watches=((kinds.SERVICE, _endpoints_of), (kinds.ENDPOINT_SLICE, _endpoints_of_slice)),
)
