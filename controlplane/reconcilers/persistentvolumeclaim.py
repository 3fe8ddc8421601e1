"""Binds claims to volumes, has volumes made for those that none suits, and grows those that may grow.

A claim and its volume name each other. First the volume is reserved, then the claim says that it has it: whoever dies
in between, and whatever else is bound at the same time, finds one of the two and goes on from there. A write is
refused where somebody else has changed the object, so no volume is given away twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import kinds, localvolumes, nfsvolumes, quantity, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1, storage_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Effect, Emit, Update, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "persistentvolume-controller"
EXPANDER = "volume_expand"
EXTERNAL_MS = 300_000
"""After this time it is said again that a volume waits for somebody else to make it larger."""
AGAIN_MS = 15_000
"""After this time a claim that waits is looked at again, and says so again."""
NOTHING_FITS = "no persistent volumes available for this claim and no storage class is set"
FIRST_CONSUMER = "waiting for first consumer to be created before binding"
LOST_NAME = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
LOST_VOLUME = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
FROM_DATA = 'plugin "{}" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource'
EXTERNAL = (
    "Ignoring the PVC: didn't find a plugin capable of expanding the volume; "
    "waiting for an external controller to process this PVC."
)
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"

_Claim = core_v1.PersistentVolumeClaim
_OWN = (volumes.LOCAL, volumes.NFS)
"""The provisioners that are built in."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One claim."""
    claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, key.namespace, key.name)
    if claim is None:
        return Decision()
    if volumes.BIND_COMPLETED in claim.metadata.annotations:
        return _keep(claim, view)
    if claim.metadata.deletion_timestamp is not None:
        return Decision()
    return _take_named(claim, view) if claim.spec.volume_name else _find(claim, view)


# Claims that have no volume yet


def _find(claim: _Claim, view: View) -> Decision:
    name = volumes.class_of(claim)
    found = view.get(kinds.STORAGE_CLASS, "", name) if name else None
    place = indexes.namespaced(claim.metadata.namespace, claim.metadata.name)
    suiting = volumes.suiting(claim, view.select(indexes.VOLUMES_BY_CLAIM, place))
    if suiting:
        return _bind(claim, suiting[0])
    if volumes.waits_for_consumer(claim, found):
        return _wait(claim, "WaitForFirstConsumer", _consumer(claim, view))
    # Once a node was selected the scheduler has reserved what suits, or nothing does.
    if not claim.metadata.annotations.get(volumes.SELECTED_NODE):
        suiting = volumes.suiting(claim, view.select(indexes.FREE_VOLUMES_BY_CLASS, name))
    if suiting:
        return _bind(claim, suiting[0])
    if not name:
        return _wait(claim, "FailedBinding", NOTHING_FITS)
    if found is None:
        return _wait(claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', "Warning")
    return _provision(claim, found, view)


def _wait(claim: _Claim, reason: str, message: str, severity: str = "Normal") -> Decision:
    effects: list[Effect] = [Emit(claim, severity, reason, message, COMPONENT)]
    if claim.status.phase != "Pending":
        effects.append(UpdateStatus(edited(claim, status=edited(claim.status, phase="Pending"))))
    return Decision(tuple(effects), AGAIN_MS, (Waiting(reason, message),))


def _consumer(claim: _Claim, view: View) -> str:
    named = indexes.namespaced(claim.metadata.namespace, claim.metadata.name)
    for pod in view.select(indexes.PODS_BY_CLAIM, named):
        if not pod.spec.node_name:
            return f"waiting for pod {pod.metadata.name} to be scheduled"
    return FIRST_CONSUMER


def _take_named(claim: _Claim, view: View) -> Decision:
    """The claim names its volume."""
    name = claim.spec.volume_name
    volume = view.get(kinds.PERSISTENT_VOLUME, "", name)
    if volume is None:
        return Decision(waiting=(Waiting("Pending", f'persistentvolume "{name}" not found'),))
    if volumes.is_for(volume, claim):
        return _bind(claim, volume)
    if volume.spec.claim_ref is not None:
        why = f'volume "{name}" already bound to a different claim.'
        return _wait(claim, "FailedBinding", why, "Warning")
    why = volumes.mismatch(volume, claim)
    if why:
        return _wait(claim, "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}', "Warning")
    return _bind(claim, volume)


def _bind(claim: _Claim, volume: core_v1.PersistentVolume) -> Decision:
    effects: list[Effect] = []
    meta, ref = claim.metadata, volume.spec.claim_ref
    if ref is None or not ref.uid:
        effects.append(Update(volumes.reserved(volume, claim)))
    annotations = {**meta.annotations, volumes.BIND_COMPLETED: "yes"}
    if not claim.spec.volume_name:
        annotations[volumes.BOUND_BY_CONTROLLER] = "yes"
    spec = edited(claim.spec, volume_name=volume.metadata.name)
    effects.append(Update(edited(claim, metadata=edited(meta, annotations=annotations), spec=spec)))
    return Decision(tuple(effects))


# Making volumes


def _provision(claim: _Claim, found: storage_v1.StorageClass, view: View) -> Decision:
    provisioner = found.provisioner
    if provisioner == volumes.NO_PROVISIONER:
        return _wait(claim, "ProvisioningFailed", f"no volume plugin matched name: {provisioner}", "Warning")
    marks = {volumes.STORAGE_PROVISIONER: provisioner, volumes.OLD_STORAGE_PROVISIONER: provisioner}
    annotations = {**claim.metadata.annotations, **marks}
    if annotations != claim.metadata.annotations:
        return Decision((Update(edited(claim, metadata=edited(claim.metadata, annotations=annotations))),))
    if provisioner in _OWN and (claim.spec.data_source is not None or claim.spec.data_source_ref is not None):
        return _refuse(claim, FROM_DATA.format(provisioner), provisioner)
    if provisioner == volumes.LOCAL:
        return _make_local(claim, found, view)
    if provisioner == volumes.NFS:
        why = nfsvolumes.refusal(claim, found)
        return _refuse(claim, why, volumes.NFS) if why else _make(claim, nfsvolumes.made(claim, found), volumes.NFS)
    message = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    return _wait(claim, "ExternalProvisioning", message)


def _make_local(claim: _Claim, found: storage_v1.StorageClass, view: View) -> Decision:
    node = view.get(kinds.NODE, "", claim.metadata.annotations.get(volumes.SELECTED_NODE, ""))
    why = localvolumes.refusal(claim, found, node)
    if why or node is None:
        return _refuse(claim, why, volumes.LOCAL)
    return _make(claim, localvolumes.made(claim, found, node), volumes.LOCAL)


def _refuse(claim: _Claim, why: str, provisioner: str) -> Decision:
    effects: list[Effect] = [Emit(claim, "Warning", "ProvisioningFailed", why, provisioner)]
    annotations = dict(claim.metadata.annotations)
    if annotations.pop(volumes.SELECTED_NODE, None):
        # The scheduler may find another node.
        effects.append(Update(edited(claim, metadata=edited(claim.metadata, annotations=annotations))))
    return Decision(tuple(effects), AGAIN_MS, (Waiting("ProvisioningFailed", why),))


def _make(claim: _Claim, made: core_v1.PersistentVolume, provisioner: str) -> Decision:
    message = f"Successfully provisioned volume {made.metadata.name}"
    return Decision((Create(made), Emit(claim, "Normal", "ProvisioningSucceeded", message, provisioner)))


# Claims that have their volume


def _keep(claim: _Claim, view: View) -> Decision:
    name = claim.spec.volume_name
    if not name:
        return _lost(claim, "ClaimLost", LOST_NAME)
    volume = view.get(kinds.PERSISTENT_VOLUME, "", name)
    if volume is None:
        return _lost(claim, "ClaimLost", LOST_VOLUME)
    if volume.spec.claim_ref is None:
        return Decision((Update(volumes.reserved(volume, claim)),))
    if not volumes.is_for(volume, claim):
        return _lost(claim, "ClaimMisbound", MISBOUND)
    if not volume.spec.claim_ref.uid:
        return Decision((Update(volumes.reserved(volume, claim)),))
    return _grow(claim, volume) or _show(claim, volume)


def _lost(claim: _Claim, reason: str, message: str) -> Decision:
    if claim.status.phase == "Lost":
        return Decision()
    status = edited(claim.status, phase="Lost", access_modes=(), capacity={})
    return Decision((UpdateStatus(edited(claim, status=status)), Emit(claim, "Warning", reason, message, COMPONENT)))


def _grow(claim: _Claim, volume: core_v1.PersistentVolume) -> Decision | None:
    """A folder has no size of its own, so it grows by saying so. Others are grown by who made them."""
    wanted = volumes.requested(claim)
    small = quantity.compare(volume.spec.capacity.get(volumes.STORAGE, "0"), wanted) < 0
    provisioner = volume.metadata.annotations.get(volumes.PROVISIONED_BY, "")
    if not small:
        return None
    if provisioner not in _OWN:
        said = Emit(claim, "Normal", "ExternalExpanding", EXTERNAL, EXPANDER)
        shown = _show(claim, volume)
        return Decision((said, *shown.effects), EXTERNAL_MS, (Waiting("ExternalExpanding", EXTERNAL),))
    spec = edited(volume.spec, capacity={**volume.spec.capacity, volumes.STORAGE: wanted})
    done = Emit(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded", provisioner)
    return Decision((Update(edited(volume, spec=spec)), done))


def _show(claim: _Claim, volume: core_v1.PersistentVolume) -> Decision:
    modes = volume.spec.access_modes
    before = claim.status
    capacity = dict(before.capacity)
    # A driver's volume may have grown at its back end before its node shows it; who makes it show it says so.
    if before.phase != "Bound" or volume.metadata.annotations.get(volumes.PROVISIONED_BY) in _OWN:
        capacity = {volumes.STORAGE: volume.spec.capacity.get(volumes.STORAGE, "0")}
    attributes = before.current_volume_attributes_class_name
    if before.phase != "Bound":
        attributes = volume.spec.volume_attributes_class_name
    status = edited(
        before, phase="Bound", access_modes=modes, capacity=capacity, current_volume_attributes_class_name=attributes
    )
    if status == before:
        return Decision()
    return Decision((UpdateStatus(edited(claim, status=status)),))


# What concerns which claims


def _of_volume(volume: core_v1.PersistentVolume, view: View) -> Iterable[Key]:
    """The claim that it is for; a free one is for all that have none."""
    ref, name = volume.spec.claim_ref, volume.metadata.name
    if ref is not None:
        yield _key(ref.namespace, ref.name)
        return
    for claim in view.list(kinds.PERSISTENT_VOLUME_CLAIM):
        mine = claim.spec.volume_name
        if mine == name or (not mine and volumes.class_of(claim) == volumes.class_of(volume)):
            yield _key(claim.metadata.namespace, claim.metadata.name)


def _of_class(found: storage_v1.StorageClass, view: View) -> Iterable[Key]:
    for claim in view.list(kinds.PERSISTENT_VOLUME_CLAIM):
        if not claim.spec.volume_name and volumes.class_of(claim) == found.metadata.name:
            yield _key(claim.metadata.namespace, claim.metadata.name)


def _key(namespace: str, name: str) -> Key:
    return Key(kinds.PERSISTENT_VOLUME_CLAIM.resource, namespace, name)


CONTROLLER = Controller(
    name="persistentvolumeclaim-binder",
    kind=kinds.PERSISTENT_VOLUME_CLAIM,
    reconcile=reconcile,
    watches=((kinds.PERSISTENT_VOLUME, _of_volume), (kinds.STORAGE_CLASS, _of_class)),
    # Two claims that take the same volume would only stand in each other's way.
    workers=1,
)
