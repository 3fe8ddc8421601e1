"""What the ReplicaSet controller decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers.replicaset import CONTROLLER, REPLICATION_CONTROLLERS
from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import LABELS, NOW, at, deployment, meta, pod, replica_set, template, view
from tests.unit.reconcilers.sets import Rig


def decide(*objects: Any, name: str = "web-1") -> Decision:
    return CONTROLLER.reconcile(Key("replicasets.apps", "default", name), view(*objects), NOW, SeededIds(1))


def of(decision: Decision, kind: type) -> list[Any]:
    return [effect for effect in decision.effects if isinstance(effect, kind)]


def test_missing_pods_are_created_from_the_template() -> None:
    owner = replica_set(replicas=2)
    created = of(decide(owner), Create)
    assert len(created) == 2
    first = created[0].object
    assert first.metadata.name.startswith("web-1-")
    assert first.metadata.labels == owner.spec.template.metadata.labels
    assert first.metadata.owner_references[0].uid == "uid-web-1"
    assert created[0].object.metadata.name != created[1].object.metadata.name


def test_names_of_pods_fit_into_a_label() -> None:
    owner = replica_set(f"{'a' * 70}-1", replicas=1)
    (made,) = of(decide(owner, name=owner.metadata.name), Create)
    assert len(made.object.metadata.name) == 63
    assert made.object.metadata.generate_name == f"{owner.metadata.name}-"


def test_pods_on_their_way_out_do_not_count() -> None:
    owner = replica_set(replicas=1)
    leaving = pod("a", owner, node="n1", ready_since=-5, deletion_timestamp=at(-1))
    failed = pod("b", owner, node="n1", phase="Failed")
    assert len(of(decide(owner, leaving, failed), Create)) == 1


@pytest.mark.parametrize(
    ("keep", "give_up"),
    [
        pytest.param({"node": "n1", "ready_since": -9.0}, {}, id="not-bound-first"),
        pytest.param({"node": "n1", "ready_since": -9.0}, {"node": "n1"}, id="not-ready-before-ready"),
        pytest.param(
            {"node": "n1", "ready_since": -9.0}, {"node": "n1", "ready_since": -5.0}, id="younger-ready-first"
        ),
        pytest.param(
            {"node": "n1", "ready_since": -5.0},
            {"node": "n1", "ready_since": -9.0, "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}},
            id="cheaper-first",
        ),
    ],
)
def test_scale_down_takes_the_least_valuable(keep: dict[str, Any], give_up: dict[str, Any]) -> None:
    owner = replica_set(replicas=1)
    deleted = of(decide(owner, pod("a-keep", owner, **keep), pod("b-give-up", owner, **give_up)), Delete)
    assert [effect.key.name for effect in deleted] == ["b-give-up"]
    assert deleted[0].uid == "uid-b-give-up"


def test_of_pods_that_are_about_as_old_chance_decides() -> None:
    owner = replica_set(replicas=1)
    ready = {"node": "n1"}
    old = pod("a", owner, ready_since=-100.0, creation_timestamp=at(-100), **ready)
    older = pod("b", owner, ready_since=-120.0, creation_timestamp=at(-120), uid="uid-0", **ready)
    much_older = pod("c", owner, ready_since=-1000.0, creation_timestamp=at(-1000), uid="uid-00", **ready)
    names = [effect.key.name for effect in of(decide(owner, old, older, much_older), Delete)]
    assert names == ["b", "a"], "by their uids, and the one that is much older stays"


def test_more_restarts_go_first_and_those_of_sidecars_after_them() -> None:
    owner = replica_set(replicas=1)

    def restarted(name: str, own: int, sidecar: int) -> core_v1.Pod:
        made = pod(name, owner, node="n1", ready_since=-9)
        beside = core_v1.Container(name="beside", restart_policy="Always")
        status = msgspec.structs.replace(
            made.status,
            container_statuses=(core_v1.ContainerStatus(name="web", restart_count=own),),
            init_container_statuses=(core_v1.ContainerStatus(name="beside", restart_count=sidecar),),
        )
        return msgspec.structs.replace(
            made, spec=msgspec.structs.replace(made.spec, init_containers=(beside,)), status=status
        )

    pods = [restarted("a", 1, 1), restarted("b", 1, 2), restarted("c", 0, 9)]
    assert [effect.key.name for effect in of(decide(owner, *pods), Delete)] == ["b", "a"]


def test_scale_down_sees_the_pods_of_all_replica_sets_of_a_deployment() -> None:
    above = deployment()
    shrinking, other = replica_set(replicas=1, owner=above), replica_set("web-2", owner=above)
    alone, beside = pod("a", shrinking, node="n1", ready_since=-9), pod("b", shrinking, node="n2", ready_since=-9)
    of_other = pod("c", other, node="n2", ready_since=-9)
    deleted = of(decide(shrinking, other, alone, beside, of_other), Delete)
    assert [effect.key.name for effect in deleted] == ["b"]


def test_scale_down_evens_out_the_nodes() -> None:
    owner = replica_set(replicas=2)
    pods = [pod(name, owner, node=where, ready_since=-9) for name, where in (("a", "n1"), ("b", "n1"), ("c", "n2"))]
    assert [effect.key.name for effect in of(decide(owner, *pods), Delete)] == ["a"]


def test_a_matching_pod_without_a_controller_is_adopted_first() -> None:
    owner = replica_set(replicas=1)
    orphan = msgspec.structs.replace(
        pod("x", owner), metadata=msgspec.structs.replace(pod("x", owner).metadata, owner_references=())
    )
    decision = decide(owner, orphan)
    assert not of(decision, Create)
    adopted = of(decision, Update)[0].object
    assert adopted.metadata.owner_references[0].uid == "uid-web-1"


def test_a_pod_that_no_longer_matches_is_released() -> None:
    owner = replica_set(replicas=1)
    released = of(decide(owner, pod("x", owner, labels={"app": "other"})), Update)[0].object
    assert released.metadata.owner_references == ()


def test_status_counts_and_waits_for_min_ready_seconds() -> None:
    owner = replica_set(replicas=2)
    owner = msgspec.structs.replace(owner, spec=msgspec.structs.replace(owner.spec, min_ready_seconds=10))
    old, young = pod("a", owner, node="n1", ready_since=-30), pod("b", owner, node="n1", ready_since=-4)
    decision = decide(owner, old, young)
    status = of(decision, UpdateStatus)[0].object.status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (2, 2, 1)
    assert decision.wake_after_ms == 6000


def test_pods_on_their_way_out_are_counted_apart() -> None:
    owner = replica_set(replicas=1)
    leaving = [pod(name, owner, node="n1", ready_since=-30, deletion_timestamp=at(-1)) for name in ("a", "b")]
    done = msgspec.structs.replace(leaving[1], status=msgspec.structs.replace(leaving[1].status, phase="Succeeded"))
    status = of(decide(owner, leaving[0], done), UpdateStatus)[0].object.status
    assert (status.replicas, status.terminating_replicas) == (0, 1)


def test_nothing_to_do_is_no_effect() -> None:
    counts = {"replicas": 1, "fully_labeled_replicas": 1, "ready_replicas": 1, "available_replicas": 1}
    owner = replica_set(replicas=1, status={**counts, "terminating_replicas": 0})
    assert decide(owner, pod("a", owner, node="n1", ready_since=-9)) == Decision()


def test_a_replication_controller_lives_by_the_same_rules() -> None:
    owner = core_v1.ReplicationController(
        metadata=meta("web"),
        spec=core_v1.ReplicationControllerSpec(replicas=2, selector=LABELS, template=template()),
    )
    rig = Rig(REPLICATION_CONTROLLERS, owner)
    orphan = rig.put(pod("orphan", node="n1", ready_since=-9))
    rig.rounds(2)
    adopted, made = rig.list(kinds.POD)
    assert adopted.metadata.uid == orphan.metadata.uid
    assert {one.metadata.owner_references[0].kind for one in (adopted, made)} == {"ReplicationController"}
    status = rig.get(kinds.REPLICATION_CONTROLLER, "web").status
    assert (status.replicas, status.ready_replicas, status.fully_labeled_replicas) == (2, 2, 2)
    rig.put(msgspec.structs.replace(owner, spec=msgspec.structs.replace(owner.spec, replicas=0)))
    rig.rounds(2)
    assert rig.pods == []
    assert [line.partition(":")[0] for line in rig.told if ":" in line] == ["SuccessfulCreate"] + [
        "SuccessfulDelete"
    ] * 2


def test_a_failure_is_taken_back_when_all_pods_are_there() -> None:
    failure = apps_v1.ReplicaSetCondition(type="ReplicaFailure", status="True", reason="FailedCreate")
    owner = replica_set(replicas=2, status={"conditions": (failure,)})
    pods = [pod(f"p{n}", owner, node="n1", ready_since=-9) for n in range(2)]

    def conditions(*objects: Any) -> list[Any]:
        return [list(effect.object.status.conditions) for effect in of(decide(owner, *objects), UpdateStatus)]

    assert conditions(*pods) == [[]]
    assert conditions(pods[0]) == [[failure]], "one may still not be made"
