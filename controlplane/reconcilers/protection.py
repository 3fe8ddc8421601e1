"""Lets claims, volumes and classes of attributes go that are being deleted, as soon as nobody uses them any longer.

A claim is in use by every pod that has a node and mounts it, even one that has ended; a volume by the claim it is
bound to; a class by every claim and volume that has it or is to have it. Those that were made before they were
protected are protected, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.api.volumes import ATTRIBUTES_FINALIZER, CLAIM_FINALIZER, VOLUME_FINALIZER, claims_of
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View


def reconcile_claim(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One claim."""
    claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, key.namespace, key.name)
    if claim is None:
        return Decision()
    return _decide(claim, CLAIM_FINALIZER, in_use=claim.metadata.deletion_timestamp is None or _is_mounted(claim, view))


def reconcile_volume(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One volume."""
    volume = view.get(kinds.PERSISTENT_VOLUME, "", key.name)
    if volume is None:
        return Decision()
    in_use = volume.metadata.deletion_timestamp is None or volume.status.phase == "Bound"
    return _decide(volume, VOLUME_FINALIZER, in_use=in_use)


def reconcile_attributes(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One class of attributes."""
    found = view.get(kinds.VOLUME_ATTRIBUTES_CLASS, "", key.name)
    if found is None:
        return Decision()
    in_use = found.metadata.deletion_timestamp is None or _is_named(key.name, view)
    return _decide(found, ATTRIBUTES_FINALIZER, in_use=in_use)


def _is_named(name: str, view: View) -> bool:
    claims, volumes = view.list(kinds.PERSISTENT_VOLUME_CLAIM), view.list(kinds.PERSISTENT_VOLUME)
    return any(name in _named_by_claim(one) for one in claims) or any(
        name == one.spec.volume_attributes_class_name for one in volumes
    )


def _named_by_claim(claim: core_v1.PersistentVolumeClaim) -> set[str]:
    status = claim.status.modify_volume_status
    names = {
        claim.spec.volume_attributes_class_name,
        claim.status.current_volume_attributes_class_name,
        status.target_volume_attributes_class_name if status is not None else None,
    }
    return {name for name in names if name}


def _decide(obj: Any, finalizer: str, *, in_use: bool) -> Decision:
    there = obj.metadata.finalizers
    if in_use:
        # A deletion that has begun can't be held up any more.
        wanted = there if finalizer in there or obj.metadata.deletion_timestamp else (*there, finalizer)
    else:
        wanted = tuple(name for name in there if name != finalizer)
    if wanted == there:
        return Decision()
    changed = msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, finalizers=wanted))
    return Decision((Update(changed),))


def _is_mounted(claim: core_v1.PersistentVolumeClaim, view: View) -> bool:
    named = indexes.namespaced(claim.metadata.namespace, claim.metadata.name)
    pods = view.select(indexes.PODS_BY_CLAIM, named)
    return any(pod.spec.node_name and _uses(pod, claim) for pod in pods)


def _uses(pod: core_v1.Pod, claim: core_v1.PersistentVolumeClaim) -> bool:
    owners = {reference.uid for reference in claim.metadata.owner_references if reference.controller}
    return any(
        name == claim.metadata.name and (not is_own or pod.metadata.uid in owners) for name, is_own in claims_of(pod)
    )


def _mounted_by(pod: core_v1.Pod, view: View) -> Iterable[Key]:
    resource, namespace = kinds.PERSISTENT_VOLUME_CLAIM.resource, pod.metadata.namespace
    return [Key(resource, namespace, name) for name, _ in claims_of(pod)]


def _classes_of_claim(claim: core_v1.PersistentVolumeClaim, view: View) -> Iterable[Key]:
    return [Key(kinds.VOLUME_ATTRIBUTES_CLASS.resource, "", name) for name in sorted(_named_by_claim(claim))]


def _class_of_volume(volume: core_v1.PersistentVolume, view: View) -> Iterable[Key]:
    name = volume.spec.volume_attributes_class_name
    return [Key(kinds.VOLUME_ATTRIBUTES_CLASS.resource, "", name)] if name else []


CLAIMS = Controller(
    name="persistentvolumeclaim-protection",
    kind=kinds.PERSISTENT_VOLUME_CLAIM,
    reconcile=reconcile_claim,
    watches=((kinds.POD, _mounted_by),),
)
VOLUMES = Controller(name="persistentvolume-protection", kind=kinds.PERSISTENT_VOLUME, reconcile=reconcile_volume)
ATTRIBUTES = Controller(
    name="volumeattributesclass-protection",
    kind=kinds.VOLUME_ATTRIBUTES_CLASS,
    reconcile=reconcile_attributes,
    watches=(
        (kinds.PERSISTENT_VOLUME_CLAIM, _classes_of_claim),
        (kinds.PERSISTENT_VOLUME, _class_of_volume),
    ),
)
