"""Volumes that are a folder of one node: what is made for a claim, and where that can't be."""

from __future__ import annotations

from mizzen.api import volumes
from mizzen.api.types import core_v1, meta_v1, storage_v1


def refusal(claim: core_v1.PersistentVolumeClaim, found: storage_v1.StorageClass, node: core_v1.Node | None) -> str:
    """Why no folder can be made for a claim of this class; empty when one can."""
    if found.volume_binding_mode != "WaitForFirstConsumer":
        return f'storage class "{found.metadata.name}" must have volumeBindingMode WaitForFirstConsumer'
    if claim.spec.volume_mode == "Block":
        return "volumeMode Block is not supported: a volume is a folder of its node"
    shared = [mode for mode in claim.spec.access_modes if mode in ("ReadWriteMany", "ReadOnlyMany")]
    if shared:
        return f"accessMode {shared[0]} is not supported: a volume is on one node"
    name = claim.metadata.annotations.get(volumes.SELECTED_NODE, "")
    if node is None:
        return f'node "{name}" not found'
    if not node.metadata.annotations.get(volumes.LOCAL_FOLDER):
        return f'node "{name}" does not say where its volumes are (annotation {volumes.LOCAL_FOLDER})'
    return ""


def made(
    claim: core_v1.PersistentVolumeClaim, found: storage_v1.StorageClass, node: core_v1.Node
) -> core_v1.PersistentVolume:
    """The volume for a claim, in a folder of its own on the node."""
    name = f"pvc-{claim.metadata.uid}"
    host = node.metadata.labels.get(volumes.HOSTNAME, node.metadata.name)
    here = core_v1.NodeSelectorRequirement(key=volumes.HOSTNAME, operator="In", values=(host,))
    required = core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_expressions=(here,)),))
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(
            name=name,
            annotations={volumes.PROVISIONED_BY: found.provisioner, volumes.HOME: node.metadata.name},
            finalizers=(volumes.VOLUME_FINALIZER, volumes.LOCAL),
        ),
        spec=core_v1.PersistentVolumeSpec(
            capacity={volumes.STORAGE: volumes.requested(claim)},
            local=core_v1.LocalVolumeSource(path=f"{node.metadata.annotations[volumes.LOCAL_FOLDER]}/{name}"),
            access_modes=claim.spec.access_modes,
            claim_ref=volumes.reference(claim),
            persistent_volume_reclaim_policy=found.reclaim_policy or "Delete",
            storage_class_name=found.metadata.name,
            volume_mode="Filesystem",
            node_affinity=core_v1.VolumeNodeAffinity(required=required),
        ),
    )
