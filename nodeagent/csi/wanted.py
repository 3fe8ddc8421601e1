"""What a pod wants of a storage driver, as values. Pure.

The rules are the kubelet's: what goes into a volume's context, which access mode a driver is told, who gives files to
a pod's group.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mizzen.api import csivolumes, quantity, times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import storage_v1 as storage
from mizzen.api.volumes import STORAGE, claims_of, requested
from nodeagent.lifecycle.downward import ConfigError, Sources

_PREFIX = "csi.storage.k8s.io/"
TOKENS = f"{_PREFIX}serviceAccount.tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One volume of one pod."""

    driver: str
    handle: str
    name: str
    """Of the PersistentVolume; for a volume of one pod the pod's own name for it."""
    is_ephemeral: bool = False
    is_block: bool = False
    is_read_only: bool = False
    fs_type: str = ""
    mount_options: tuple[str, ...] = ()
    access_mode: str = "ReadWriteOnce"
    attributes: Mapping[str, str] = field(default_factory=dict)
    pod_info: Mapping[str, str] = field(default_factory=dict)
    """What the driver is told of the pod, beside the attributes."""
    publish_context: Mapping[str, str] = field(default_factory=dict)
    is_attachable: bool = False
    stage_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    publish_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    expand_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    group: int | None = None
    """Whom the files are to belong to."""
    is_published_again: bool = False
    """The driver renews what is in the volume whenever it is asked."""
    claim: str = ""
    """The pod's claim that it is bound to."""
    grow_to_bytes: int = 0
    """How large the volume is to be on the node; 0 when it is large enough."""


def wanted_of(pod: core.Pod, volume: core.Volume, sources: Sources) -> Wanted | None:
    """What a volume of a pod is to be; None when no driver is concerned. Raises ConfigError."""
    if volume.csi is not None:
        return _inline(pod, volume.name, volume.csi, sources)
    for name, _ in claims_of(core.Pod(metadata=pod.metadata, spec=core.PodSpec(volumes=(volume,)))):
        bound = sources.claims.get(name)
        if bound is not None and bound.spec.csi is not None:
            source = volume.persistent_volume_claim
            return _bound(pod, name, bound, sources, is_read_only=source is not None and source.read_only)
    return None


def _inline(pod: core.Pod, name: str, source: core.CSIVolumeSource, sources: Sources) -> Wanted:
    driver = sources.storage.drivers.get(source.driver)
    if driver is None:
        raise ConfigError(f'volume mode "Ephemeral" not supported by driver {source.driver} (no CSIDriver object)')
    _check_mode(driver, csivolumes.EPHEMERAL)
    reference = source.node_publish_secret_ref
    found = sources.secret(reference.name, optional=False) if reference is not None else None
    secrets = _texts(found) if found is not None else {}
    tokens = _tokens(driver, sources)
    in_secrets = bool(driver.spec.service_account_token_in_secrets)
    return Wanted(
        driver=source.driver,
        handle=csivolumes.inline_handle(pod.metadata.uid, name),
        name=name,
        is_ephemeral=True,
        is_read_only=bool(source.read_only),
        fs_type=source.fs_type or "",
        attributes=source.volume_attributes,
        pod_info={**_pod_info(pod, driver, is_ephemeral=True), **({} if in_secrets else tokens)},
        publish_secrets={**secrets, **(tokens if in_secrets else {})},
        group=_group(pod, driver, source.fs_type or "", ("ReadWriteOnce",)),
        is_published_again=bool(driver.spec.requires_republish),
    )


def _bound(pod: core.Pod, claim: str, volume: core.PersistentVolume, sources: Sources, *, is_read_only: bool) -> Wanted:
    source, facts = volume.spec.csi, sources.storage
    assert source is not None, "asked for volumes of drivers alone"
    driver = facts.drivers.get(source.driver)
    if driver is not None:
        _check_mode(driver, csivolumes.PERSISTENT)
    attached = csivolumes.must_be_attached(driver)
    tokens = _tokens(driver, sources)
    in_secrets = driver is not None and bool(driver.spec.service_account_token_in_secrets)
    is_block = volume.spec.volume_mode == "Block"
    return Wanted(
        driver=source.driver,
        handle=source.volume_handle,
        name=volume.metadata.name,
        is_block=is_block,
        is_read_only=is_read_only or source.read_only,
        fs_type=source.fs_type,
        mount_options=volume.spec.mount_options,
        access_mode=(volume.spec.access_modes or ("ReadWriteOnce",))[0],
        attributes=source.volume_attributes,
        pod_info={**_pod_info(pod, driver, is_ephemeral=False), **({} if in_secrets else tokens)},
        publish_context=_attached(source, sources) if attached else {},
        is_attachable=attached,
        stage_secrets=_named(source.node_stage_secret_ref, sources),
        publish_secrets={**_named(source.node_publish_secret_ref, sources), **(tokens if in_secrets else {})},
        expand_secrets=_named(source.node_expand_secret_ref, sources),
        group=None if is_block else _group(pod, driver, source.fs_type, volume.spec.access_modes),
        is_published_again=driver is not None and bool(driver.spec.requires_republish),
        claim=claim,
        grow_to_bytes=_growth(facts.bound.get(claim), volume),
    )


def _check_mode(driver: storage.CSIDriver, mode: str) -> None:
    modes = driver.spec.volume_lifecycle_modes or (csivolumes.PERSISTENT,)
    if mode not in modes:
        name, only = driver.metadata.name, " ".join(f'"{one}"' for one in modes)
        raise ConfigError(f'volume mode "{mode}" not supported by driver {name} (only supports [{only}])')


def _attached(source: core.CSIPersistentVolumeSource, sources: Sources) -> Mapping[str, str]:
    """What attaching the volume came to. Raises ConfigError until it is attached."""
    name = csivolumes.attachment_name(source.driver, source.volume_handle, sources.storage.node)
    found = sources.storage.attachments.get(name)
    unique = csivolumes.unique_name(source.driver, source.volume_handle)
    if found is not None and found.status.attached and unique in sources.storage.attached:
        return found.status.attachment_metadata
    error = found.status.attach_error if found is not None else None
    why = f": {error.message}" if error is not None else ""
    driver, handle = source.driver, source.volume_handle
    raise ConfigError(f"waiting for external-attacher of {driver} CSI driver to attach volume {handle}{why}")


def _pod_info(pod: core.Pod, driver: storage.CSIDriver | None, *, is_ephemeral: bool) -> Mapping[str, str]:
    if driver is None or not driver.spec.pod_info_on_mount:
        return {}
    return {
        f"{_PREFIX}pod.name": pod.metadata.name,
        f"{_PREFIX}pod.namespace": pod.metadata.namespace,
        f"{_PREFIX}pod.uid": pod.metadata.uid,
        f"{_PREFIX}serviceAccount.name": pod.spec.service_account_name,
        f"{_PREFIX}ephemeral": "true" if is_ephemeral else "false",
    }


def _tokens(driver: storage.CSIDriver | None, sources: Sources) -> Mapping[str, str]:
    requests = driver.spec.token_requests if driver is not None else ()
    if not requests:
        return {}
    found = {}
    for request in requests:
        token = sources.tokens.get(csivolumes.wish_of(request), "")
        if not token:
            raise ConfigError("no token of the pod's service account can be had for the driver at the moment")
        found[request.audience] = {"token": token, "expirationTimestamp": _end_of(token)}
    return {TOKENS: json.dumps(found)}


def _end_of(token: str) -> str:
    """When a token ends, as it says itself."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return times.render(claims["exp"] * 1000)


def _named(reference: core.SecretReference | None, sources: Sources) -> Mapping[str, str]:
    if reference is None:
        return {}
    found = sources.storage.secrets.get((reference.namespace, reference.name))
    if found is None:
        raise ConfigError(f'secret "{reference.namespace}/{reference.name}" of the volume not found')
    return _texts(found)


def _texts(secret: core.Secret) -> Mapping[str, str]:
    return {key: value.decode(errors="replace") for key, value in secret.data.items()}


def _group(pod: core.Pod, driver: storage.CSIDriver | None, fs_type: str, access_modes: tuple[str, ...]) -> int | None:
    """The pod's `fsGroup`, where the driver's policy gives files to it."""
    group = pod.spec.security_context.fs_group if pod.spec.security_context is not None else None
    match (driver.spec.fs_group_policy if driver is not None else None) or "ReadWriteOnceWithFSType":
        case "None":
            return None
        case "File":
            return group
        case _:
            is_once = any(mode in ("ReadWriteOnce", "ReadWriteOncePod") for mode in access_modes)
            return group if fs_type and is_once else None


def _growth(claim: core.PersistentVolumeClaim | None, volume: core.PersistentVolume) -> int:
    """What the volume has at its back end, when the claim wants it and the node does not show it yet."""
    if claim is None:
        return 0
    has, shows = volume.spec.capacity.get(STORAGE, "0"), claim.status.capacity.get(STORAGE, "0")
    if quantity.compare(shows, "0") == 0 or quantity.compare(has, shows) <= 0:
        return 0
    return quantity.units(has) if quantity.compare(requested(claim), shows) > 0 else 0
