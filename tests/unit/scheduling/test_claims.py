"""Pods follow their data: which nodes their claims leave, and what is written before they are bound."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.scheduling.passes import PassLimits, PassResult, Scheduler
from controlplane.scheduling.rounds import Rounds
from mizzen.api import kinds, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.effects import Update
from mizzen.engine.entry import Entry, replacement
from tests.fixtures.cluster_objects import at, meta, node, pod, view

BOUND = {volumes.BIND_COMPLETED: "yes"}


def machine(name: str, **labels: str) -> core_v1.Node:
    made = node(name)
    return edited(made, metadata=edited(made.metadata, labels={volumes.HOSTNAME: name, **labels}))


def using(name: str, *claims: str, where: str = "") -> core_v1.Pod:
    mounts = tuple(
        core_v1.Volume(name=one, persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name=one))
        for one in claims
    )
    made = pod(name, node=where)
    return edited(made, spec=edited(made.spec, volumes=mounts))


def claim(
    name: str = "data",
    volume: str = "",
    annotations: Any = None,
    modes: tuple[str, ...] = ("ReadWriteOnce",),
    **more: Any,
) -> core_v1.PersistentVolumeClaim:
    resources = core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"})
    return core_v1.PersistentVolumeClaim(
        metadata=meta(name, annotations=annotations or (BOUND if volume else {}), **more),
        spec=core_v1.PersistentVolumeClaimSpec(
            resources=resources, volume_name=volume, storage_class_name="local", access_modes=modes
        ),
    )


def volume(name: str, where: str, **spec: Any) -> core_v1.PersistentVolume:
    here = core_v1.NodeSelectorRequirement(key=volumes.HOSTNAME, operator="In", values=(where,))
    required = core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_expressions=(here,)),))
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name=name, uid=name, resource_version="1"),
        spec=core_v1.PersistentVolumeSpec(
            capacity={"storage": "1Gi"},
            access_modes=("ReadWriteOnce",),
            storage_class_name="local",
            node_affinity=core_v1.VolumeNodeAffinity(required=required),
            **spec,
        ),
        status=core_v1.PersistentVolumeStatus(phase="Available"),
    )


def local(provisioner: str = volumes.LOCAL, mode: str = "WaitForFirstConsumer", **more: Any) -> storage_v1.StorageClass:
    metadata = meta_v1.ObjectMeta(name="local", uid="local", resource_version="1")
    return storage_v1.StorageClass(metadata=metadata, provisioner=provisioner, volume_binding_mode=mode, **more)


def run(pods: list[core_v1.Pod], *objects: Any) -> PassResult:
    seen = view(machine("a"), machine("b"), *objects, *pods)
    return Scheduler.of(seen).run_pass([one for one in pods if not one.spec.node_name], PassLimits(), seen)


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        ([claim()], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim(), local(mode="Immediate")], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim(volume="pv"), local()], 'persistentvolumeclaim "data" bound to non-existent persistentvolume "pv"'),
        ([claim(deletion_timestamp=at(-1)), local()], 'persistentvolumeclaim "data" is being deleted'),
        (
            [claim(volume="pv"), volume("pv", "c")],
            "2 node(s) didn't match PersistentVolume's node affinity",
        ),
        (
            [claim(), local(volumes.NO_PROVISIONER), volume("pv", "c")],
            "2 node(s) didn't find available persistent volumes to bind",
        ),
        (
            [
                claim(modes=(volumes.READ_WRITE_ONCE_POD,), volume="pv"),
                volume("pv", "a"),
                using("q", "data", where="a"),
            ],
            "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
        ),
    ],
)
def test_a_pod_waits_for_its_claims(objects: list[Any], why: str) -> None:
    (refusal,) = run([using("p", "data")], *objects).refusals
    assert str(refusal.explanation) == f"0/2 nodes are available: {why}."


def test_a_pod_goes_where_its_volume_is() -> None:
    for where in ("a", "b"):
        (bind,) = run([using("p", "data")], claim(volume="pv"), volume("pv", where)).bindings
        assert bind.node == where


def test_only_one_pod_of_a_pass_gets_a_claim_for_one_pod() -> None:
    alone = claim(volume="pv", modes=(volumes.READ_WRITE_ONCE_POD,))
    result = run([using("p", "data"), using("q", "data")], alone, volume("pv", "a"))
    assert (len(result.bindings), len(result.refusals)) == (1, 1)


def written(result: PassResult) -> list[Any]:
    """What is written for the claims of the pods that have a node."""
    effects = [effect for preparation in result.preparations for effect in preparation.effects]
    assert all(isinstance(effect, Update) for effect in effects)
    return [effect.object for effect in effects if isinstance(effect, Update)]


def test_a_volume_is_made_on_the_node_that_is_chosen() -> None:
    result = run([using("p", "data")], claim(), local())
    (marked,) = written(result)
    assert marked.metadata.annotations[volumes.SELECTED_NODE] in ("a", "b")
    assert not result.bindings
    again = run([using("p", "data")], claim(annotations={volumes.SELECTED_NODE: "b"}), local())
    assert written(again) == [], "it is written already"
    assert len(again.preparations) == 1
    gone = run([using("p", "data")], claim(annotations={volumes.SELECTED_NODE: "c"}), local())
    assert len(gone.refusals) == 1


def test_a_class_says_where_its_volumes_are_made() -> None:
    only_b = core_v1.TopologySelectorLabelRequirement(key=volumes.HOSTNAME, values=("b",))
    topologies = (core_v1.TopologySelectorTerm(match_label_expressions=(only_b,)),)
    (marked,) = written(run([using("p", "data")], claim(), local(allowed_topologies=topologies)))
    assert marked.metadata.annotations[volumes.SELECTED_NODE] == "b"


def test_free_volumes_are_reserved_each_for_one_claim() -> None:
    static = local(volumes.NO_PROVISIONER)
    pods = [using("p", "data"), using("q", "more")]
    result = run(pods, claim(), claim("more"), static, volume("pv-a", "a"), volume("pv-b", "b"))
    reserved = {obj.metadata.name: obj.spec.claim_ref.name for obj in written(result)}
    assert sorted(reserved) == ["pv-a", "pv-b"]
    assert sorted(reserved.values()) == ["data", "more"]


class Fed:
    """A view, and rounds that are told of all that is put into it."""

    def __init__(self, *objects: Any) -> None:
        self.cache, self.rounds, self.version = Cache(indexes.ALL), Rounds(Scheduler()), 0
        for obj in objects:
            self.put(obj)

    def put(self, obj: Any, tick: int = 0) -> None:
        self.version += 1
        kind = kinds.kind_of(obj)
        raw = canonical.stamp(kind, canonical.rest(obj), self.version)
        entry = Entry(kind, obj.metadata.namespace, obj.metadata.name, self.version, raw)
        self.rounds.changed([replacement(self.cache.put(entry), entry)], tick)

    def run(self, tick: int = 0) -> PassResult:
        return self.rounds.run(self.cache, PassLimits(), tick)


def test_room_is_kept_until_the_volume_is_there() -> None:
    fed = Fed(machine("a"), local(), claim(), using("p", "data"))
    result = fed.run()
    assert fed.rounds.scheduler.cluster.holds("default", "p")
    assert fed.rounds.next_due(0) != 0, "nothing is tried before the claim has changed"
    fed.put(written(result)[0], 10)
    assert fed.rounds.next_due(10) == 0
    (waiting,) = fed.run(10).preparations
    assert waiting.effects == ()
    fed.put(volume("pv", "a"), 20)
    fed.put(claim(volume="pv"), 20)
    (bind,) = fed.run(20).bindings
    assert bind.node == "a"


def test_a_preparation_that_fails_gives_the_room_back() -> None:
    fed = Fed(machine("a"), local(), claim(), using("p", "data"))
    (preparation,) = fed.run().preparations
    fed.rounds.unprepared(preparation.pod, 0)
    assert not fed.rounds.scheduler.cluster.holds("default", "p")
    due = fed.rounds.next_due(0)
    assert due is not None
    assert 0 < due < 60_000


def test_a_node_that_can_make_no_volume_is_not_asked_again_and_again() -> None:
    fed = Fed(machine("a"), local(), claim(), using("p", "data"))
    tick, pauses = 0, []
    for _ in range(5):
        fed.put(written(fed.run(tick))[0], tick)
        fed.put(claim(), tick)  # its node was taken from it
        assert not fed.rounds.scheduler.cluster.holds("default", "p")
        assert fed.run(tick).preparations == ()
        due = fed.rounds.next_due(tick)
        assert due is not None
        pauses.append(due)
        tick += due
    assert pauses == [1_000, 2_000, 4_000, 8_000, 10_000]


def test_a_change_of_its_claim_gives_a_refused_pod_another_try() -> None:
    fed = Fed(machine("a"), local(), using("p", "data"))
    assert len(fed.run().refusals) == 1
    parked = fed.rounds.next_due(0)
    fed.put(claim())
    due = fed.rounds.next_due(0)
    assert due is not None
    assert parked is not None
    assert due < parked


def taken(result: PassResult) -> dict[str, str]:
    """Which claim each volume was reserved for."""
    found = {}
    for preparation in result.preparations:
        for effect in preparation.effects:
            assert isinstance(effect, Update)
            if isinstance(effect.object, core_v1.PersistentVolume) and effect.object.spec.claim_ref is not None:
                found[effect.object.metadata.name] = effect.object.spec.claim_ref.name
    return found


def test_claims_of_one_pod_do_not_count_on_the_same_volume() -> None:
    claims = [claim("one"), claim("two"), local(volumes.NO_PROVISIONER)]
    (refusal,) = run([using("p", "one", "two")], *claims, volume("pv-a", "a"), volume("pv-b", "b")).refusals
    assert (
        str(refusal.explanation)
        == "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    )
    free = [volume("pv-a", "a"), volume("pv-b", "b"), volume("pv-c", "b")]
    assert taken(run([using("p", "one", "two")], *claims, *free)) == {"pv-b": "one", "pv-c": "two"}


def test_a_claim_leaves_another_the_only_volume_that_suits_it() -> None:
    picky = claim("two")
    picky = edited(picky, spec=edited(picky.spec, selector=meta_v1.LabelSelector(match_labels={"disk": "fast"})))
    fast = volume("pv-1", "a")
    fast = edited(fast, metadata=edited(fast.metadata, labels={"disk": "fast"}))
    seen = [claim("one"), picky, local(volumes.NO_PROVISIONER), fast, volume("pv-2", "a")]
    assert taken(run([using("p", "one", "two")], *seen)) == {"pv-1": "two", "pv-2": "one"}


def test_what_is_missing_is_made_where_it_can_be() -> None:
    result = run([using("p", "one", "two")], claim("one"), claim("two"), local(), volume("pv-a", "a"))
    (preparation,) = result.preparations
    assert len(preparation.effects) == 2
