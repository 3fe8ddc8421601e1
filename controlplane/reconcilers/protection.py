"""Lets claims and volumes go that are being deleted, as soon as nobody uses them any longer.

A claim is in use by every pod that has a node and mounts it, even one that has ended; a volume by the claim it is
bound to. Those that were made before they were protected are protected, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.api.volumes import CLAIM_FINALIZER, VOLUME_FINALIZER, claims_of
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


CLAIMS = Controller(
    name="persistentvolumeclaim-protection",
    kind=kinds.PERSISTENT_VOLUME_CLAIM,
    reconcile=reconcile_claim,
    watches=((kinds.POD, _mounted_by),),
)
VOLUMES = Controller(name="persistentvolume-protection", kind=kinds.PERSISTENT_VOLUME, reconcile=reconcile_volume)
