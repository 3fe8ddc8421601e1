"""Claims and volumes: what is in use is not removed, and claims grow only where their class allows it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import classes
from controlplane.admission.request import Operation, Request
from mizzen.api import kinds, quantity
from mizzen.api.errors import Forbidden
from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import CLAIM_FINALIZER, VOLUME_FINALIZER, class_of
from mizzen.engine.view import View

_CANNOT_GROW = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


def claim(obj: core.PersistentVolumeClaim, view: View) -> core.PersistentVolumeClaim:
    """The new claim, which stays until no pod uses it, with the default class if it names none."""
    protected: core.PersistentVolumeClaim = _protected(obj, CLAIM_FINALIZER)
    return classes.claim(protected, view)


def volume(obj: core.PersistentVolume, view: View) -> core.PersistentVolume:
    """The new volume, which stays until no claim has it."""
    protected: core.PersistentVolume = _protected(obj, VOLUME_FINALIZER)
    return protected


def _protected(obj: Any, finalizer: str) -> Any:
    if finalizer in obj.metadata.finalizers:
        return obj
    return replace(obj, metadata=replace(obj.metadata, finalizers=(*obj.metadata.finalizers, finalizer)))


def check_growth(
    request: Request, new: core.PersistentVolumeClaim, old: core.PersistentVolumeClaim, view: View
) -> None:
    """Refuse that a claim grows where it can't. Raises Forbidden."""
    after, before = (obj.spec.resources.requests.get("storage", "0") for obj in (new, old))
    if request.operation is not Operation.UPDATE or quantity.compare(after, before) <= 0:
        return
    if old.status.phase != "Bound":
        raise Forbidden(request.kind, new.metadata.name, "Only bound persistent volume claims can be expanded")
    name = class_of(new)
    found = view.get(kinds.STORAGE_CLASS, "", name) if name and name == class_of(old) else None
    if found is None or not found.allow_volume_expansion:
        raise Forbidden(request.kind, new.metadata.name, _CANNOT_GROW)
