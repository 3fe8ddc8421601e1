"""Pods go where storage drivers take their volumes, run, and have room for new ones."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.scheduling.passes import PassLimits, PassResult, Scheduler
from mizzen.api import kinds, volumes
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.engine.effects import Update
from mizzen.engine.entry import deletion
from tests.fixtures.cluster_objects import meta, view
from tests.unit.scheduling.test_claims import Fed, claim, machine, using, volume

DRIVER = "disks.example.org"


def named(name: str) -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(name=name, uid=name, resource_version="1")


def takes(node: str, most: int | None) -> storage_v1.CSINode:
    """The driver runs on a node, and takes so many volumes there."""
    count = storage_v1.VolumeNodeResources(count=most) if most is not None else None
    driver = storage_v1.CSINodeDriver(name=DRIVER, node_id=node, allocatable=count)
    return storage_v1.CSINode(metadata=named(node), spec=storage_v1.CSINodeSpec(drivers=(driver,)))


def disk(name: str) -> list[Any]:
    """A claim with a volume of the driver."""
    reference = core_v1.ObjectReference(namespace="default", name=name, uid=f"uid-{name}")
    csi = core_v1.CSIPersistentVolumeSource(driver=DRIVER, volume_handle=f"h-{name}")
    made = core_v1.PersistentVolume(
        metadata=named(f"pv-{name}"),
        spec=core_v1.PersistentVolumeSpec(capacity={"storage": "1Gi"}, csi=csi, claim_ref=reference),
    )
    return [claim(name, f"pv-{name}"), made]


def driver(**spec: Any) -> storage_v1.CSIDriver:
    return storage_v1.CSIDriver(metadata=named(DRIVER), spec=storage_v1.CSIDriverSpec(**spec))


def made_by_driver(**more: Any) -> storage_v1.StorageClass:
    return storage_v1.StorageClass(
        metadata=named("local"), provisioner=DRIVER, volume_binding_mode="WaitForFirstConsumer", **more
    )


def room(zone: str, capacity: str | None, name: str = "", most: str | None = None) -> storage_v1.CSIStorageCapacity:
    return storage_v1.CSIStorageCapacity(
        metadata=meta(name or f"room-{zone}", "kube-system"), storage_class_name="local", capacity=capacity,
        maximum_volume_size=most, node_topology=meta_v1.LabelSelector(match_labels={"zone": zone} if zone else {}),
    )  # fmt: skip


def run(pods: list[core_v1.Pod], *objects: Any) -> PassResult:
    seen = view(machine("a", zone="a"), machine("b", zone="b"), *objects, *pods)
    return Scheduler.of(seen).run_pass([one for one in pods if not one.spec.node_name], PassLimits(), seen)


def went(result: PassResult) -> dict[str, str]:
    return {bind.name: bind.node for bind in result.bindings}


def test_a_node_takes_no_more_volumes_than_its_driver_says() -> None:
    objects = [*disk("x"), *disk("y"), takes("a", 1), takes("b", 1)]
    pods = [using("one", "x", where="a"), using("two", "y")]
    assert went(run(pods, *objects)) == {"two": "b"}
    third = [*disk("z"), using("three", "z")]
    (refusal,) = run([*pods[:1], using("two", "y", where="b"), third[2]], *objects, *third[:2]).refusals
    assert str(refusal.explanation) == "0/2 nodes are available: 2 node(s) exceed max volume count."


def test_a_volume_that_is_there_already_counts_once() -> None:
    objects = [*disk("x"), takes("a", 1), takes("b", 0)]
    assert went(run([using("one", "x", where="a"), using("two", "x")], *objects)) == {"two": "a"}


def test_pods_of_one_pass_count_for_each_other() -> None:
    objects = [*disk("x"), *disk("y"), *disk("z"), takes("a", 1), takes("b", 1)]
    result = run([using("one", "x"), using("two", "y"), using("three", "z")], *objects)
    assert sorted(went(result).values()) == ["a", "b"]
    assert len(result.refusals) == 1


def test_where_no_bound_is_said_there_is_none() -> None:
    objects = [*disk("x"), *disk("y"), takes("a", None), takes("b", 0)]
    assert went(run([using("one", "x"), using("two", "y")], *objects)) == {"one": "a", "two": "a"}


def test_volumes_that_are_to_be_made_count() -> None:
    result = run([using("p", "data")], claim(), made_by_driver(), takes("a", 0), takes("b", 1))
    (preparation,) = result.preparations
    assert chosen(preparation.effects[0]) == "b"


def test_pods_are_kept_off_nodes_without_the_driver_where_it_asks_for_that() -> None:
    pods = [using("p", "x")]
    assert went(run(pods, *disk("x"), takes("b", None), driver())) == {"p": "a"}
    strict = driver(prevent_pod_scheduling_if_missing=True)
    assert went(run(pods, *disk("x"), takes("b", None), strict)) == {"p": "b"}
    (refusal,) = run(pods, *disk("x"), strict).refusals
    assert str(refusal.explanation) == "0/2 nodes are available: 2 node(s) don't have the CSI driver of a volume."


def chosen(effect: Any) -> str:
    assert isinstance(effect, Update)
    node: str = effect.object.metadata.annotations[volumes.SELECTED_NODE]
    return node


@pytest.mark.parametrize(
    ("rooms", "node"),
    [
        ([room("b", "1Gi")], "b"),
        ([room("a", "512Mi"), room("b", "2Gi")], "b"),
        ([room("a", "2Gi", most="512Mi"), room("b", "1Gi", most="1Gi")], "b"),
        ([room("", "1Gi")], "a"),
        ([room("a", None)], ""),
        ([room("a", "1Mi"), replace(room("b", "9Gi"), storage_class_name="other")], ""),
        ([], ""),
    ],
    ids=["one has", "enough", "in one piece", "everywhere", "not known", "another class", "nobody says"],
)
def test_volumes_are_made_where_there_is_room(rooms: list[Any], node: str) -> None:
    result = run([using("p", "data")], claim(), made_by_driver(), driver(storage_capacity=True), *rooms)
    if node:
        assert chosen(result.preparations[0].effects[0]) == node
        return
    said = "0/2 nodes are available: 2 node(s) did not have enough free storage."
    assert [str(one.explanation) for one in result.refusals] == [said]


def test_room_and_topology_must_agree() -> None:
    term = core_v1.TopologySelectorLabelRequirement(key="zone", values=("a",))
    cls = made_by_driver(allowed_topologies=(core_v1.TopologySelectorTerm(match_label_expressions=(term,)),))
    rooms = [room("b", "1Gi")]
    assert run([using("p", "data")], claim(), cls, driver(storage_capacity=True), *rooms).refusals
    assert run([using("p", "data")], claim(), cls, driver(storage_capacity=True), room("", "1Gi")).preparations


def test_a_volume_that_is_free_needs_no_room() -> None:
    result = run([using("p", "data")], claim(), made_by_driver(), driver(storage_capacity=True), volume("pv", "b"))
    assert isinstance(result.preparations[0].effects[0], Update)
    assert isinstance(result.preparations[0].effects[0].object, core_v1.PersistentVolume)


def test_who_waits_for_a_bound_is_tried_when_a_pod_goes_or_the_driver_says_more() -> None:
    one, two = using("one", "x", where="a"), using("two", "y")
    fed = Fed(machine("a", zone="a"), *disk("x"), *disk("y"), takes("a", 1), one, two)
    assert fed.run().refusals
    entry = fed.cache.remove(kinds.POD, "default", "one")
    assert entry is not None
    fed.rounds.changed([deletion(entry, 99)], 20_000)
    assert went(fed.run(20_000)) == {"two": "a"}

    fed = Fed(machine("a", zone="a"), *disk("x"), *disk("y"), takes("a", 1), one, two)
    assert fed.run().refusals
    fed.put(takes("a", 2), 20_000)
    assert went(fed.run(20_000)) == {"two": "a"}
