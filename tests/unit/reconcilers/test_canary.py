"""How far a canary may go, from what its ReplicaSets say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import canary, revisions, rollout
from controlplane.reconcilers.rollout import Generation
from mizzen.api import workloads
from mizzen.api.types import apps_v1, core_v1
from tests.fixtures.cluster_objects import NOW, at, deployment, pod, replica_set

REVISION = "deployment.kubernetes.io/revision"


def stage(
    step: str, *, new: int = 2, old: int = 8, restarts: int = 0, desired: int = 10, **notes: str
) -> canary.Stage | None:
    """The stage of `20%, pause 30s, 50%, pause` at a step that began ten seconds ago."""
    owner = deployment(desired, "web:v2")
    named = {f"{workloads.PREFIX}{name}": value for name, value in notes.items()}
    annotations = {workloads.CANARY: "20%, pause 30s, 50%, pause", **named}
    owner = replace(owner, metadata=replace(owner.metadata, annotations=annotations))
    marks = {REVISION: "2", workloads.CANARY_STEP: step, workloads.CANARY_SINCE: at(-10)}
    status = {"replicas": new, "available_replicas": new}
    latest = replica_set("web-2", new, owner=owner, image="web:v2", annotations=marks, status=status)
    sets = revisions.Sets(latest, (replica_set("web-1", old, owner=owner, annotations={REVISION: "1"}),))
    return canary.stage(owner, sets, [_pod(latest, n, restarts) for n in range(new)], NOW)


def _pod(owner: apps_v1.ReplicaSet, number: int, restarts: int) -> core_v1.Pod:
    made = pod(f"p{number}", owner, node="n", ready_since=-5)
    status = core_v1.ContainerStatus(name="web", restart_count=restarts)
    return replace(made, status=replace(made.status, container_statuses=(status,)))


@pytest.mark.parametrize(
    ("step", "more", "next_step", "limit", "paused", "wake"),
    [
        ("", {}, "2/1", 2, False, None),
        ("1/3", {}, "2/1", 2, False, None),  # of an earlier try
        ("2/0", {"new": 1}, None, 2, False, None),
        ("2/0", {"old": 9}, None, 2, False, None),
        ("2/0", {"restarts": 1}, None, 2, False, None),
        ("2/1", {}, None, 2, True, 20_000),
        ("2/1", {"promote": "true"}, "2/2", 2, False, None),
        ("2/1", {"promote": "true", "restarts": 1}, None, 2, True, 20_000),
        ("2/2", {}, None, 5, False, None),
        ("2/2", {"new": 5, "old": 5}, "2/3", 5, False, None),
        ("2/3", {"new": 5, "old": 5}, None, 5, True, None),
        ("2/3", {"new": 5, "old": 5, "promote": "true"}, "2/done", 5, False, None),
        ("2/0", {"new": 0, "old": 10, "promote": "full"}, "2/done", 2, False, None),
    ],
)
def test_the_steps(
    step: str, more: dict[str, Any], next_step: str | None, limit: int, paused: bool, wake: int | None
) -> None:
    here = stage(step, **more)
    assert here is not None
    reached = here.advanced and here.advanced.metadata.annotations[workloads.CANARY_STEP]
    assert (reached, here.limit, here.paused, here.wake_after_ms) == (next_step, limit, paused, wake)


@pytest.mark.parametrize(
    ("step", "more"), [("2/done", {}), ("", {"old": 0}), ("", {"desired": 0})], ids=["done", "first", "none wanted"]
)
def test_when_there_is_none(step: str, more: dict[str, Any]) -> None:
    assert stage(step, **more) is None


def test_one_replica_keeps_an_old_one_beside_it() -> None:
    here = stage("2/0", new=1, old=1, desired=1)
    assert here is not None
    assert (here.limit, here.keep) == (1, 1)


@pytest.mark.parametrize(
    ("targets", "keep", "wanted"),
    [({"a": 0, "b": 2}, 4, {"a": 0}), ({"a": 0, "b": 0}, 5, {"a": 1}), ({"a": 0}, 2, {"a": 0}), ({}, 9, {})],
)
def test_old_revisions_keep_their_share(targets: dict[str, int], keep: int, wanted: dict[str, int]) -> None:
    old = [Generation("a", 3, 3), Generation("b", 4, 4)]
    assert rollout.keeping(targets, old, keep) == wanted
