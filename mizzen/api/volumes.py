"""Claims and volumes: which volume suits a claim, what a pod mounts, and the marks that binding leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mizzen.api import quantity, selectors
from mizzen.api.edit import edited
from mizzen.api.node_affinity import term_matches
from mizzen.api.types import core_v1, meta_v1, storage_v1

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
OLD_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
LOCAL = "mizzen.dev/local"
"""The provisioner of folders on nodes; also the finalizer of such a volume, which its node takes away."""
NFS = "mizzen.dev/nfs"
"""The provisioner of folders of an NFS share; also the finalizer of such a volume, which some node takes away."""
LOCAL_FOLDER = "mizzen.dev/local-volumes"
"""The annotation of a node that says where its folders are made."""
HOME = "mizzen.dev/home"
"""The annotation of a volume that names the node which takes its folder away."""
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
ATTRIBUTES_FINALIZER = "kubernetes.io/vac-protection"
HOSTNAME = "kubernetes.io/hostname"
STORAGE = "storage"
READ_WRITE_ONCE_POD = "ReadWriteOncePod"
TOO_SMALL = "requested PV is too small"
OTHER_MODE = "incompatible volumeMode"
OTHER_ATTRIBUTES = "volumeAttributesClassName does not match"


class Mounted(NamedTuple):
    """A claim that a pod mounts."""

    name: str
    is_own: bool
    """It is made for this very pod (`ephemeral`)."""


def claims_of(pod: core_v1.Pod) -> Iterator[Mounted]:
    """The claims that a pod mounts."""
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield Mounted(volume.persistent_volume_claim.claim_name, is_own=False)
        elif volume.ephemeral is not None:
            yield Mounted(ephemeral_claim(pod, volume), is_own=True)


def ephemeral_claim(pod: core_v1.Pod, volume: core_v1.Volume) -> str:
    """The name of the claim that is made for an ephemeral volume of a pod."""
    return f"{pod.metadata.name}-{volume.name}"


def class_of(obj: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume) -> str:
    """The name of the class of a claim or volume; empty for none."""
    return obj.metadata.annotations.get(CLASS_ANNOTATION) or obj.spec.storage_class_name or ""


def requested(claim: core_v1.PersistentVolumeClaim) -> str:
    """How much a claim asks for."""
    return claim.spec.resources.requests.get(STORAGE, "0")


def is_bound(claim: core_v1.PersistentVolumeClaim) -> bool:
    """Whether a claim has its volume for good."""
    return bool(claim.spec.volume_name) and BIND_COMPLETED in claim.metadata.annotations


def waits_for_consumer(claim: core_v1.PersistentVolumeClaim, found: storage_v1.StorageClass | None) -> bool:
    """Whether a claim of this class is bound only when it is known where its first pod runs, and that is not known."""
    delayed = found is not None and found.volume_binding_mode == "WaitForFirstConsumer"
    return delayed and not claim.metadata.annotations.get(SELECTED_NODE)


def is_for(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> bool:
    """Whether a volume is reserved for a claim: by name, and where it says so by identity."""
    ref, meta = volume.spec.claim_ref, claim.metadata
    return ref is not None and (ref.namespace, ref.name) == (meta.namespace, meta.name) and ref.uid in ("", meta.uid)


def mismatch(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> str:
    """Why a volume that a claim names does not satisfy it; empty when it does."""
    if quantity.compare(volume.spec.capacity.get(STORAGE, "0"), requested(claim)) < 0:
        return TOO_SMALL
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if (volume.spec.volume_mode or "Filesystem") != (claim.spec.volume_mode or "Filesystem"):
        return OTHER_MODE
    if (volume.spec.volume_attributes_class_name or "") != (claim.spec.volume_attributes_class_name or ""):
        return OTHER_ATTRIBUTES
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def suiting(
    claim: core_v1.PersistentVolumeClaim, volumes: Iterable[core_v1.PersistentVolume]
) -> list[core_v1.PersistentVolume]:
    """The volumes that a claim may be bound to, the best first.

    One that is reserved for it comes before all others; of the others the smallest, of equally large ones the first by
    name.
    """
    selector = selectors.from_field(claim.spec.selector or meta_v1.LabelSelector())
    return sorted(
        (volume for volume in volumes if _suits(volume, claim, selector)),
        key=lambda volume: (
            not is_for(volume, claim),
            quantity.parse(volume.spec.capacity.get(STORAGE, "0")).nano,
            volume.metadata.name,
        ),
    )


def _suits(
    volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim, selector: selectors.Selector
) -> bool:
    why_not = mismatch(volume, claim)
    if volume.metadata.deletion_timestamp is not None or why_not in (TOO_SMALL, OTHER_MODE, OTHER_ATTRIBUTES):
        return False
    if volume.spec.claim_ref is not None:
        # Whoever reserved it has chosen; class, labels and access are theirs to judge.
        return is_for(volume, claim)
    return not why_not and volume.status.phase == "Available" and selector.matches(volume.metadata.labels)


def reference(claim: core_v1.PersistentVolumeClaim) -> core_v1.ObjectReference:
    """The claim, as its volume names it."""
    meta = claim.metadata
    return core_v1.ObjectReference(
        kind="PersistentVolumeClaim",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        api_version="v1",
        resource_version=meta.resource_version,
    )


def reserved(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> core_v1.PersistentVolume:
    """The volume, for this claim and no other."""
    metadata = volume.metadata
    if volume.spec.claim_ref is None:
        metadata = edited(metadata, annotations={**metadata.annotations, BOUND_BY_CONTROLLER: "yes"})
    return edited(volume, metadata=metadata, spec=edited(volume.spec, claim_ref=reference(claim)))


def required_of(volume: core_v1.PersistentVolume) -> core_v1.NodeSelector | None:
    """The nodes that a volume can be reached from; None for all."""
    return volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None


def selects(selector: core_v1.NodeSelector | None, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a volume's nodes include this one."""
    return selector is None or any(term_matches(term, name, labels) for term in selector.node_selector_terms)


def home_of(volume: core_v1.PersistentVolume) -> str:
    """The name of the node that makes and removes a volume's folder; empty for volumes that none has."""
    if volume.spec.nfs is not None and NFS in volume.metadata.finalizers:
        return volume.metadata.annotations.get(HOME, "")
    required = required_of(volume)
    if volume.spec.local is None or LOCAL not in volume.metadata.finalizers or required is None:
        return ""
    if home := volume.metadata.annotations.get(HOME, ""):
        return home
    for term in required.node_selector_terms:
        for expression in term.match_expressions:
            if expression.key == HOSTNAME and expression.operator == "In" and len(expression.values) == 1:
                return expression.values[0]
    return ""
