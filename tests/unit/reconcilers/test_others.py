"""What the smaller controllers decide."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import garbage, namespace, nodeipam, nodelifecycle, podgc, tainteviction
from mizzen.api.types import core_v1, meta_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Delete, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import (
    NOW,
    at,
    deployment,
    lease,
    meta,
    node,
    owned_by,
    pod,
    replica_set,
    view,
)

GRACE_MS = 50_000


def of(decision: Decision, kind: type) -> list[Any]:
    return [effect for effect in decision.effects if isinstance(effect, kind)]


class TestNodes:
    def decide(self, *objects: Any, since: int = 0) -> Decision:
        return nodelifecycle.decide(Key("nodes", "", "n1"), view(*objects), NOW, GRACE_MS, since)

    def test_a_living_node_is_looked_at_when_its_grace_ends(self) -> None:
        assert self.decide(node("n1"), lease("n1", -10)) == Decision(wake_after_ms=40_000)

    def test_a_silent_node_becomes_unknown(self) -> None:
        lost = of(self.decide(node("n1"), lease("n1", -51)), UpdateStatus)[0].object
        ready = nodelifecycle.condition(lost, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("Unknown", "NodeStatusUnknown")

    def test_silence_before_this_leader_listened_says_nothing(self) -> None:
        decision = self.decide(node("n1"), lease("n1", -500), since=NOW - 10_000)
        assert decision == Decision(wake_after_ms=40_000)
        assert of(self.decide(node("n1"), lease("n1", -500), since=NOW - 51_000), UpdateStatus)

    def test_an_unknown_node_is_tainted_with_the_time(self) -> None:
        changed = of(self.decide(node("n1", ready="Unknown"), node("n2"), lease("n1", -10)), Update)[0].object
        assert {(t.key, t.effect, t.time_added) for t in changed.spec.taints} == {
            ("node.kubernetes.io/unreachable", "NoSchedule", at()),
            ("node.kubernetes.io/unreachable", "NoExecute", at()),
        }

    def test_taints_of_users_stay_and_ours_go_when_the_node_is_well(self) -> None:
        mine = core_v1.Taint(key="dedicated", value="db", effect="NoSchedule")
        stale = core_v1.Taint(key=nodelifecycle.NOT_READY, effect="NoSchedule")
        changed = of(self.decide(node("n1", spec={"taints": (mine, stale)}), lease("n1", -1)), Update)[0].object
        assert changed.spec.taints == (mine,)

    def test_cordoned_nodes_are_tainted(self) -> None:
        changed = of(self.decide(node("n1", spec={"unschedulable": True}), lease("n1", -1)), Update)[0].object
        assert [t.key for t in changed.spec.taints] == [nodelifecycle.UNSCHEDULABLE]

    def test_pods_of_a_lost_node_stop_being_ready(self) -> None:
        taints, _ = nodelifecycle.wanted_taints(node("n1", ready="Unknown"), view(), NOW)
        decision = self.decide(
            node("n1", ready="Unknown", spec={"taints": taints}),
            lease("n1", -99),
            pod("a", node="n1", ready_since=-100),
        )
        # The other health conditions are not known yet, so those come first.
        lost = of(decision, UpdateStatus)[0].object
        decision = self.decide(lost, lease("n1", -99), pod("a", node="n1", ready_since=-100))
        assert of(decision, UpdateStatus)[0].object.status.conditions[0].status == "False"


@pytest.mark.parametrize(
    ("tolerations", "leaves"),
    [
        pytest.param((), 0, id="none"),
        pytest.param((core_v1.Toleration(operator="Exists"),), None, id="for-ever"),
        pytest.param(
            (core_v1.Toleration(key="k", operator="Exists", toleration_seconds=300),), NOW + 300_000, id="a-while"
        ),
        pytest.param(
            (
                core_v1.Toleration(key="k", operator="Exists", toleration_seconds=300),
                core_v1.Toleration(operator="Exists", toleration_seconds=10),
            ),
            NOW + 10_000,
            id="the-shortest",
        ),
    ],
)
def test_pods_leave_tainted_nodes(tolerations: tuple[core_v1.Toleration, ...], leaves: int | None) -> None:
    taint = core_v1.Taint(key="k", effect="NoExecute", time_added=at())
    where = node("n1", spec={"taints": (taint,)})
    there = pod("a", node="n1", spec={"tolerations": tolerations})
    assert tainteviction.leaves_at_ms(there, (taint,)) == leaves
    decision = tainteviction.reconcile(Key("pods", "default", "a"), view(where, there), NOW, SeededIds(1))
    assert bool(of(decision, Delete)) == (leaves == 0)
    marks = [one.object.status.conditions[-1] for one in of(decision, UpdateStatus)]
    assert [(mark.type, mark.status, mark.reason) for mark in marks] == (
        [("DisruptionTarget", "True", "DeletionByTaintManager")] if leaves == 0 else []
    )
    if leaves:
        assert decision.wake_after_ms == leaves - NOW
        assert decision.waiting[0].reason == "Tolerating"


class TestAddresses:
    def decide(self, *objects: Any, cidr: str = "10.244.0.0/16") -> Decision:
        return nodeipam.decide(view(*objects), ipaddress.IPv4Network(cidr), 24)

    def test_each_node_gets_the_lowest_free_range(self) -> None:
        given = [
            e.object
            for e in of(self.decide(node("a"), node("b", spec={"pod_cidr": "10.244.0.0/24"}), node("c")), Update)
        ]
        assert [(n.metadata.name, n.spec.pod_cidr, n.spec.pod_cidrs) for n in given] == [
            ("a", "10.244.1.0/24", ("10.244.1.0/24",)),
            ("c", "10.244.2.0/24", ("10.244.2.0/24",)),
        ]

    def test_when_none_is_left_the_node_says_so(self) -> None:
        decision = self.decide(node("a"), node("b"), cidr="10.244.0.0/24")
        assert [e.reason for e in of(decision, Emit)] == ["CIDRNotAvailable"]
        assert len(of(decision, Update)) == 1


def test_pods_of_vanished_nodes_are_removed() -> None:
    decision = podgc.reconcile(Key("pods", "default", "a"), view(pod("a", node="gone")), NOW, SeededIds(1))
    assert of(decision, UpdateStatus)[0].object.status.phase == "Failed"
    assert of(decision, Delete)[0].grace_period_s == 0


class TestGarbage:
    def decide(self, resource: str, name: str, *objects: Any) -> Decision:
        return garbage.reconcile(Key(resource, "default", name), view(*objects), NOW, SeededIds(1))

    def test_without_any_owner_left_it_goes(self) -> None:
        orphan = replica_set(owner=deployment())
        assert [e.uid for e in of(self.decide("replicasets.apps", "web-1", orphan), Delete)] == ["uid-web-1"]

    def test_an_owner_of_another_uid_is_not_the_owner(self) -> None:
        owner = deployment()
        again = msgspec.structs.replace(owner, metadata=msgspec.structs.replace(owner.metadata, uid="other"))
        assert of(self.decide("replicasets.apps", "web-1", replica_set(owner=owner), again), Delete)

    def test_with_its_owner_it_stays(self) -> None:
        owner = deployment()
        assert self.decide("replicasets.apps", "web-1", replica_set(owner=owner), owner) == Decision()

    def test_an_owner_of_an_unknown_kind_counts_as_there(self) -> None:
        reference = meta_v1.OwnerReference(api_version="example.com/v1", kind="Thing", name="x", uid="u")
        held = core_v1.ConfigMap(metadata=meta("c", owner_references=(reference,)))
        assert self.decide("configmaps", "c", held) == Decision()

    def test_foreground_waits_for_blocking_dependents(self) -> None:
        owner = deployment()
        leaving = msgspec.structs.replace(
            owner,
            metadata=msgspec.structs.replace(
                owner.metadata, deletion_timestamp=at(), finalizers=("foregroundDeletion",)
            ),
        )
        held = replica_set(owner=owner)
        assert [e.key.name for e in of(self.decide("deployments.apps", "web", leaving, held), Delete)] == ["web-1"]
        assert of(self.decide("deployments.apps", "web", leaving), Update)[0].object.metadata.finalizers == ()

    def test_orphaning_lets_dependents_go(self) -> None:
        owner = deployment()
        leaving = msgspec.structs.replace(
            owner, metadata=msgspec.structs.replace(owner.metadata, deletion_timestamp=at(), finalizers=("orphan",))
        )
        freed = of(self.decide("deployments.apps", "web", leaving, replica_set(owner=owner)), Update)[0].object
        assert freed.metadata.name == "web-1"
        assert freed.metadata.owner_references == ()


class TestNamespaces:
    def decide(self, *objects: Any) -> Decision:
        return namespace.reconcile(Key("namespaces", "", "default"), view(*objects), NOW, SeededIds(1))

    def leaving(self) -> core_v1.Namespace:
        return core_v1.Namespace(
            metadata=meta("default", "", deletion_timestamp=at()),
            spec=core_v1.NamespaceSpec(finalizers=("kubernetes",)),
        )

    def test_pods_go_before_the_rest(self) -> None:
        held = core_v1.ConfigMap(metadata=meta("c"))
        decision = self.decide(self.leaving(), pod("a"), held)
        assert [e.key.resource for e in of(decision, Delete)] == ["pods"]
        conditions = {c.type: c for c in of(decision, UpdateStatus)[0].object.status.conditions}
        assert conditions["NamespaceContentRemaining"].message == (
            "Some resources are remaining: configmaps. has 1 resource instances, pods. has 1 resource instances"
        )
        assert [e.key.name for e in of(self.decide(self.leaving(), held), Delete)] == ["c"]

    def test_what_a_finalizer_holds_holds_up_nothing_else(self) -> None:
        stuck = core_v1.ConfigMap(metadata=meta("stuck", deletion_timestamp=at(), finalizers=("example.com/hold",)))
        decision = self.decide(self.leaving(), stuck, deployment(), core_v1.Secret(metadata=meta("s")))
        assert {e.key.resource for e in of(decision, Delete)} == {"deployments.apps", "secrets"}
        conditions = {c.type: c for c in of(decision, UpdateStatus)[0].object.status.conditions}
        assert conditions["NamespaceFinalizersRemaining"].message == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        )

    def test_an_empty_namespace_is_let_go(self) -> None:
        told = of(self.decide(self.leaving()), UpdateStatus)[0].object
        assert of(self.decide(told), Update)[0].object.spec.finalizers == ()

    def test_a_living_namespace_is_left_alone(self) -> None:
        assert self.decide(core_v1.Namespace(metadata=meta("default", "")), pod("a")) == Decision()


def test_references_name_the_owner() -> None:
    assert owned_by(deployment())[0].api_version == "apps/v1"
