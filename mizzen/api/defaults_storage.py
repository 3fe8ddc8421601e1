"""Defaults of volumes and claims, and of the classes and drivers that they name."""

from __future__ import annotations

from mizzen.api.edit import edited, filled, maybe
from mizzen.api.types import core_v1 as core
from mizzen.api.types import storage_v1 as storage


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


def storage_class(obj: storage.StorageClass) -> storage.StorageClass:
    """Volumes are made at once and go with their claims."""
    return filled(obj, reclaim_policy="Delete", volume_binding_mode="Immediate")


def driver(obj: storage.CSIDriver) -> storage.CSIDriver:
    """Attaches volumes, which claims ask for, and needs nothing else."""
    spec = filled(
        obj.spec,
        attach_required=True,
        pod_info_on_mount=False,
        storage_capacity=False,
        fs_group_policy="ReadWriteOnceWithFSType",
        requires_republish=False,
        se_linux_mount=False,
    )
    return edited(obj, spec=edited(spec, volume_lifecycle_modes=spec.volume_lifecycle_modes or ("Persistent",)))


def attachment(obj: storage.VolumeAttachment) -> storage.VolumeAttachment:
    """A volume that is described in place has the defaults of a volume."""
    inline = obj.spec.source.inline_volume_spec
    if inline is None:
        return obj
    inline = filled(volume_source(inline), volume_mode="Filesystem")
    return edited(obj, spec=edited(obj.spec, source=edited(obj.spec.source, inline_volume_spec=inline)))
