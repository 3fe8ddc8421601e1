"""Writes down which pods stand behind a Service in the old form, one object for all of them, for tools that read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from controlplane.reconcilers import backends, podstate, slices
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000
"""What is beyond is left out; nobody should read so many in this form."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Service with a selector: its Endpoints hold its pods."""
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    present = view.get(kinds.ENDPOINTS, key.namespace, key.name)
    if service is None or service.metadata.deletion_timestamp is not None:
        return Decision((_delete(present),) if present is not None and _is_ours(present) else ())
    if not service.spec.selector or service.spec.type == "ExternalName":
        return Decision()
    subsets, cut = _limited(_subsets(service, backends.pods_of(service, view)))
    labels = _labels(service)
    if present is None:
        metadata = meta_v1.ObjectMeta(
            name=key.name, namespace=key.namespace, labels=labels, annotations=_marked({}, cut=cut)
        )
        return Decision((Create(core_v1.Endpoints(metadata=metadata, subsets=subsets)),))
    metadata = msgspec.structs.replace(
        present.metadata, labels=labels, annotations=_marked(present.metadata.annotations, cut=cut)
    )
    changed = msgspec.structs.replace(present, metadata=metadata, subsets=subsets)
    return Decision(() if changed == present else (Update(changed),))


def _is_ours(present: core_v1.Endpoints) -> bool:
    return present.metadata.labels.get(MANAGED_BY) == MANAGER


def _delete(present: core_v1.Endpoints) -> Delete:
    return Delete(
        Key(kinds.ENDPOINTS.resource, present.metadata.namespace, present.metadata.name), present.metadata.uid
    )


def _labels(service: core_v1.Service) -> dict[str, str]:
    headless = {slices.HEADLESS: ""} if service.spec.cluster_ip == "None" else {}
    return {**service.metadata.labels, MANAGED_BY: MANAGER, **headless}


def _marked(annotations: Mapping[str, str], *, cut: bool) -> dict[str, str]:
    others = {name: value for name, value in annotations.items() if name != OVER_CAPACITY}
    return {**others, OVER_CAPACITY: "truncated"} if cut else others


def _subsets(service: core_v1.Service, pods: Sequence[core_v1.Pod]) -> list[core_v1.EndpointSubset]:
    """Addresses that share ports, each address with all ports that are taken by the same addresses."""
    by_port: dict[core_v1.EndpointPort | None, list[core_v1.Pod]] = {}
    family = (service.spec.ip_families or ("IPv4",))[0]
    waiting_too = service.spec.publish_not_ready_addresses
    for pod in pods:
        leaving = pod.metadata.deletion_timestamp is not None
        if podstate.is_finished(pod) or (leaving and not waiting_too) or not backends.address(pod, family):
            continue
        for port in _ports(service, pod):
            by_port.setdefault(port, []).append(pod)
    by_pods: dict[tuple[str, ...], list[core_v1.EndpointPort | None]] = {}
    named = {pod.metadata.name: pod for pod in pods}
    for port, found in by_port.items():
        by_pods.setdefault(tuple(pod.metadata.name for pod in found), []).append(port)
    return [
        _subset(service, [named[name] for name in names], family, [port for port in ports if port is not None])
        for names, ports in by_pods.items()
    ]


def _subset(
    service: core_v1.Service, pods: Sequence[core_v1.Pod], family: str, ports: Sequence[core_v1.EndpointPort]
) -> core_v1.EndpointSubset:
    ready: list[core_v1.EndpointAddress] = []
    waiting: list[core_v1.EndpointAddress] = []
    for pod in sorted(pods, key=lambda pod: backends.address(pod, family)):
        address = core_v1.EndpointAddress(
            ip=backends.address(pod, family),
            hostname=backends.hostname(service, pod),
            node_name=pod.spec.node_name or None,
            target_ref=backends.reference(pod),
        )
        use = service.spec.publish_not_ready_addresses or podstate.is_ready(pod)
        (ready if use else waiting).append(address)
    return core_v1.EndpointSubset(addresses=tuple(ready), not_ready_addresses=tuple(waiting), ports=tuple(ports))


def _ports(service: core_v1.Service, pod: core_v1.Pod) -> Iterable[core_v1.EndpointPort | None]:
    """The service's ports as this pod has them; one None for a service without ports."""
    if not service.spec.ports:
        yield None
    for port in service.spec.ports:
        number = backends.target(port, pod)
        if number is not None:
            yield core_v1.EndpointPort(
                name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
            )


def _limited(subsets: Sequence[core_v1.EndpointSubset]) -> tuple[tuple[core_v1.EndpointSubset, ...], bool]:
    """As many addresses as fit, those that are ready first, and whether any are left out."""
    total = sum(len(one.addresses) + len(one.not_ready_addresses) for one in subsets)
    if total <= MAX_ADDRESSES:
        return tuple(subsets), False
    ready = [len(one.addresses) for one in subsets]
    kept_ready = _shares(ready, MAX_ADDRESSES)
    kept_waiting = _shares([len(one.not_ready_addresses) for one in subsets], MAX_ADDRESSES - sum(kept_ready))
    kept = (
        msgspec.structs.replace(
            one, addresses=one.addresses[:first], not_ready_addresses=one.not_ready_addresses[:second]
        )
        for one, first, second in zip(subsets, kept_ready, kept_waiting, strict=True)
    )
    return tuple(one for one in kept if one.addresses or one.not_ready_addresses), True


def _shares(counts: Sequence[int], room: int) -> list[int]:
    """Shares the room by what there is, rounded up until none is left."""
    total = sum(counts)
    if total <= room:
        return list(counts)
    left, shares = room, []
    for count in counts:
        share = min(left, -(-count * room // total))
        left -= share
        shares.append(share)
    return shares


def _service_of(obj: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.SERVICE.resource, obj.metadata.namespace, obj.metadata.name)]


CONTROLLER = Controller(
    name="endpoint",
    kind=kinds.SERVICE,
    reconcile=reconcile,
    watches=((kinds.POD, backends.services_of_pod), (kinds.ENDPOINTS, _service_of)),
    sees={kinds.POD: backends.behind},
)
