"""When an eviction has to wait for the pod's replacement."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import surging
from controlplane.reconcilers import replicaset
from mizzen.api import workloads
from mizzen.api.types import core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, deployment, pod, replica_set, view

ASKED = {workloads.SURGE_BEFORE_EVICT: "true"}


def held(asked: dict[str, str], ready: int, *, replicas: int = 2, going: bool = False, itself: bool = True) -> bool:
    owner = deployment(replicas)
    owner = replace(owner, metadata=replace(owner.metadata, annotations=asked))
    replicated = replica_set("web-1", replicas, owner=owner)
    pods = [pod(f"p{n}", replicated, node="n", ready_since=-5) for n in range(ready)]
    evicted = pods[0] if itself else pod("late", replicated, node="n")
    if going:
        pods[1] = replace(pods[1], metadata=replace(pods[1].metadata, deletion_timestamp=at(-1)))
    return surging.is_held(evicted, owner, replicated, pods)


@pytest.mark.parametrize(
    ("asked", "ready", "more", "wanted"),
    [
        (ASKED, 2, {}, True),
        (ASKED, 1, {"replicas": 1}, True),
        (ASKED, 3, {}, False),
        (ASKED, 3, {"going": True}, True),
        (ASKED, 2, {"itself": False}, False),
        (ASKED, 2, {"replicas": 0}, False),
        ({workloads.SURGE_BEFORE_EVICT: "false"}, 2, {}, False),
        ({}, 2, {}, False),
    ],
)
def test_who_waits(asked: dict[str, str], ready: int, more: dict[str, Any], wanted: bool) -> None:
    assert held(asked, ready, **more) is wanted


def test_who_has_no_deployment_does_not_wait() -> None:
    assert not surging.is_held(pod("p", node="n", ready_since=-5), None, None, ())


@pytest.mark.parametrize(("since", "again"), [(None, True), (-60, False), (-400, True), (-900, True)])
def test_the_note_is_kept_fresh(since: int | None, again: bool) -> None:
    notes = {} if since is None else {workloads.EVICTION_WANTED: at(since)}
    noted = surging.wanted_away(pod("p", annotations=notes), NOW)
    assert (noted.metadata.annotations[workloads.EVICTION_WANTED] == at(0)) is again


def decide(*pods: core_v1.Pod) -> Decision:
    owner = replica_set("web-1", 2)
    key = Key("replicasets.apps", "default", "web-1")
    return replicaset.CONTROLLER.reconcile(key, view(owner, *pods), NOW, SeededIds(1))


@pytest.mark.parametrize(
    ("since", "others", "created", "deleted"),
    [(-60, 1, 1, 0), (-60, 2, 0, 0), (-900, 1, 0, 0), (-900, 2, 0, 1)],
    ids=["replaced", "replacement is there", "forgotten", "surplus goes"],
)
def test_a_replica_set_replaces_who_is_to_go(since: int, others: int, created: int, deleted: int) -> None:
    owner = replica_set("web-1", 2)
    leaving = pod("a", owner, node="n", ready_since=-5, annotations={workloads.EVICTION_WANTED: at(since)})
    decision = decide(leaving, *(pod(f"b{n}", owner, node="m", ready_since=-5) for n in range(others)))
    kinds = [type(effect) for effect in decision.effects]
    assert (kinds.count(Create), kinds.count(Delete)) == (created, deleted)
    assert decision.wake_after_ms == (540_000 if since == -60 else None)
