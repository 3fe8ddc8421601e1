"""What a node knows of its pods' storage beside claims and volumes, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mizzen.api.types import core_v1 as core
from mizzen.api.types import storage_v1 as storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A volume that a driver, or an image, shows to a pod."""

    path: str
    """A folder, or a device."""
    is_owned_by_group: bool = False
    """Its files are given to the pod's `fsGroup`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The storage drivers' side of a pod's volumes."""

    node: str = ""
    drivers: Mapping[str, storage.CSIDriver] = field(default_factory=dict)
    """By name, as far as they have such an object."""
    attachments: Mapping[str, storage.VolumeAttachment] = field(default_factory=dict)
    """Of this node, by name."""
    attached: frozenset[str] = frozenset()
    """The volumes that the node's status says are attached: what is about to be detached is no longer among them."""
    secrets: Mapping[tuple[str, str], core.Secret] = field(default_factory=dict)
    """Those that volumes name, by namespace and name."""
    bound: Mapping[str, core.PersistentVolumeClaim] = field(default_factory=dict)
    """The pod's claims, by name."""
    images: Mapping[str, str] = field(default_factory=dict)
    """The ids of the images that the pod's volumes are made from, by the names of the volumes."""
    shown: Mapping[str, Shown] = field(default_factory=dict)
    """What drivers and images show to the pod already, by the name of the pod's volume."""
