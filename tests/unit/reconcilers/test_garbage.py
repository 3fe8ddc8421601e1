"""Owners that are where they can't be, and objects that own each other."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import garbage
from mizzen.api import kinds
from mizzen.api.types import core_v1, meta_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Delete, Emit, Update
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, view


def config(name: str, *owners: str, namespace: str = "default", waits: bool = False) -> core_v1.ConfigMap:
    """An object that is owned by others; it `waits` where it is deleted in the foreground."""
    references = tuple(reference("ConfigMap", owner) for owner in owners)
    more: dict[str, Any] = {"deletion_timestamp": at(), "finalizers": (garbage.FOREGROUND,)} if waits else {}
    return core_v1.ConfigMap(metadata=meta(name, namespace, owner_references=references, **more))


def reference(kind: str, name: str) -> meta_v1.OwnerReference:
    return meta_v1.OwnerReference(
        api_version="v1", kind=kind, name=name, uid=f"uid-{name}", controller=False, block_owner_deletion=True
    )


def spaces() -> tuple[core_v1.Namespace, ...]:
    return tuple(core_v1.Namespace(metadata=meta(name, "")) for name in ("default", "shop"))


def decide(kind: kinds.Kind[Any], name: str, *objects: Any) -> Decision:
    namespace = "default" if kind.namespaced else ""
    key = Key(kind.resource, namespace, name)
    return garbage.reconcile(key, view(*spaces(), *objects), NOW, SeededIds(1))


def test_an_owner_in_another_namespace_is_none_and_an_event_says_so() -> None:
    told, gone = decide(kinds.CONFIG_MAP, "a", config("a", "b"), config("b", namespace="shop")).effects
    assert isinstance(told, Emit)
    assert (told.type, told.reason) == ("Warning", "OwnerRefInvalidNamespace")
    owner = "[v1/ConfigMap, namespace: default, name: b, uid: uid-b]"
    assert told.message == f'ownerRef {owner} does not exist in namespace "default"'
    assert isinstance(gone, Delete)


def test_with_another_owner_only_the_reference_goes() -> None:
    told, kept = decide(
        kinds.CONFIG_MAP, "a", config("a", "b", "c"), config("b", namespace="shop"), config("c")
    ).effects
    assert isinstance(told, Emit)
    assert isinstance(kept, Update)
    assert [one.name for one in kept.object.metadata.owner_references] == ["c"]


def test_an_owner_that_is_gone_is_nowhere_else() -> None:
    assert [type(one) for one in decide(kinds.CONFIG_MAP, "a", config("a", "b")).effects] == [Delete]


def test_what_is_in_no_namespace_is_not_lost_for_an_owner_in_one() -> None:
    volume = core_v1.PersistentVolume(metadata=meta("v", "", owner_references=(reference("ConfigMap", "b"),)))
    (told,) = decide(kinds.PERSISTENT_VOLUME, "v", volume, config("b")).effects
    assert isinstance(told, Emit)
    assert told.reason == "OwnerRefInvalidNamespace"


RINGS = {
    "two": (config("a", "b", waits=True), config("b", "a", waits=True)),
    "three": (config("a", "c", waits=True), config("b", "a", waits=True), config("c", "b", waits=True)),
}


@pytest.mark.parametrize("ring", RINGS.values(), ids=RINGS)
def test_who_own_each_other_do_not_wait_for_each_other(ring: tuple[core_v1.ConfigMap, ...]) -> None:
    (freed,) = decide(kinds.CONFIG_MAP, "a", *ring).effects
    assert isinstance(freed, Update)
    assert freed.object.metadata.finalizers == ()


def test_who_waits_for_others_is_waited_for() -> None:
    below = config("b", "a", waits=True)
    assert decide(kinds.CONFIG_MAP, "a", config("a", waits=True), below, config("c", "b")).effects == ()
    asked = replace(below, metadata=replace(below.metadata, deletion_timestamp=None, finalizers=()))
    (deleted,) = decide(kinds.CONFIG_MAP, "a", config("a", "b", waits=True), asked).effects
    assert isinstance(deleted, Delete)


def test_a_ring_that_nobody_deletes_stays() -> None:
    assert decide(kinds.CONFIG_MAP, "a", config("a", "b"), config("b", "a")).effects == ()
