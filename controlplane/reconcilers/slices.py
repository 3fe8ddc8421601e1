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
class Group:
    """Endpoints that may share slices: of one address family, and with the same ports."""

    family: str
    """`IPv4` or `IPv6`."""
    ports: Ports
    endpoints: Sequence[discovery_v1.Endpoint]


@dataclass(frozen=True, slots=True)
class Marks:
    """What the slices of a service carry of it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str] | None = None
    """None: it is nobody's business what they carry."""

    def are_on(self, piece: discovery_v1.EndpointSlice) -> bool:
        """Whether a slice carries them, and nothing that they have not any more."""
        metadata = piece.metadata
        same = self.annotations is None or dict(metadata.annotations) == dict(self.annotations)
        return same and dict(metadata.labels) == dict(self.labels)


def labels(of: Mapping[str, str], service: str, manager: str, *, headless: bool) -> dict[str, str]:
    """The labels of a service's slices: its own, but those that tell what a slice is are the manager's to say."""
    reserved = {indexes.SERVICE_NAME_LABEL: service, MANAGED_BY: manager, **({HEADLESS: ""} if headless else {})}
    return {**{name: value for name, value in of.items() if name != HEADLESS}, **reserved}


def managed(view: View, service: Key, manager: str) -> list[discovery_v1.EndpointSlice]:
    """The slices of a service that one manager keeps."""
    found = view.select(indexes.ENDPOINT_SLICES_BY_SERVICE, indexes.namespaced(service.namespace, service.name))
    return [piece for piece in found if piece.metadata.labels.get(MANAGED_BY) == manager]


def converge(
    owner: Object,
    marks: Marks,
    present: Sequence[discovery_v1.EndpointSlice],
    groups: Iterable[Group],
    ids: Ids,
    most: int = MAX_ENDPOINTS,
) -> list[Effect]:
    """The fewest changes, with at most so many endpoints in a slice.

    As in Kubernetes: an endpoint stays in its slice, new ones fill slices that change anyway, then one that has room
    for all of them, then slices of their own; of those that are left over some are used again, the others go.
    """
    spare = [piece for piece in present if piece.metadata.deletion_timestamp is None]
    effects: list[Effect] = []
    missing: list[Group] = []
    for group in groups:
        own = [piece for piece in spare if (piece.address_type, piece.ports) == (group.family, group.ports)]
        staying, new = _packed(own, group, most)
        for piece, endpoints in staying:
            spare.remove(piece)
            if endpoints != piece.endpoints or not marks.are_on(piece):
                effects.append(_update(piece, marks, Group(group.family, group.ports, endpoints)))
        missing += new
    for one in missing:
        reusable = next((piece for piece in spare if piece.address_type == one.family), None)
        if reusable is None:
            effects.append(Create(_make(owner, marks, one, ids)))
        else:
            spare.remove(reusable)
            effects.append(_update(reusable, marks, one))
    return effects + [delete(piece) for piece in spare]


_Staying = list[tuple[discovery_v1.EndpointSlice, tuple[discovery_v1.Endpoint, ...]]]


def _packed(own: Sequence[discovery_v1.EndpointSlice], group: Group, most: int) -> tuple[_Staying, list[Group]]:
    """What the group's slices hold, without those that are not needed, and what goes into others."""
    if not group.endpoints:
        # An empty slice tells readers that the service was looked at and has nobody.
        return ([(own[0], ())], []) if own else ([], [group])
    left = {_identity(endpoint): endpoint for endpoint in group.endpoints}
    held = [[left.pop(name) for e in piece.endpoints if (name := _identity(e)) in left] for piece in own]
    new = list(left.values())
    for piece, endpoints in zip(own, held, strict=True):
        if endpoints and tuple(endpoints) != piece.endpoints:
            fitting = most - len(endpoints)
            endpoints += new[:fitting]
            new = new[fitting:]
    if 0 < len(new) < most:
        roomy = [endpoints for endpoints in held if endpoints and len(endpoints) + len(new) <= most]
        if roomy:
            max(roomy, key=len).extend(new)
            new = []
    staying = [(piece, tuple(endpoints)) for piece, endpoints in zip(own, held, strict=True) if endpoints]
    chunks = (tuple(new[start : start + most]) for start in range(0, len(new), most))
    return staying, [Group(group.family, group.ports, chunk) for chunk in chunks]


def _identity(endpoint: discovery_v1.Endpoint) -> tuple[object, ...]:
    """What makes it the same endpoint, whatever its condition."""
    target = endpoint.target_ref.uid if endpoint.target_ref is not None else None
    return endpoint.addresses, target, endpoint.hostname, endpoint.node_name


def _make(owner: Object, marks: Marks, one: Group, ids: Ids) -> discovery_v1.EndpointSlice:
    prefix = f"{owner.metadata.name}-"
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            name=prefix + ids.suffix(f"endpointslice/{owner.metadata.uid}"),
            generate_name=prefix,
            namespace=owner.metadata.namespace,
            labels=dict(marks.labels),
            annotations=dict(marks.annotations or {}),
            owner_references=(ownership.controller_reference(owner),),
        ),
        address_type=one.family,
        endpoints=tuple(one.endpoints),
        ports=one.ports,
    )


def _update(piece: discovery_v1.EndpointSlice, marks: Marks, one: Group) -> Update:
    annotations = piece.metadata.annotations if marks.annotations is None else dict(marks.annotations)
    metadata = msgspec.structs.replace(piece.metadata, labels=dict(marks.labels), annotations=annotations)
    return Update(msgspec.structs.replace(piece, metadata=metadata, endpoints=tuple(one.endpoints), ports=one.ports))


def delete(piece: discovery_v1.EndpointSlice) -> Delete:
    """The end of a slice."""
    key = Key(kinds.ENDPOINT_SLICE.resource, piece.metadata.namespace, piece.metadata.name)
    return Delete(key, piece.metadata.uid)


def service_of(obj: Object, view: View) -> Iterable[Key]:
    """A mapper from a slice to the service it belongs to."""
    name = obj.metadata.labels.get(indexes.SERVICE_NAME_LABEL)
    return [Key(kinds.SERVICE.resource, obj.metadata.namespace, name)] if name else []
