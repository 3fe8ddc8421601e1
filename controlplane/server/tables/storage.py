"""The tables of storage: volumes and claims."""

from __future__ import annotations

from controlplane.server.tables.model import AGE, NAME, UNSET, Row, TableOf, age, column
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def volume_row(obj: core.PersistentVolume, now: Instant) -> Row:
    """The cells of one persistent volume."""
    spec, claim = obj.spec, obj.spec.claim_ref
    return Row(
        (
            obj.metadata.name,
            spec.capacity.get("storage", "0"),
            _modes(spec.access_modes),
            spec.persistent_volume_reclaim_policy,
            _phase(obj.metadata, obj.status.phase),
            "" if claim is None else f"{claim.namespace}/{claim.name}",
            _class(obj.metadata, spec.storage_class_name),
            UNSET if spec.volume_attributes_class_name is None else spec.volume_attributes_class_name,
            obj.status.reason,
            age(obj.metadata, now),
            UNSET if spec.volume_mode is None else spec.volume_mode,
        )
    )


def claim_row(obj: core.PersistentVolumeClaim, now: Instant) -> Row:
    """The cells of one claim: what it has, not what it asks for."""
    spec, bound = obj.spec, bool(obj.spec.volume_name)
    return Row(
        (
            obj.metadata.name,
            _phase(obj.metadata, obj.status.phase),
            spec.volume_name,
            obj.status.capacity.get("storage", "0") if bound else "",
            _modes(obj.status.access_modes) if bound else "",
            _class(obj.metadata, spec.storage_class_name or ""),
            UNSET if spec.volume_attributes_class_name is None else spec.volume_attributes_class_name,
            age(obj.metadata, now),
            UNSET if spec.volume_mode is None else spec.volume_mode,
        )
    )


def _phase(metadata: meta.ObjectMeta, phase: str) -> str:
    return phase if metadata.deletion_timestamp is None else "Terminating"


def _class(metadata: meta.ObjectMeta, name: str) -> str:
    return metadata.annotations.get(_OLD_CLASS, name)


def _modes(modes: tuple[str, ...]) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


_CLASS = column("StorageClass", "The class of storage that it belongs to.")
_ATTRIBUTES = column("VolumeAttributesClass", "The class of its attributes.")
_ACCESS = column("Access Modes", "How it can be mounted.")
_MODE = column("VolumeMode", "Whether it is mounted or used as a device.", wide=True)

VOLUME_TABLE = TableOf(
    (
        NAME,
        column("Capacity", "Its size."),
        _ACCESS,
        column("Reclaim Policy", "What happens when its claim is gone."),
        column("Status", "Whether it is free, bound or being deleted."),
        column("Claim", "The claim that it is bound to."),
        _CLASS,
        _ATTRIBUTES,
        column("Reason", "Why it failed, in one word."),
        AGE,
        _MODE,
    ),
    volume_row,
)
CLAIM_TABLE = TableOf(
    (
        NAME,
        column("Status", "Whether it is bound or being deleted."),
        column("Volume", "The volume that it is bound to."),
        column("Capacity", "The size of that volume."),
        _ACCESS,
        _CLASS,
        _ATTRIBUTES,
        AGE,
        _MODE,
    ),
    claim_row,
)
