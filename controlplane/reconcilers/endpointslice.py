"""Writes down which pods stand behind a Service, in slices of at most 100 endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from controlplane.reconcilers import backends, podstate, slices, zonehints
from controlplane.reconcilers.slices import Group, Ports
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, discovery_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Emit
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

MANAGER = "endpointslice-controller.k8s.io"
COMPONENT = "endpoint-slice-controller"
_NEAR_ZONE = ("PreferClose", "PreferSameZone", "PreferSameNode")
_NEAR_NODE = "PreferSameNode"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Service: its slices hold its pods, no more and no less."""
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    present = slices.managed(view, key, MANAGER)
    if service is None or service.metadata.deletion_timestamp is not None:
        return Decision(tuple(slices.delete(piece) for piece in present))
    if not service.spec.selector or service.spec.type == "ExternalName":
        return Decision()
    pods = backends.pods_of(service, view)
    groups: list[Group] = []
    told: list[Emit] = []
    for family in service.spec.ip_families or ("IPv4",):
        own = _groups(service, pods, family, view)
        before = any(e.hints is not None for piece in present if piece.address_type == family for e in piece.endpoints)
        if zonehints.is_asked_for(service):
            own, said = _shared_out(service, own, view, had=before)
            told += said
        groups += own
    headless = service.spec.cluster_ip == "None"
    marks = slices.Marks(slices.labels(service.metadata.labels, key.name, MANAGER, headless=headless))
    effects = slices.converge(service, marks, present, groups, ids)
    # Events go with a change, or they would repeat for ever.
    return Decision((*effects, *told) if effects else ())


def _shared_out(
    service: core_v1.Service, groups: Sequence[Group], view: View, *, had: bool
) -> tuple[list[Group], list[Emit]]:
    """The groups of a family with hints for the zones that should use each endpoint, and what is said of that."""
    ready = [one for group in groups for one in group.endpoints if one.conditions.ready]
    # In an order that does not change with what comes and goes.
    ready.sort(key=lambda one: one.target_ref.uid if one.target_ref is not None else "")
    family = groups[0].family
    try:
        shares = zonehints.shares(view.list(kinds.NODE))
        zones = zonehints.assign([one.zone or "" for one in ready], shares)
    except zonehints.Unfit as why:
        return list(groups), [_said(service, "Warning", "TopologyAwareHintsDisabled", f"{why}", family)]
    wanted = {one.addresses: zone for one, zone in zip(ready, zones, strict=True)}
    hinted = [
        Group(group.family, group.ports, [_hinted(one, wanted.get(one.addresses)) for one in group.endpoints])
        for group in groups
    ]
    enabled = "Topology Aware Hints has been enabled"
    return hinted, [] if had else [_said(service, "Normal", "TopologyAwareHintsEnabled", enabled, family)]


def _said(service: core_v1.Service, severity: str, reason: str, message: str, family: str) -> Emit:
    return Emit(service, severity, reason, f"{message}, addressType: {family}", COMPONENT)


def _hinted(endpoint: discovery_v1.Endpoint, zone: str | None) -> discovery_v1.Endpoint:
    if zone is None:
        return endpoint
    hints = discovery_v1.EndpointHints(for_zones=(discovery_v1.ForZone(name=zone),))
    return msgspec.structs.replace(endpoint, hints=hints)


def _groups(service: core_v1.Service, pods: Sequence[core_v1.Pod], family: str, view: View) -> list[Group]:
    """The service's endpoints of one address family, by the ports that they resolve to."""
    groups: dict[Ports, list[discovery_v1.Endpoint]] = {}
    for pod in pods:
        address = backends.address(pod, family)
        if address and not podstate.is_finished(pod):
            groups.setdefault(_ports(service, pod), []).append(_endpoint(service, pod, address, view))
    return [Group(family, ports, endpoints) for ports, endpoints in groups.items()] or [Group(family, (), ())]


def _endpoint(service: core_v1.Service, pod: core_v1.Pod, address: str, view: View) -> discovery_v1.Endpoint:
    serving = podstate.is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    node = view.get(kinds.NODE, "", pod.spec.node_name) if pod.spec.node_name else None
    zone = node.metadata.labels.get(zonehints.ZONE) if node is not None else None
    wish = None if zonehints.is_asked_for(service) else service.spec.traffic_distribution
    return discovery_v1.Endpoint(
        addresses=(address,),
        conditions=discovery_v1.EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=backends.hostname(service, pod) or None,
        node_name=pod.spec.node_name or None,
        target_ref=backends.reference(pod),
        zone=zone,
        hints=_hints(wish, pod.spec.node_name, zone) if ready else None,
    )


def _hints(wish: str | None, node: str, zone: str | None) -> discovery_v1.EndpointHints | None:
    """Who should rather use an endpoint: those in its zone, or on its node, where the service wishes so."""
    for_zones = (discovery_v1.ForZone(name=zone),) if zone and wish in _NEAR_ZONE else ()
    for_nodes = (discovery_v1.ForNode(name=node),) if node and wish == _NEAR_NODE else ()
    if not for_zones and not for_nodes:
        return None
    return discovery_v1.EndpointHints(for_zones=for_zones, for_nodes=for_nodes)


def _ports(service: core_v1.Service, pod: core_v1.Pod) -> Ports:
    """The service's ports as this pod has them; a named target port that the pod lacks is left out."""
    found = ((port, backends.target(port, pod)) for port in service.spec.ports)
    return tuple(
        discovery_v1.EndpointPort(
            name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
        )
        for port, number in found
        if number is not None
    )


def _sharing(obj: Object, view: View) -> Iterable[Key]:
    """The services whose endpoints are shared out by what nodes have."""
    return [
        Key(kinds.SERVICE.resource, service.metadata.namespace, service.metadata.name)
        for service in view.list(kinds.SERVICE)
        if zonehints.is_asked_for(service)
    ]


CONTROLLER = Controller(
    name="endpoint_slice",
    kind=kinds.SERVICE,
    reconcile=reconcile,
    watches=(
        (kinds.POD, backends.services_of_pod),
        (kinds.ENDPOINT_SLICE, slices.service_of),
        (kinds.NODE, _sharing),
    ),
    sees={kinds.POD: backends.behind, kinds.NODE: zonehints.worth},
)
