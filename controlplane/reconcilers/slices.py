"""Brings the endpoint slices of a service to what they shall hold, with the fewest changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from controlplane.reconcilers import ownership
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import discovery_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.effects import Create, Delete, Effect, Update
from mizzen.engine.values import Ids, Key
from mizzen.engine.view import View

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
MAX_ENDPOINTS = 100

Ports = tuple[discovery_v1.EndpointPort, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one slice shall hold."""

    family: str
    """`IPv4` or `IPv6`."""
    ports: Ports
    endpoints: tuple[discovery_v1.Endpoint, ...]


def wanted(family: str, groups: Mapping[Ports, Sequence[discovery_v1.Endpoint]]) -> list[Wanted]:
    """Slices of one family for endpoints by their ports."""
    return [
        Wanted(family, ports, tuple(endpoints[start : start + MAX_ENDPOINTS]))
        for ports, endpoints in groups.items()
        for start in range(0, len(endpoints), MAX_ENDPOINTS)
    ]


def managed(view: View, service: Key, manager: str) -> list[discovery_v1.EndpointSlice]:
    """The slices of a service that one manager keeps."""
    found = view.select(indexes.ENDPOINT_SLICES_BY_SERVICE, indexes.namespaced(service.namespace, service.name))
    return [piece for piece in found if piece.metadata.labels.get(MANAGED_BY) == manager]


def converge(
    owner: Object,
    labels: Mapping[str, str],
    present: Sequence[discovery_v1.EndpointSlice],
    shall: Sequence[Wanted],
    ids: Ids,
) -> list[Effect]:
    """The fewest changes: equal slices stay, others of the same ports are changed, then made or deleted."""
    spare = [piece for piece in present if piece.metadata.deletion_timestamp is None]
    effects: list[Effect] = []
    missing = []
    for one in shall:
        same = next((piece for piece in spare if _holds(piece) == one), None)
        if same is None:
            missing.append(one)
            continue
        spare.remove(same)
        if not labels.items() <= same.metadata.labels.items():
            effects.append(_update(same, labels, one))
    for one in missing:
        reusable = next((s for s in spare if s.address_type == one.family and s.ports == one.ports), None)
        reusable = reusable or next((s for s in spare if s.address_type == one.family), None)
        if reusable is None:
            effects.append(Create(_make(owner, labels, one, ids)))
        else:
            spare.remove(reusable)
            effects.append(_update(reusable, labels, one))
    return effects + [delete(piece) for piece in spare]


def _holds(piece: discovery_v1.EndpointSlice) -> Wanted:
    return Wanted(piece.address_type, piece.ports, piece.endpoints)


def _make(owner: Object, labels: Mapping[str, str], one: Wanted, ids: Ids) -> discovery_v1.EndpointSlice:
    prefix = f"{owner.metadata.name}-"
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            name=prefix + ids.suffix(f"endpointslice/{owner.metadata.uid}"),
            generate_name=prefix,
            namespace=owner.metadata.namespace,
            labels=dict(labels),
            owner_references=(ownership.controller_reference(owner),),
        ),
        address_type=one.family,
        endpoints=one.endpoints,
        ports=one.ports,
    )


def _update(piece: discovery_v1.EndpointSlice, labels: Mapping[str, str], one: Wanted) -> Update:
    metadata = msgspec.structs.replace(piece.metadata, labels=dict(labels))
    return Update(msgspec.structs.replace(piece, metadata=metadata, endpoints=one.endpoints, ports=one.ports))


def delete(piece: discovery_v1.EndpointSlice) -> Delete:
    """The end of a slice."""
    key = Key(kinds.ENDPOINT_SLICE.resource, piece.metadata.namespace, piece.metadata.name)
    return Delete(key, piece.metadata.uid)


def service_of(obj: Object, view: View) -> Iterable[Key]:
    """A mapper from a slice to the service it belongs to."""
    name = obj.metadata.labels.get(indexes.SERVICE_NAME_LABEL)
    return [Key(kinds.SERVICE.resource, obj.metadata.namespace, name)] if name else []
