"""Mirrors Endpoints that somebody wrote for a Service without a selector into slices, which all readers read."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from controlplane.reconcilers import slices
from controlplane.reconcilers.slices import Group, Ports
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, discovery_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Emit
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
"""The annotation of Endpoints that are a lock, and no endpoints."""
NOT_MIRRORED = ("kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time")
"""Annotations that are about the Endpoints and not about what is in them."""
COMPONENT = "endpoint-slice-mirroring-controller"
MAX_ADDRESSES = 1000
"""Addresses of one subset that are mirrored; as many go into one slice."""

_Groups = dict[str, dict[Ports, list[discovery_v1.Endpoint]]]


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Endpoints object: its slices say the same, as long as its service has no selector."""
    mirrored = slices.managed(view, key, MANAGER)
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    source = view.get(kinds.ENDPOINTS, key.namespace, key.name)
    if service is None or service.spec.selector or source is None or not _is_mirrored(source):
        return Decision(tuple(slices.delete(piece) for piece in mirrored))
    found, skipped = _groups(source)
    groups = [Group(family, ports, own) for family, by_ports in found.items() for ports, own in by_ports.items()]
    effects = slices.converge(source, _marks(source), mirrored, groups, ids, MAX_ADDRESSES)
    if effects and skipped:
        told = (
            f"A max of {MAX_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} "
            "addresses were skipped"
        )
        effects.append(Emit(source, "Warning", "TooManyAddressesToMirror", told, COMPONENT))
    return Decision(tuple(effects))


def _is_mirrored(source: core_v1.Endpoints) -> bool:
    metadata = source.metadata
    skipped = metadata.labels.get(SKIP) == "true" or LEADER in metadata.annotations
    return not skipped and metadata.deletion_timestamp is None


def _marks(source: core_v1.Endpoints) -> slices.Marks:
    headless = slices.HEADLESS in source.metadata.labels
    labels = slices.labels(source.metadata.labels, source.metadata.name, MANAGER, headless=headless)
    return slices.Marks(labels, {k: v for k, v in source.metadata.annotations.items() if k not in NOT_MIRRORED})


def _groups(source: core_v1.Endpoints) -> tuple[_Groups, int]:
    """The endpoints by address family and ports, and how many addresses are left out."""
    found: _Groups = {}
    skipped = 0
    for subset in source.subsets:
        ports = tuple(
            discovery_v1.EndpointPort(
                name=port.name, port=port.port, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
            )
            for port in subset.ports
        )
        known = [(address, True) for address in subset.addresses]
        known += [(address, False) for address in subset.not_ready_addresses]
        skipped += max(0, len(known) - MAX_ADDRESSES)
        for address, ready in known[:MAX_ADDRESSES]:
            family = f"IPv{ip_address(address.ip).version}"
            found.setdefault(family, {}).setdefault(ports, []).append(_endpoint(address, ready=ready))
    return found, skipped


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
