"""Writes down which pods stand behind a Service, in slices of at most 100 endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from controlplane.reconcilers import ownership, podstate
from mizzen.api import kinds, selectors
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, discovery_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
SERVICE_LABEL = "kubernetes.io/service-name"
MAX_ENDPOINTS = 100

Ports = tuple[discovery_v1.EndpointPort, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one slice shall hold."""

    family: str
    ports: Ports
    endpoints: tuple[discovery_v1.Endpoint, ...]


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Service: its slices hold its pods, no more and no less."""
    service = view.get(kinds.SERVICE, key.namespace, key.name)
    by_service = view.select(indexes.ENDPOINT_SLICES_BY_SERVICE, indexes.namespaced(key.namespace, key.name))
    slices = [s for s in by_service if s.metadata.labels.get(MANAGED_BY) == MANAGER]
    if service is None or service.metadata.deletion_timestamp is not None:
        return Decision(tuple(_delete(s) for s in slices))
    if not service.spec.selector or service.spec.type == "ExternalName":
        return Decision()
    selector = selectors.from_labels(service.spec.selector)
    pods = [pod for pod in view.list(kinds.POD, key.namespace) if selector.matches(pod.metadata.labels)]
    wanted = [w for family in service.spec.ip_families or ("IPv4",) for w in _wanted(service, pods, family)]
    return Decision(tuple(_converge(service, slices, wanted, ids)))


def _wanted(service: core_v1.Service, pods: Sequence[core_v1.Pod], family: str) -> list[_Wanted]:
    """The service's endpoints of one address family, by the ports that they resolve to."""
    groups: dict[Ports, list[discovery_v1.Endpoint]] = {}
    for pod in pods:
        address = _address(pod, family)
        if address and pod.status.phase not in ("Succeeded", "Failed"):
            groups.setdefault(_ports(service, pod), []).append(_endpoint(service, pod, address))
    if not groups:
        # An empty slice tells readers that the service was looked at and has nobody.
        return [_Wanted(family, (), ())]
    return [
        _Wanted(family, ports, tuple(endpoints[start : start + MAX_ENDPOINTS]))
        for ports, endpoints in groups.items()
        for start in range(0, len(endpoints), MAX_ENDPOINTS)
    ]


def _address(pod: core_v1.Pod, family: str) -> str:
    found = [ip.ip for ip in pod.status.pod_ips] or [pod.status.pod_ip]
    return next((ip for ip in found if ip and (":" in ip) == (family == "IPv6")), "")


def _endpoint(service: core_v1.Service, pod: core_v1.Pod, address: str) -> discovery_v1.Endpoint:
    serving = podstate.is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return discovery_v1.Endpoint(
        addresses=(address,),
        conditions=discovery_v1.EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname if named else None,
        node_name=pod.spec.node_name or None,
        target_ref=core_v1.ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
    )


def _ports(service: core_v1.Service, pod: core_v1.Pod) -> Ports:
    """The service's ports as this pod has them; a named target port that the pod lacks is left out."""
    found = []
    for port in service.spec.ports:
        number = _target(port, pod)
        if number is not None:
            found.append(
                discovery_v1.EndpointPort(
                    name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
                )
            )
    return tuple(found)


def _target(port: core_v1.ServicePort, pod: core_v1.Pod) -> int | None:
    if isinstance(port.target_port, int):
        return port.target_port or port.port
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for candidate in container.ports:
            if candidate.name == port.target_port and (candidate.protocol or "TCP") == (port.protocol or "TCP"):
                return candidate.container_port
    return None


def _converge(
    service: core_v1.Service, slices: Sequence[discovery_v1.EndpointSlice], wanted: Sequence[_Wanted], ids: Ids
) -> list[Effect]:
    """The fewest changes: equal slices stay, others of the same ports are changed, then made or deleted."""
    spare = [s for s in slices if s.metadata.deletion_timestamp is None]
    effects: list[Effect] = []
    missing = []
    for one in wanted:
        same = next((s for s in spare if _holds(s) == one), None)
        if same is None:
            missing.append(one)
            continue
        spare.remove(same)
        if not _labels(service).items() <= same.metadata.labels.items():
            effects.append(_update(service, same, one))
    for one in missing:
        reusable = next((s for s in spare if s.address_type == one.family and s.ports == one.ports), None)
        reusable = reusable or next((s for s in spare if s.address_type == one.family), None)
        if reusable is None:
            effects.append(Create(_make(service, one, ids)))
        else:
            spare.remove(reusable)
            effects.append(_update(service, reusable, one))
    return effects + [_delete(s) for s in spare]


def _holds(piece: discovery_v1.EndpointSlice) -> _Wanted:
    return _Wanted(piece.address_type, piece.ports, piece.endpoints)


def _labels(service: core_v1.Service) -> dict[str, str]:
    labels = {**service.metadata.labels, SERVICE_LABEL: service.metadata.name, MANAGED_BY: MANAGER}
    return {**labels, HEADLESS: ""} if service.spec.cluster_ip == "None" else labels


def _make(service: core_v1.Service, one: _Wanted, ids: Ids) -> discovery_v1.EndpointSlice:
    prefix = f"{service.metadata.name}-"
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            name=prefix + ids.suffix(f"endpointslice/{service.metadata.uid}"),
            generate_name=prefix,
            namespace=service.metadata.namespace,
            labels=_labels(service),
            owner_references=(ownership.controller_reference(service),),
        ),
        address_type=one.family,
        endpoints=one.endpoints,
        ports=one.ports,
    )


def _update(service: core_v1.Service, piece: discovery_v1.EndpointSlice, one: _Wanted) -> Update:
    metadata = msgspec.structs.replace(piece.metadata, labels=_labels(service))
    return Update(msgspec.structs.replace(piece, metadata=metadata, endpoints=one.endpoints, ports=one.ports))


def _delete(piece: discovery_v1.EndpointSlice) -> Delete:
    key = Key(kinds.ENDPOINT_SLICE.resource, piece.metadata.namespace, piece.metadata.name)
    return Delete(key, piece.metadata.uid)


def _services_of_pod(obj: Object, view: View) -> Iterable[Key]:
    """The services that select a pod."""
    return [
        Key(kinds.SERVICE.resource, service.metadata.namespace, service.metadata.name)
        for service in view.list(kinds.SERVICE, obj.metadata.namespace)
        if service.spec.selector and selectors.from_labels(service.spec.selector).matches(obj.metadata.labels)
    ]


def _service_of_slice(obj: Object, view: View) -> Iterable[Key]:
    name = obj.metadata.labels.get(SERVICE_LABEL)
    return [Key(kinds.SERVICE.resource, obj.metadata.namespace, name)] if name else []


CONTROLLER = Controller(
    name="endpoint_slice",
    kind=kinds.SERVICE,
    reconcile=reconcile,
    watches=((kinds.POD, _services_of_pod), (kinds.ENDPOINT_SLICE, _service_of_slice)),
)
