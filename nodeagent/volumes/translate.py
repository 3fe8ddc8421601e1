"""A container's `volumeMounts` in the words of the runtime. Pure."""

from __future__ import annotations

from typing import Literal

from mizzen.api.types import core_v1 as core
from nodeagent.runtime.values import Device, Mount

_PROPAGATION: dict[str, Literal["private", "rslave", "rshared"]] = {
    "HostToContainer": "rslave",
    "Bidirectional": "rshared",
}


def is_read_only(volume: core.Volume) -> bool:
    """Whether containers never write to the volume: its files are made by the agent, or the pod says so."""
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.read_only
    if volume.nfs is not None:
        return volume.nfs.read_only
    if volume.csi is not None:
        return bool(volume.csi.read_only)
    return volume.empty_dir is None and volume.host_path is None and volume.ephemeral is None


def mount_of(wanted: core.VolumeMount, volume: core.Volume, path: str) -> Mount:
    """The mount of a volume, or of the part of it that lies at the path."""
    target = wanted.mount_path
    return Mount(
        host_path=path,
        container_path=target if target.startswith("/") else f"/{target}",
        read_only=wanted.read_only or is_read_only(volume),
        propagation=_PROPAGATION.get(wanted.mount_propagation or "", "private"),
    )


def device_of(wanted: core.VolumeDevice, volume: core.Volume, path: str) -> Device:
    """The device at a path of the node, as a container is given it."""
    return Device(host_path=path, container_path=wanted.device_path, permissions="r" if is_read_only(volume) else "rwm")
