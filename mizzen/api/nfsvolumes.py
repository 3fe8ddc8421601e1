"""Volumes that are a folder of an NFS share: what is made for a claim, and why none can be.

The parameters of a class are named as those of the `csi-driver-nfs` of Kubernetes are, so that its classes need only
another provisioner. Nothing is written to the share here: the first node that mounts such a volume makes its folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import NamedTuple

from mizzen.api import volumes
from mizzen.api.types import core_v1, meta_v1, storage_v1

SHARE = "mizzen.dev/nfs-share"
"""The annotation of such a volume that says which folder of its server is mounted to make or remove its own."""
ON_DELETE = "mizzen.dev/nfs-on-delete"
"""The annotation of such a volume that says what becomes of its folder: one of `ENDS`."""
CLIENT = "mizzen.dev/nfs-client"
"""The annotation of a node that says whether it has what mounts NFS: `true` or `false`."""
DELETE, RETAIN, ARCHIVE = ENDS = ("delete", "retain", "archive")

_PARAMETERS = {name.lower(): name for name in ("server", "share", "subDir", "onDelete")}
_OWN_FOLDER = "${pv.metadata.name}"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Place(NamedTuple):
    """A folder of its own in a share."""

    share: str
    folder: str
    """Below the share, without a slash at either end."""


def refusal(claim: core_v1.PersistentVolumeClaim, found: storage_v1.StorageClass) -> str:
    """Why no folder can be made for a claim of this class; empty when one can."""
    given, name = _given(found), found.metadata.name
    for key in found.parameters:
        if key.lower() not in _PARAMETERS:
            there = ", ".join(_PARAMETERS.values())
            return f'parameter "{key}" of storage class "{name}" is not known; there are {there}'
    if missing := [key for key in ("server", "share") if not given.get(key)]:
        return f'storage class "{name}" must have the parameter {missing[0]}'
    if given.get("onDelete", DELETE).lower() not in ENDS:
        return f'parameter onDelete of storage class "{name}" must be one of {", ".join(ENDS)}'
    known = _variables(claim)
    for variable in _VARIABLE.findall(given.get("subDir", "")):
        if variable not in known:
            return f'subDir of storage class "{name}" has ${{{variable}}}; there are {", ".join(sorted(known))}'
    parts = _folder(claim, given).split("/")
    if ".." in parts or "." in parts or "" in parts:
        return f'subDir of storage class "{name}" must be a path below the share, without . and ..'
    if claim.spec.volume_mode == "Block":
        return "volumeMode Block is not supported: a volume is a folder of a share"
    return ""


def made(claim: core_v1.PersistentVolumeClaim, found: storage_v1.StorageClass) -> core_v1.PersistentVolume:
    """The volume for a claim of a class that does not refuse it."""
    given = _given(found)
    share = "/" + given["share"].strip("/")
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(
            name=_name(claim),
            annotations={
                volumes.PROVISIONED_BY: found.provisioner,
                SHARE: share,
                ON_DELETE: given.get("onDelete", DELETE).lower(),
            },
            finalizers=(volumes.VOLUME_FINALIZER, volumes.NFS),
        ),
        spec=core_v1.PersistentVolumeSpec(
            capacity={volumes.STORAGE: volumes.requested(claim)},
            nfs=core_v1.NFSVolumeSource(server=given["server"], path=posixpath.join(share, _folder(claim, given))),
            access_modes=claim.spec.access_modes,
            claim_ref=volumes.reference(claim),
            persistent_volume_reclaim_policy=found.reclaim_policy or "Delete",
            storage_class_name=found.metadata.name,
            mount_options=found.mount_options,
            volume_mode="Filesystem",
        ),
    )


def place_of(volume: core_v1.PersistentVolume) -> Place | None:
    """Where a volume's own folder is; None for a volume that is not one of these, or says so no longer."""
    share = volume.metadata.annotations.get(SHARE, "")
    if volumes.NFS not in volume.metadata.finalizers or volume.spec.nfs is None or not share:
        return None
    beyond = share.rstrip("/") + "/"
    folder = volume.spec.nfs.path.removeprefix(beyond)
    if folder == volume.spec.nfs.path or any(part in ("", ".", "..") for part in folder.split("/")):
        return None
    return Place(share, folder)


def holds_the_same(volume: core_v1.PersistentVolume, other: core_v1.PersistentVolume) -> bool:
    """Whether taking a volume's folder away would take data of another volume with it."""
    mine, theirs = volume.spec.nfs, other.spec.nfs
    if mine is None or theirs is None or other.metadata.name == volume.metadata.name or mine.server != theirs.server:
        return False
    return f"{theirs.path.rstrip('/')}/".startswith(f"{mine.path.rstrip('/')}/")


def _given(found: storage_v1.StorageClass) -> Mapping[str, str]:
    return {_PARAMETERS.get(key.lower(), key): value for key, value in found.parameters.items()}


def _name(claim: core_v1.PersistentVolumeClaim) -> str:
    return f"pvc-{claim.metadata.uid}"


def _variables(claim: core_v1.PersistentVolumeClaim) -> Mapping[str, str]:
    return {
        "pvc.metadata.namespace": claim.metadata.namespace,
        "pvc.metadata.name": claim.metadata.name,
        "pv.metadata.name": _name(claim),
    }


def _folder(claim: core_v1.PersistentVolumeClaim, given: Mapping[str, str]) -> str:
    known = _variables(claim)
    pattern = given.get("subDir") or _OWN_FOLDER
    return _VARIABLE.sub(lambda match: known.get(match[1], match[0]), pattern).strip("/")
