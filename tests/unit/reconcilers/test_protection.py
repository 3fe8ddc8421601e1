"""Claims and volumes that are being deleted go when nobody uses them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import protection
from mizzen.api import kinds
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.api.volumes import ATTRIBUTES_FINALIZER as ATTRIBUTES
from mizzen.api.volumes import CLAIM_FINALIZER as CLAIM
from mizzen.api.volumes import VOLUME_FINALIZER as VOLUME
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Update
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, owned_by, pod, view

DELETED: dict[str, Any] = {"deletion_timestamp": at(-5)}


def claim(name: str = "data", finalizers: tuple[str, ...] = (CLAIM, "other/f"), **more: Any) -> Any:
    return core_v1.PersistentVolumeClaim(metadata=meta(name, finalizers=finalizers, **more))


def mounting(name: str = "p", node: str = "n1", **source: Any) -> core_v1.Pod:
    one = pod(name, node=node)
    volume = core_v1.Volume(name="v", **source)
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, volumes=(volume,)))


def of_claim(name: str) -> dict[str, Any]:
    return {"persistent_volume_claim": core_v1.PersistentVolumeClaimVolumeSource(claim_name=name)}


def left(*objects: Any, name: str = "data") -> tuple[str, ...] | None:
    """The finalizers that the claim is to have; None where nothing is to be done."""
    key = Key("persistentvolumeclaims", "default", name)
    effects = protection.reconcile_claim(key, view(*objects), NOW, SeededIds(1)).effects
    (effect,) = effects or (None,)
    if effect is None:
        return None
    assert isinstance(effect, Update)
    return effect.object.metadata.finalizers


def test_a_claim_in_use_stays() -> None:
    going = claim(**DELETED)
    assert left(going, mounting(**of_claim("data"))) is None
    assert left(going, mounting(**of_claim("other"))) == ("other/f",)
    assert left(going, mounting(node="", **of_claim("data"))) == ("other/f",), "no node has seen the pod"
    assert left(going) == ("other/f",)


def test_the_claim_of_a_pod_s_own_volume_is_in_use_by_that_pod() -> None:
    ephemeral: dict[str, Any] = {"ephemeral": core_v1.EphemeralVolumeSource()}
    user = mounting("p", **ephemeral)
    assert left(claim("p-v", owner_references=owned_by(user), **DELETED), user, name="p-v") is None
    stranger = msgspec.structs.replace(user, metadata=meta("p", uid="another"))
    assert left(claim("p-v", owner_references=owned_by(user), **DELETED), stranger, name="p-v") == ("other/f",)


def test_what_was_made_without_protection_gets_it() -> None:
    assert left(claim(finalizers=())) == (CLAIM,)
    assert left(claim()) is None
    assert left(claim(finalizers=("other/f",), **DELETED)) is None, "what goes already is not held up"


@pytest.mark.parametrize(("phase", "stays"), [("Bound", True), ("Available", False), ("Released", False)])
def test_a_volume_stays_while_it_is_bound(phase: str, stays: bool) -> None:
    metadata = meta_v1.ObjectMeta(name="pv", uid="u", resource_version="1", finalizers=(VOLUME,), **DELETED)
    volume = core_v1.PersistentVolume(metadata=metadata, status=core_v1.PersistentVolumeStatus(phase=phase))
    key = Key(kinds.PERSISTENT_VOLUME.resource, "", "pv")
    effects = protection.reconcile_volume(key, view(volume), NOW, SeededIds(1)).effects
    assert [effect.object.metadata.finalizers for effect in effects if isinstance(effect, Update)] == (
        [] if stays else [()]
    )


def test_a_pod_concerns_the_claims_that_it_mounts() -> None:
    ((_, mapper),) = protection.CLAIMS.watches
    assert list(mapper(mounting(**of_claim("data")), view())) == [Key("persistentvolumeclaims", "default", "data")]
    assert list(mapper(pod("p"), view())) == []


def attributes(*finalizers: str, **more: Any) -> storage_v1.VolumeAttributesClass:
    metadata = meta_v1.ObjectMeta(name="fast", uid="fast", resource_version="1", finalizers=finalizers, **more)
    return storage_v1.VolumeAttributesClass(metadata=metadata)


def naming(**parts: Any) -> core_v1.PersistentVolumeClaim:
    spec = core_v1.PersistentVolumeClaimSpec(volume_attributes_class_name=parts.get("spec"))
    target = core_v1.ModifyVolumeStatus(target_volume_attributes_class_name=parts.get("target", ""))
    status = core_v1.PersistentVolumeClaimStatus(
        current_volume_attributes_class_name=parts.get("current"), modify_volume_status=target
    )
    return core_v1.PersistentVolumeClaim(metadata=meta("data"), spec=spec, status=status)


@pytest.mark.parametrize(
    ("users", "in_use"),
    [
        ([], False),
        ([naming(spec="fast")], True),
        ([naming(spec="slow", current="fast")], True),
        ([naming(spec="slow", target="fast")], True),
        ([naming(spec="slow")], False),
        (
            [
                core_v1.PersistentVolume(
                    metadata=meta_v1.ObjectMeta(name="pv", uid="pv", resource_version="1"),
                    spec=core_v1.PersistentVolumeSpec(volume_attributes_class_name="fast"),
                )
            ],
            True,
        ),
    ],
    ids=["nobody", "asked for", "current", "on its way", "another", "volume"],
)
def test_a_class_of_attributes_in_use_stays(users: list[Any], in_use: bool) -> None:
    key = Key(kinds.VOLUME_ATTRIBUTES_CLASS.resource, "", "fast")
    going = view(attributes(ATTRIBUTES, **DELETED), *users)
    effects = protection.reconcile_attributes(key, going, NOW, SeededIds(1)).effects
    assert [effect.object.metadata.finalizers for effect in effects if isinstance(effect, Update)] == (
        [] if in_use else [()]
    )
    (marked,) = protection.reconcile_attributes(key, view(attributes(), *users), NOW, SeededIds(1)).effects
    assert isinstance(marked, Update)
    assert marked.object.metadata.finalizers == (ATTRIBUTES,)
