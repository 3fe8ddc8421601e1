"""The rules for PersistentVolumes and PersistentVolumeClaims."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from mizzen.api import formats, quantity, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.schema import message
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import (
    Errors,
    amount,
    checked,
    immutable,
    label_selector,
    maybe_one_of,
    positive_amount,
    required,
)
from mizzen.api.validate_pod import differences
from mizzen.api.validate_scheduling import node_selector
from mizzen.api.validate_volume import host_path, nfs, no_backsteps, one_source

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
DRIVER_NAME_MAX = 63

_SOURCES = tuple((field.attr, field.json_name) for field in message("core_v1.PersistentVolumeSource").fields)
_MODES = ("Block", "Filesystem")
_ALONE = "may not use ReadWriteOncePod with other access modes"
_INLINE = "may not be specified in the context of inline volumes"
_CLAIM_STAYS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_SOURCE_STAYS = "spec.persistentvolumesource is immutable after creation"


def create_volume(volume: core.PersistentVolume) -> Errors:
    """A PersistentVolume that is about to be."""
    yield from validate_meta.create(volume.metadata, formats.dns_subdomain, namespaced=False)
    yield from volume_spec("spec", volume.spec)


def update_volume(new: core.PersistentVolume, old: core.PersistentVolume) -> Errors:
    """A PersistentVolume that is about to be replaced: the storage behind it stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from volume_spec("spec", new.spec)
    before = {attr: getattr(old.spec, attr) for attr, _ in _SOURCES}
    found = differences(replace(new.spec, **before), new.spec, "spec")
    if found:
        yield FieldError.forbidden("spec.persistentvolumesource", "\n".join((_SOURCE_STAYS, *found)))
    yield from immutable("spec.volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    if old.spec.node_affinity is not None:
        yield from immutable("spec.nodeAffinity", new.spec.node_affinity, old.spec.node_affinity)


def update_volume_status(new: core.PersistentVolume, old: core.PersistentVolume) -> Errors:
    """A PersistentVolume's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)


def volume_spec(path: str, spec: core.PersistentVolumeSpec, *, inline: bool = False) -> Errors:
    """What a volume is; `inline`: it stands in a VolumeAttachment instead of being an object."""
    yield from _as_inline(path, spec) if inline else _as_object(path, spec)
    yield from _access_modes(f"{path}.accessModes", spec.access_modes, "")
    if spec.node_affinity is not None:
        if spec.node_affinity.required is None:
            yield FieldError.required(f"{path}.nodeAffinity.required", "must specify required node constraints")
        else:
            yield from node_selector(f"{path}.nodeAffinity.required", spec.node_affinity.required)
    yield from one_source(path, spec, _SOURCES, _RULES)
    if spec.local is not None and spec.node_affinity is None:
        yield FieldError.required(f"{path}.nodeAffinity", "Local volume requires node affinity")
    policy = spec.persistent_volume_reclaim_policy
    if spec.host_path is not None and posixpath.normpath(spec.host_path.path or ".") == "/" and policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        yield FieldError.forbidden(f"{path}.persistentVolumeReclaimPolicy", why)
    yield from maybe_one_of(f"{path}.volumeMode", spec.volume_mode, ("Filesystem",) if inline else _MODES)
    if spec.volume_attributes_class_name is not None:
        at = f"{path}.volumeAttributesClassName"
        yield from required(at, spec.volume_attributes_class_name, "an empty string is disallowed")
        if spec.volume_attributes_class_name:
            yield from checked(at, spec.volume_attributes_class_name, formats.dns_subdomain)
        if spec.csi is None:
            yield FieldError.required(f"{path}.csi", "has to be specified when using volumeAttributesClassName")


def _as_object(path: str, spec: core.PersistentVolumeSpec) -> Errors:
    if not spec.capacity:
        yield FieldError.required(f"{path}.capacity")
    elif tuple(spec.capacity) != ("storage",):
        yield FieldError("FieldValueNotSupported", f"{path}.capacity", spec.capacity, 'supported values: "storage"')
    for name, text in spec.capacity.items():
        yield from positive_amount(f"{path}.capacity[{name}]", text)
    policy = spec.persistent_volume_reclaim_policy or None
    yield from maybe_one_of(f"{path}.persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES)
    if spec.storage_class_name:
        yield from checked(f"{path}.storageClassName", spec.storage_class_name, formats.dns_subdomain)


def _as_inline(path: str, spec: core.PersistentVolumeSpec) -> Errors:
    for name, value in (
        ("claimRef", spec.claim_ref), ("capacity", spec.capacity), ("storageClassName", spec.storage_class_name),
    ):  # fmt: skip
        if value:
            yield FieldError.forbidden(f"{path}.{name}", _INLINE)
    if spec.csi is None:
        yield FieldError.required(f"{path}.csi", "has to be specified in the context of inline volumes")
    if spec.persistent_volume_reclaim_policy not in ("", "Retain"):
        why = "may only be Retain in the context of inline volumes"
        yield FieldError.forbidden(f"{path}.persistentVolumeReclaimPolicy", why)


def _access_modes(path: str, modes: tuple[str, ...], needed: str) -> Errors:
    if not modes:
        yield FieldError.required(path, needed)
    for mode in modes:
        yield from maybe_one_of(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        yield FieldError.forbidden(path, _ALONE)


def _local(path: str, source: core.LocalVolumeSource) -> Errors:
    yield from required(f"{path}.path", source.path)
    yield from no_backsteps(f"{path}.path", source.path)


def _iscsi(path: str, source: core.ISCSIPersistentVolumeSource) -> Errors:
    yield from required(f"{path}.targetPortal", source.target_portal)
    yield from required(f"{path}.iqn", source.iqn)
    if not 0 <= source.lun <= 255:
        yield FieldError.invalid(f"{path}.lun", source.lun, "must be between 0 and 255, inclusive")


def _csi(path: str, source: core.CSIPersistentVolumeSource) -> Errors:
    yield from driver_name(f"{path}.driver", source.driver)
    yield from required(f"{path}.volumeHandle", source.volume_handle)
    for name, secret in (
        ("controllerPublishSecretRef", source.controller_publish_secret_ref),
        ("controllerExpandSecretRef", source.controller_expand_secret_ref),
        ("nodePublishSecretRef", source.node_publish_secret_ref),
        ("nodeStageSecretRef", source.node_stage_secret_ref),
        ("nodeExpandSecretRef", source.node_expand_secret_ref),
    ):
        if secret is not None:
            yield from required(f"{path}.{name}.name", secret.name)
            yield from required(f"{path}.{name}.namespace", secret.namespace)


def driver_name(path: str, name: str) -> Errors:
    """The name of a storage driver: a domain name of at most 63 characters, in either case."""
    yield from required(path, name)
    if len(name) > DRIVER_NAME_MAX:
        yield FieldError.too_long(path, DRIVER_NAME_MAX)
    for problem in formats.dns_subdomain(name.lower()):
        yield FieldError.invalid(path, name, problem)


_RULES: dict[str, Callable[[str, Any], Errors]] = {
    "host_path": host_path,
    "nfs": nfs,
    "local": _local,
    "iscsi": _iscsi,
    "csi": _csi,
}


def create_claim(claim: core.PersistentVolumeClaim) -> Errors:
    """A PersistentVolumeClaim that is about to be."""
    yield from validate_meta.create(claim.metadata, formats.dns_subdomain, namespaced=True)
    yield from claim_spec("spec", claim.spec)


def update_claim(new: core.PersistentVolumeClaim, old: core.PersistentVolumeClaim) -> Errors:
    """A PersistentVolumeClaim that is about to be replaced: a bound one may only ask for more, all else stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from claim_spec("spec", new.spec)
    found = differences(_allowed(new.spec, old), new.spec, "spec")
    if found:
        yield FieldError.forbidden("spec", "\n".join((_CLAIM_STAYS, *found)))
    yield from _kept_size(new, old)
    if old.spec.volume_attributes_class_name is not None and new.spec.volume_attributes_class_name is None:
        why = "update from non-nil value to nil is forbidden"
        yield FieldError.forbidden("spec.volumeAttributesClassName", why)
    yield from immutable("spec.volumeMode", new.spec.volume_mode, old.spec.volume_mode)


def _allowed(new: core.PersistentVolumeClaimSpec, old: core.PersistentVolumeClaim) -> core.PersistentVolumeClaimSpec:
    """The old spec with those changes of the new one that are allowed."""
    spec = replace(old.spec, volume_attributes_class_name=new.volume_attributes_class_name)
    if not spec.volume_name:
        spec = replace(spec, volume_name=new.volume_name)
    if spec.storage_class_name is None:
        # The default class may be given to a claim that was made before there was one.
        spec = replace(spec, storage_class_name=new.storage_class_name)
    size = new.resources.requests.get("storage")
    if old.status.phase == "Bound" and size is not None:
        requests = {**spec.resources.requests, "storage": size}
        spec = replace(spec, resources=replace(spec.resources, requests=requests))
    return spec


def _kept_size(new: core.PersistentVolumeClaim, old: core.PersistentVolumeClaim) -> Errors:
    """A claim may be made smaller again only while its volume has not grown."""
    after, before = new.spec.resources.requests.get("storage"), old.spec.resources.requests.get("storage")
    if after is None or before is None or quantity.compare(after, before) >= 0:
        return
    has = old.status.capacity.get("storage")
    path = "spec.resources.requests.storage"
    if has is None:
        yield FieldError.forbidden(path, "field can not be less than previous value")
    elif quantity.compare(after, has) <= 0:
        yield FieldError.forbidden(path, "field can not be less than status.capacity")


def update_claim_status(new: core.PersistentVolumeClaim, old: core.PersistentVolumeClaim) -> Errors:
    """A PersistentVolumeClaim's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    for field, listed in (("capacity", new.status.capacity), ("allocatedResources", new.status.allocated_resources)):
        for name, text in listed.items():
            yield from amount(f"status.{field}[{name}]", name, text)


def claim_spec(path: str, spec: core.PersistentVolumeClaimSpec) -> Errors:
    """What a claim asks for, in a claim or in a template."""
    yield from _access_modes(f"{path}.accessModes", spec.access_modes, "at least 1 access mode is required")
    yield from label_selector(f"{path}.selector", spec.selector)
    size = spec.resources.requests.get("storage")
    if size is None:
        yield FieldError.required(f"{path}.resources[storage]")
    else:
        yield from positive_amount(f"{path}.resources[storage]", size)
    if spec.storage_class_name:
        yield from checked(f"{path}.storageClassName", spec.storage_class_name, formats.dns_subdomain)
    yield from maybe_one_of(f"{path}.volumeMode", spec.volume_mode, _MODES)
    yield from _data_source(path, spec)
    if spec.volume_attributes_class_name:
        at = f"{path}.volumeAttributesClassName"
        yield from checked(at, spec.volume_attributes_class_name, formats.dns_subdomain)


def _data_source(path: str, spec: core.PersistentVolumeClaimSpec) -> Errors:
    for field, source in (("dataSource", spec.data_source), ("dataSourceRef", spec.data_source_ref)):
        if source is None:
            continue
        at = f"{path}.{field}"
        yield from required(f"{at}.name", source.name)
        yield from required(f"{at}.kind", source.kind)
        if source.api_group:
            yield from checked(f"{at}.apiGroup", source.api_group, formats.dns_subdomain)
        elif source.kind != "PersistentVolumeClaim":
            yield FieldError.invalid(at, source.kind, "")
    one, other = spec.data_source, spec.data_source_ref
    if one is None or other is None:
        return
    if other.namespace:
        why = "may not be specified when dataSourceRef.namespace is specified"
        yield FieldError.invalid(path, f"{path}.dataSource", why)
    elif (one.api_group or "", one.kind, one.name) != (other.api_group or "", other.kind, other.name):
        yield FieldError.invalid(path, f"{path}.dataSource", "must match dataSourceRef")
