"""Volumes of storage drivers (CSI): their names in the cluster, and what their drivers' objects ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from mizzen.api.references import TOKEN_S, TokenWish
from mizzen.api.types import core_v1, storage_v1

PERSISTENT, EPHEMERAL = "Persistent", "Ephemeral"


def unique_name(driver: str, handle: str) -> str:
    """The name of an attached volume in a node's status."""
    return f"kubernetes.io/csi/{driver}^{handle}"


def attachment_name(driver: str, handle: str, node: str) -> str:
    """The name of the VolumeAttachment of a volume and a node; external attachers and nodes count on it."""
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def inline_handle(pod_uid: str, volume: str) -> str:
    """The driver's name for a volume that it makes for one pod."""
    return f"csi-{hashlib.sha256(f'{pod_uid}{volume}'.encode()).hexdigest()}"


def must_be_attached(driver: storage_v1.CSIDriver | None) -> bool:
    """Whether a driver's volumes are attached before they are mounted; so it is where nothing is known of it."""
    return driver is None or driver.spec.attach_required is not False


def drivers_of(pod: core_v1.Pod, behind: Iterable[core_v1.PersistentVolume]) -> tuple[str, ...]:
    """The drivers of a pod's volumes, each once and in order; `behind` are the volumes of its claims."""
    inline = [volume.csi.driver for volume in pod.spec.volumes if volume.csi is not None]
    bound = [volume.spec.csi.driver for volume in behind if volume.spec.csi is not None]
    return tuple(dict.fromkeys((*inline, *bound)))


def tokens_for(drivers: Iterable[storage_v1.CSIDriver]) -> tuple[TokenWish, ...]:
    """The tokens of a pod's account that drivers are to be given when they mount for it."""
    return tuple(wish_of(request) for driver in drivers for request in driver.spec.token_requests)


def wish_of(request: storage_v1.TokenRequest) -> TokenWish:
    """A driver's request as a wish."""
    return TokenWish(request.audience, request.expiration_seconds or TOKEN_S)


def secrets_of(volume: core_v1.PersistentVolume) -> Iterator[tuple[str, str]]:
    """The secrets, by namespace and name, that a node needs for a volume."""
    csi = volume.spec.csi
    if csi is None:
        return
    for reference in (csi.node_stage_secret_ref, csi.node_publish_secret_ref, csi.node_expand_secret_ref):
        if reference is not None:
            yield reference.namespace, reference.name
