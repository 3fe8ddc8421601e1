"""Deletes what has lost its owners, and carries out foreground and orphaning deletion.

An object with owner references goes when none of its owners exists any more. An owner that is deleted in the
foreground stays until its blocking dependents are gone; one that orphans stays until they have let go of it.
Owners of kinds that are not served are taken to exist: better a leftover than a loss. So is an owner in a namespace of
what is in none; one in another namespace is none. Objects that own each other in a ring don't wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.kinds import Kind, Object
from mizzen.api.types import meta_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, Emit, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "garbage-collector-controller"
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One object, as a dependent and as an owner."""
    kind = view.catalog.by_resource.get(key.resource)
    obj = None if kind is None else view.get(kind, key.namespace, key.name)
    if obj is None:
        return Decision()
    if _is_leaving(obj):
        return _leaving(obj, view)
    references = obj.metadata.owner_references
    if not references:
        return Decision()
    alive = [owner for owner in references if _exists(owner, obj, view)]
    told = tuple(_misplaced(obj, [owner for owner in references if _is_elsewhere(owner, obj, view)]))
    if alive and not _waited_for(obj, view):
        if len(alive) < len(references):
            metadata = msgspec.structs.replace(obj.metadata, owner_references=tuple(alive))
            return Decision((*told, Update(msgspec.structs.replace(obj, metadata=metadata))))
        return Decision(told)
    dependents = any(True for _ in _dependents(obj, view))
    propagation = "Foreground" if alive and dependents else "Background"
    return Decision((*told, Delete(key, obj.metadata.uid, propagation=propagation)))


def _misplaced(obj: Object, references: Iterable[meta_v1.OwnerReference]) -> Iterable[Emit]:
    """Says of owners that they are where an object's owners can't be."""
    for one in references:
        owner = f"[{one.api_version}/{one.kind}, namespace: {obj.metadata.namespace}, name: {one.name}, uid: {one.uid}]"
        message = f'ownerRef {owner} does not exist in namespace "{obj.metadata.namespace}"'
        yield Emit(obj, "Warning", "OwnerRefInvalidNamespace", message, COMPONENT)


def _leaving(obj: Any, view: View) -> Decision:
    """An owner on its way out: what its dependents must do first."""
    finalizers = obj.metadata.finalizers
    if ORPHAN in finalizers:
        effects: list[Effect] = [Update(_without_owner(d, obj.metadata.uid)) for d in _dependents(obj, view)]
        return Decision(tuple(effects) or (_without_finalizer(obj, ORPHAN),))
    if FOREGROUND in finalizers:
        blocking = [d for d in _dependents(obj, view) if _blocks(d, obj.metadata.uid) and not _in_ring(d, obj, view)]
        if not blocking:
            return Decision((_without_finalizer(obj, FOREGROUND),))
        return Decision(
            tuple(Delete(_key(d), d.metadata.uid, propagation="Foreground") for d in blocking if not _is_leaving(d))
        )
    return Decision()


def _in_ring(dependent: Any, obj: Object, view: View) -> bool:
    """Whether a dependent, by way of others or not, owns the object, and waits for it just the same."""
    if not _is_leaving(dependent) or FOREGROUND not in dependent.metadata.finalizers:
        return False
    above, seen = [obj], {obj.metadata.uid}
    while above:
        one = above.pop()
        for reference in one.metadata.owner_references:
            owner = _owner(reference, one, view)
            if owner is not None and owner.metadata.uid not in seen:
                seen.add(owner.metadata.uid)
                above.append(owner)
    return dependent.metadata.uid in seen


def _exists(owner: meta_v1.OwnerReference, obj: Object, view: View) -> bool:
    kind = view.catalog.by_kind.get((owner.api_version, owner.kind))
    if kind is None or (kind.namespaced and not obj.metadata.namespace):
        return True
    return _owner(owner, obj, view) is not None


def _is_elsewhere(owner: meta_v1.OwnerReference, obj: Object, view: View) -> bool:
    """Whether an owner is in another namespace, or in any where the object is in none."""
    kind = view.catalog.by_kind.get((owner.api_version, owner.kind))
    if kind is None or not kind.namespaced or _owner(owner, obj, view) is not None:
        return False
    if not obj.metadata.namespace:
        return True
    others = (view.get(kind, one.metadata.name, owner.name) for one in view.list(kinds.NAMESPACE))
    return any(one is not None and one.metadata.uid == owner.uid for one in others)


def _waited_for(obj: Object, view: View) -> bool:
    """Every living owner is being deleted in the foreground and waits for this object."""
    owners = []
    for reference in obj.metadata.owner_references:
        kind = view.catalog.by_kind.get((reference.api_version, reference.kind))
        if kind is None or (kind.namespaced and not obj.metadata.namespace):
            return False
        found = _owner(reference, obj, view)
        if found is not None:
            owners.append((reference, found))
    return bool(owners) and all(
        reference.block_owner_deletion and _is_leaving(found) and FOREGROUND in found.metadata.finalizers
        for reference, found in owners
    )


def _owner(reference: meta_v1.OwnerReference, obj: Object, view: View) -> Any:
    """The object that a reference means, if it exists and its kind is known."""
    kind = view.catalog.by_kind.get((reference.api_version, reference.kind))
    if kind is None:
        return None
    found = view.get(kind, obj.metadata.namespace if kind.namespaced else "", reference.name)
    return found if found is not None and found.metadata.uid == reference.uid else None


def _is_leaving(obj: Any) -> bool:
    return obj.metadata.deletion_timestamp is not None


def _dependents(obj: Object, view: View) -> Iterable[Any]:
    for kind in view.catalog.stored:
        yield from view.select(indexes.by_owner(kind), obj.metadata.uid)


def _blocks(obj: Object, uid: str) -> bool:
    return any(r.uid == uid and r.block_owner_deletion for r in obj.metadata.owner_references)


def _without_owner(obj: Any, uid: str) -> Any:
    kept = tuple(r for r in obj.metadata.owner_references if r.uid != uid)
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, owner_references=kept))


def _without_finalizer(obj: Any, finalizer: str) -> Update:
    kept = tuple(f for f in obj.metadata.finalizers if f != finalizer)
    return Update(msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, finalizers=kept)))


def _key(obj: Any) -> Key:
    return Key(kinds.kind_of(obj).resource, obj.metadata.namespace, obj.metadata.name)


def _related(obj: Object, view: View) -> Iterable[Key]:
    """The object, where it has owners or goes; what it owns, where it goes or is gone; and owners that wait for it."""
    found = []
    current = view.get(kinds.kind_of(obj), obj.metadata.namespace, obj.metadata.name)
    if current is not None and (current.metadata.owner_references or _is_leaving(current)):
        found.append(_key(obj))
    # What is owned is asked about only then: a workload's status changes as often as it has pods.
    if current is None or current.metadata.uid != obj.metadata.uid or _is_leaving(current):
        found += [_key(dependent) for dependent in _dependents(obj, view)]
    for reference in obj.metadata.owner_references:
        owner = _owner(reference, obj, view)
        if owner is not None and _is_leaving(owner):
            found.append(_key(owner))
    return found


def _watched() -> tuple[Kind[Any], ...]:
    """Everything stored but what changes all the time and never owns or is owned."""
    return tuple(kind for kind in kinds.KINDS if kind.stored and kind not in (kinds.EVENT, kinds.LEASE))


def _ties(obj: Any) -> tuple[Any, ...]:
    """What of an object decides whether it may stay, and what its dependents must do."""
    metadata = obj.metadata
    return metadata.uid, metadata.owner_references, metadata.deletion_timestamp, metadata.finalizers


CONTROLLER = Controller(
    name="garbage_collector",
    kind=kinds.REPLICA_SET,
    reconcile=reconcile,
    watches=tuple((kind, _related) for kind in _watched()),
    custom=_related,
    sees=dict.fromkeys(_watched(), _ties),
)
