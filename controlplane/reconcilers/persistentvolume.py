"""Keeps the phase of volumes and ends those whose claim is gone, as their reclaim policy says.

A volume in a node's folder is only marked for deletion here; its node takes the folder away and then lets it go. Where
there is no such node any more, or the data is to be kept, it goes at once. A folder of an NFS share is taken away by
any node that is ready and can mount it; which one is noted in the volume.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import kinds, nfsvolumes, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, Emit, Update, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "persistentvolume-controller"
AGAIN_MS = 15_000
"""After this time it is looked again whether there is a node that takes a folder of a share away."""
NO_CLIENT = "no node is ready that can mount NFS; install the client (Debian: nfs-common) on one and restart its agent"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One volume."""
    volume = view.get(kinds.PERSISTENT_VOLUME, "", key.name)
    if volume is None:
        return Decision()
    if volume.metadata.deletion_timestamp is not None:
        if ended := _let_go(volume, view):
            return Decision((ended,))
        if volumes.NFS in volume.metadata.finalizers and volumes.VOLUME_FINALIZER not in volume.metadata.finalizers:
            return _hand_over(volume, view)
    ref = volume.spec.claim_ref
    if ref is None or not ref.uid:
        return Decision(tuple(_phase(volume, "Available")))
    claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, ref.namespace, ref.name)
    if claim is None or claim.metadata.uid != ref.uid:
        return Decision(tuple(_released(volume)))
    if claim.spec.volume_name == volume.metadata.name:
        return Decision(tuple(_phase(volume, "Bound")))
    if claim.spec.volume_name:
        return Decision(tuple(_misplaced(volume)))
    return Decision()


def _phase(volume: core_v1.PersistentVolume, phase: str, message: str = "", reason: str = "") -> Iterable[Effect]:
    status = volume.status
    if (status.phase, status.message, status.reason) != (phase, message, reason):
        yield UpdateStatus(edited(volume, status=edited(status, phase=phase, message=message, reason=reason)))


def _misplaced(volume: core_v1.PersistentVolume) -> Iterable[Effect]:
    """Its claim has another volume: one that was made for it ends, another is free again."""
    if volume.metadata.annotations.get(volumes.PROVISIONED_BY) and _policy(volume) == "Delete":
        yield from _released(volume)
        return
    annotations = dict(volume.metadata.annotations)
    ref = None
    if annotations.pop(volumes.BOUND_BY_CONTROLLER, None) is None and volume.spec.claim_ref is not None:
        # Users reserved it by name; they keep that.
        ref = edited(volume.spec.claim_ref, uid="", resource_version="")
    metadata = edited(volume.metadata, annotations=annotations)
    yield Update(edited(volume, metadata=metadata, spec=edited(volume.spec, claim_ref=ref)))


def _policy(volume: core_v1.PersistentVolume) -> str:
    return volume.spec.persistent_volume_reclaim_policy or "Retain"


def _released(volume: core_v1.PersistentVolume) -> Iterable[Effect]:
    if volume.status.phase not in ("Released", "Failed"):
        yield from _phase(volume, "Released")
        return
    if volume.metadata.deletion_timestamp is not None or volume.status.phase == "Failed":
        return
    if _policy(volume) == "Recycle":
        yield from _failed(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    elif _policy(volume) == "Delete":
        provisioner = volume.metadata.annotations.get(volumes.PROVISIONED_BY, "")
        if not provisioner:
            name = volume.metadata.name
            why = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
            yield from _failed(volume, "VolumeFailedDelete", why)
        elif provisioner in (volumes.LOCAL, volumes.NFS):
            key = Key(kinds.PERSISTENT_VOLUME.resource, "", volume.metadata.name)
            yield Delete(key, volume.metadata.uid, volume.metadata.resource_version)


def _failed(volume: core_v1.PersistentVolume, reason: str, message: str) -> Iterable[Effect]:
    yield Emit(volume, "Warning", reason, message, COMPONENT)
    yield from _phase(volume, "Failed", message)


def _let_go(volume: core_v1.PersistentVolume, view: View) -> Update | None:
    """Take a node's mark off a volume whose folder nobody has to take away, or nobody can."""
    finalizers = volume.metadata.finalizers
    mark = volumes.NFS if volumes.NFS in finalizers else volumes.LOCAL
    if mark not in finalizers or volumes.VOLUME_FINALIZER in finalizers:
        return None
    has_folder = _shows_folder(volume, view) if mark == volumes.NFS else _has_home(volume, view)
    if _policy(volume) == "Delete" and has_folder:
        return None
    rest = tuple(name for name in finalizers if name != mark)
    return Update(edited(volume, metadata=edited(volume.metadata, finalizers=rest)))


def _has_home(volume: core_v1.PersistentVolume, view: View) -> bool:
    return view.get(kinds.NODE, "", volumes.home_of(volume)) is not None


def _shows_folder(volume: core_v1.PersistentVolume, view: View) -> bool:
    """Whether a folder of a share is to be taken away: it is the volume's own, and no other volume shows any of it."""
    if (
        nfsvolumes.place_of(volume) is None
        or volume.metadata.annotations.get(nfsvolumes.ON_DELETE) == nfsvolumes.RETAIN
    ):
        return False
    return not any(nfsvolumes.holds_the_same(volume, other) for other in view.list(kinds.PERSISTENT_VOLUME))


def _hand_over(volume: core_v1.PersistentVolume, view: View) -> Decision:
    """Choose the node that takes a folder of a share away; another when the first is no longer well."""
    able = sorted(node.metadata.name for node in view.list(kinds.NODE) if _can_mount(node))
    if not able:
        said = Emit(volume, "Warning", "VolumeFailedDelete", NO_CLIENT, volumes.NFS)
        return Decision((said,), AGAIN_MS, (Waiting("VolumeFailedDelete", NO_CLIENT),))
    if volumes.home_of(volume) in able:
        return Decision((), AGAIN_MS)
    annotations = {**volume.metadata.annotations, volumes.HOME: able[0]}
    return Decision((Update(edited(volume, metadata=edited(volume.metadata, annotations=annotations))),), AGAIN_MS)


def _can_mount(node: core_v1.Node) -> bool:
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)
    return ready and node.metadata.annotations.get(nfsvolumes.CLIENT) == "true"


def _of_claim(claim: core_v1.PersistentVolumeClaim, view: View) -> Iterable[Key]:
    place = indexes.namespaced(claim.metadata.namespace, claim.metadata.name)
    names = {volume.metadata.name for volume in view.select(indexes.VOLUMES_BY_CLAIM, place)}
    return [Key(kinds.PERSISTENT_VOLUME.resource, "", name) for name in sorted({*names, claim.spec.volume_name} - {""})]


CONTROLLER = Controller(
    name="persistentvolume-binder",
    kind=kinds.PERSISTENT_VOLUME,
    reconcile=reconcile,
    watches=((kinds.PERSISTENT_VOLUME_CLAIM, _of_claim),),
    resync_ms=600_000,
)
