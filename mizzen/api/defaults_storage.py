"""Defaults of persistent volumes and claims."""

from __future__ import annotations

from mizzen.api.edit import edited, filled, maybe
from mizzen.api.types import core_v1 as core


def volume(obj: core.PersistentVolume) -> core.PersistentVolume:
    """A file system that is kept when its claim is gone; pending until somebody has looked at it."""
    spec = filled(volume_source(obj.spec), persistent_volume_reclaim_policy="Retain", volume_mode="Filesystem")
    return edited(obj, spec=spec, status=filled(obj.status, phase="Pending"))


def volume_source(spec: core.PersistentVolumeSpec) -> core.PersistentVolumeSpec:
    """The storage behind a volume, for the kinds of storage that have defaults."""
    return edited(
        spec,
        host_path=maybe(spec.host_path, lambda path: edited(path, type=path.type or "")),
        iscsi=maybe(spec.iscsi, lambda iscsi: filled(iscsi, iscsi_interface="default")),
        rbd=maybe(spec.rbd, lambda rbd: filled(rbd, pool="rbd", user="admin", keyring="/etc/ceph/keyring")),
        azure_disk=maybe(
            spec.azure_disk,
            lambda disk: filled(disk, caching_mode="ReadWrite", fs_type="ext4", read_only=False, kind="Shared"),
        ),
        scale_io=maybe(spec.scale_io, lambda io: filled(io, storage_mode="ThinProvisioned", fs_type="xfs")),
    )


def claim(obj: core.PersistentVolumeClaim) -> core.PersistentVolumeClaim:
    """A file system; pending until it is bound. The old and the new field for the source of the data say the same."""
    spec = filled(obj.spec, volume_mode="Filesystem")
    one, other = spec.data_source, spec.data_source_ref
    if one is not None and other is None:
        same = core.TypedObjectReference(api_group=one.api_group, kind=one.kind, name=one.name)
        spec = edited(spec, data_source_ref=same)
    elif one is None and other is not None and not other.namespace:
        old = core.TypedLocalObjectReference(api_group=other.api_group, kind=other.kind, name=other.name)
        spec = edited(spec, data_source=old)
    return edited(obj, spec=spec, status=filled(obj.status, phase="Pending"))
