"""Who controls what: references from an object to its owner, and claiming what matches a selector.

Adopt and release follow Kubernetes: an object without a controller that matches is adopted, one that is ours and no
longer matches is released, and what another controls is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from mizzen.api import kinds, selectors
from mizzen.api.kinds import Kind, Object
from mizzen.api.selectors import Selector
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine import indexes, selected
from mizzen.engine.controller import ByMembership, Mapper
from mizzen.engine.effects import Effect, Update
from mizzen.engine.values import Key
from mizzen.engine.view import Index, View

T = TypeVar("T", bound=Object)

FEW = 16
"""Pods without a controller in a namespace that are all looked at; more are looked up by their labels."""


def controller_reference(owner: Object) -> meta_v1.OwnerReference:
    """The reference by which `owner` controls what carries it."""
    return meta_v1.OwnerReference(
        api_version=kinds.kind_of(owner).api_version,
        kind=kinds.kind_of(owner).kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def controller_of(obj: Object) -> meta_v1.OwnerReference | None:
    """The reference to the object's controller, if it has one."""
    for reference in obj.metadata.owner_references:
        if reference.controller:
            return reference
    return None


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """What an owner has, and the changes of ownership that make it so."""

    owned: tuple[T, ...]
    effects: tuple[Effect, ...]


def candidates(view: View, by_controller: Index[T], owner: Object) -> list[T]:
    """What an owner has or could adopt: what it controls, and what nobody in its namespace controls."""
    free = view.select(by_controller, indexes.free(owner.metadata.namespace))
    return [*view.select(by_controller, owner.metadata.uid), *free]


def pods(view: View, owner: Object, selector: Selector) -> list[core_v1.Pod]:
    """The pods that an owner has or could adopt; where many are free, only those of them that it asks for."""
    free = indexes.free(owner.metadata.namespace)
    if view.count(indexes.PODS_BY_CONTROLLER, free) <= FEW:
        return candidates(view, indexes.PODS_BY_CONTROLLER, owner)
    found = selected.pods(view, owner.metadata.namespace, selector)
    return [
        *view.select(indexes.PODS_BY_CONTROLLER, owner.metadata.uid),
        *(pod for pod in found if controller_of(pod) is None),
    ]


def claim(owner: Object, selector: Selector, found: Iterable[T]) -> Claim[T]:
    """Sorts what was found in the owner's namespace into its own; `owned` does not hold what is only now adopted.

    An adopted object counts from the next decision on, when the store has confirmed the adoption.
    """
    owned: list[T] = []
    effects: list[Effect] = []
    leaving = owner.metadata.deletion_timestamp is not None
    for obj in found:
        controller = controller_of(obj)
        matches = selector.matches(obj.metadata.labels)
        if controller is None:
            if matches and not leaving and obj.metadata.deletion_timestamp is None:
                effects.append(_with_references(obj, (*obj.metadata.owner_references, controller_reference(owner))))
        elif controller.uid == owner.metadata.uid:
            if matches:
                owned.append(obj)
            elif not leaving and obj.metadata.deletion_timestamp is None:
                kept = tuple(r for r in obj.metadata.owner_references if r.uid != owner.metadata.uid)
                effects.append(_with_references(obj, kept))
    return Claim(tuple(owned), tuple(effects))


def _with_references(obj: Object, references: tuple[meta_v1.OwnerReference, ...]) -> Update:
    metadata = msgspec.structs.replace(obj.metadata, owner_references=references)
    return Update(msgspec.structs.replace(obj, metadata=metadata))  # type: ignore[type-var]


def keys_of(kind: Kind[Any]) -> Mapper:
    """A mapper to the controller of that kind; for an object without a controller, to those that could adopt it."""

    def mapper(obj: Object, view: View) -> Iterable[Key]:
        namespace = obj.metadata.namespace
        reference = controller_of(obj)
        if reference is not None:
            return [Key(kind.resource, namespace, reference.name)] if reference.kind == kind.kind else []
        return [
            Key(kind.resource, namespace, candidate.metadata.name)
            for candidate in selected.candidates(view, indexes.adopters(kind), namespace, obj.metadata.labels)
            if selectors.of_workload(candidate.spec.selector).matches(obj.metadata.labels)
        ]

    return ByMembership(mapper)
