"""When a pod moves to a better node, and when a move goes on, waits or is given up."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import rebalance
from mizzen.api import workloads
from mizzen.api.types import apps_v1, core_v1, meta_v1, policy_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Emit, Evict, Update
from mizzen.engine.placing import Better
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import LABELS, NOW, at, deployment, meta, node, pod, replica_set, view

ASKED = {workloads.REBALANCE: "true"}


def web(annotations: dict[str, str] | None = None, available: int = 3) -> apps_v1.Deployment:
    """A Deployment of three."""
    made = deployment(3)
    status = apps_v1.DeploymentStatus(
        observed_generation=1, replicas=3, updated_replicas=3, ready_replicas=3, available_replicas=available
    )
    notes = ASKED if annotations is None else annotations
    return replace(made, metadata=replace(made.metadata, annotations=notes), status=status)


OWNER = web()
SET = replica_set("web-1", 3, owner=OWNER, status={"replicas": 3})


def at_work(name: str, where: str = "n1", *, age_s: int = 3600, **more: Any) -> core_v1.Pod:
    """A pod that is ready."""
    return pod(name, SET, node=where, ready_since=-5, creation_timestamp=at(-age_s), **more)


def steady(name: str, since_s: int = -600, ready: str = "True") -> core_v1.Node:
    """A node that has been like this for so long."""
    condition = core_v1.NodeCondition(type="Ready", status=ready, last_transition_time=at(since_s))
    made = node(name)
    return replace(made, status=replace(made.status, conditions=(condition,)))


PODS = (at_work("a"), at_work("b"), at_work("c", "n2"))
NODES = (steady("n1"), steady("n2"), steady("n3"))


def decide(*objects: Any, gain: int = 200, offered: list[str] | None = None) -> Decision:
    """What is decided where the first pod that may move would gain so much on n3."""

    def find_better(pods: Any, _: Any) -> Better | None:
        if offered is not None:
            offered.extend(one.metadata.name for one in pods)
        return Better(pods[0], "n3", gain) if pods else None

    key = Key("deployments.apps", "default", "web")
    return rebalance.reconcile(find_better, key, view(*objects), NOW, SeededIds(1))


def test_a_move_is_noted_and_told() -> None:
    marked, noted, told = decide(OWNER, SET, *PODS, *NODES).effects
    assert isinstance(marked, Update)
    assert marked.object.metadata.annotations == {**ASKED, workloads.MOVING: "a"}
    assert isinstance(noted, Update)
    assert noted.object.metadata.annotations == {workloads.EVICTION_WANTED: at()}
    assert isinstance(told, Emit)
    place = "n1, which has 2 of its pods, to n3, which has 0"
    assert (told.reason, told.message) == ("Rebalancing", f"Moving pod a from {place}: a replacement first")


OTHERS = tuple(
    replace(OWNER, metadata=meta(f"o{n}", annotations={**ASKED, workloads.MOVING: "p"}))
    for n in range(rebalance.MOVES_MAX)
)


@pytest.mark.parametrize(
    ("objects", "gain", "wake_ms"),
    [
        pytest.param((OWNER, SET, *PODS, *NODES), rebalance.GAIN_MIN - 1, None, id="it would gain little"),
        pytest.param((web({}), SET, *PODS, *NODES), 200, None, id="nobody asked"),
        pytest.param((web({workloads.REBALANCE: "false"}), SET, *PODS, *NODES), 200, None, id="it is off"),
        pytest.param((web(available=2), SET, *PODS, *NODES), 200, None, id="a pod is missing"),
        pytest.param(
            (web({**ASKED, workloads.REBALANCE_AFTER: at(7)}), SET, *PODS, *NODES), 200, 7_000, id="the last is recent"
        ),
        pytest.param(
            (OWNER, SET, at_work("a", annotations={workloads.EVICTION_WANTED: at(-9)}), *PODS[1:], *NODES),
            200, rebalance.LOOK_MS, id="another is on its way out",
        ),
        pytest.param((OWNER, SET, *PODS, steady("n3", -20)), 200, rebalance.STEADY_MS - 20_000, id="n3 is just back"),
        pytest.param((OWNER, SET, *PODS, steady("n3", ready="Unknown")), 200, rebalance.STEADY_MS, id="n3 is lost"),
        pytest.param((OWNER, SET, *PODS, *NODES, *OTHERS), 200, rebalance.LOOK_MS, id="others move"),
    ],
)  # fmt: skip
def test_nothing_moves(objects: tuple[Any, ...], gain: int, wake_ms: int | None) -> None:
    decision = decide(*objects, gain=gain)
    assert (decision.effects, decision.wake_after_ms) == ((), wake_ms)


def volume(**source: Any) -> dict[str, Any]:
    return {"spec": {"volumes": (core_v1.Volume(name="v", **source),)}}


EMPTY = volume(empty_dir=core_v1.EmptyDirVolumeSource())
HOST = volume(host_path=core_v1.HostPathVolumeSource(path="/srv"))
CONFIG = volume(config_map=core_v1.ConfigMapVolumeSource(name="c"))


@pytest.mark.parametrize(
    ("setting", "more", "moves"),
    [
        ("true", CONFIG, True),
        ("true", EMPTY, False),
        (workloads.REBALANCE_SCRATCH, EMPTY, True),
        ("true", HOST, False),
        (workloads.REBALANCE_SCRATCH, HOST, False),
    ],
)
def test_data_of_a_node_holds_its_pods(setting: str, more: dict[str, Any], moves: bool) -> None:
    offered: list[str] = []
    decide(web({workloads.REBALANCE: setting}), SET, at_work("a", **more), at_work("z"), *NODES, offered=offered)
    assert offered == (["a", "z"] if moves else ["z"])


MOVING = web({**ASKED, workloads.MOVING: "a"})
LEAVES = at_work("a", annotations={workloads.EVICTION_WANTED: at(-60)})
MADE = at_work("new", "n3", age_s=59)


def budget(allowed: int, generation: int = 1) -> policy_v1.PodDisruptionBudget:
    """A budget of all pods."""
    spec = policy_v1.PodDisruptionBudgetSpec(selector=meta_v1.LabelSelector(match_labels=LABELS))
    status = policy_v1.PodDisruptionBudgetStatus(disruptions_allowed=allowed, observed_generation=1)
    return policy_v1.PodDisruptionBudget(metadata=meta("pdb", generation=generation), spec=spec, status=status)


@pytest.mark.parametrize("more", [(), (budget(1),)])
def test_the_pod_goes_when_its_replacement_is_ready(more: tuple[Any, ...]) -> None:
    evict, told = decide(MOVING, SET, LEAVES, *PODS[1:], MADE, *more).effects
    assert evict == Evict("default", "a", "uid-a")
    assert isinstance(told, Emit)
    assert told.reason == "Rebalanced"


@pytest.mark.parametrize(
    ("objects", "wake_ms", "why"),
    [
        ((LEAVES, *PODS[1:]), 540_000, "the replacement of pod a is not ready"),
        ((LEAVES, *PODS[1:], pod("new", SET, node="n3")), 540_000, "the replacement of pod a is not ready"),
        ((LEAVES, *PODS[1:], MADE, budget(0)), 5_000, "the disruption budget pdb does not let pod a go"),
        ((LEAVES, *PODS[1:], MADE, budget(1, 2)), 5_000, "the disruption budget pdb does not let pod a go"),
    ],
)
def test_a_move_waits(objects: tuple[Any, ...], wake_ms: int, why: str) -> None:
    decision = decide(MOVING, SET, *objects)
    assert (decision.effects, decision.wake_after_ms) == ((), wake_ms)
    assert [one.message for one in decision.waiting] == [why]


NEXT = replica_set("web-2", 1, owner=OWNER, image="web:v2")


@pytest.mark.parametrize(
    ("owner", "objects", "why"),
    [
        (MOVING, (at_work("a", annotations={workloads.EVICTION_WANTED: at(-601)}), *PODS[1:]), "not ready in time"),
        (MOVING, (*PODS, at_work("x", age_s=9)), "not ready in time"),
        (MOVING, (LEAVES, *PODS[1:], at_work("new", "n1", age_s=59)), "came to n1, which is no better"),
        (web({workloads.MOVING: "a"}), (LEAVES, *PODS[1:], MADE), "not asked for any more"),
        (MOVING, (LEAVES, *PODS[1:], MADE, NEXT), "another revision rolls out"),
    ],
)
def test_a_move_is_given_up_and_not_tried_again_for_long(owner: Any, objects: tuple[Any, ...], why: str) -> None:
    *updates, told = decide(owner, SET, *objects).effects
    assert isinstance(told, Emit)
    assert told.reason == "RebalanceGivenUp"
    assert why in told.message
    rested = updates[-1]
    assert isinstance(rested, Update)
    assert workloads.MOVING not in rested.object.metadata.annotations
    assert rested.object.metadata.annotations[workloads.REBALANCE_AFTER] == at(rebalance.FAILED_PAUSE_MS / 1000)
    for update in updates[:-1]:
        assert isinstance(update, Update)
        assert workloads.EVICTION_WANTED not in update.object.metadata.annotations


@pytest.mark.parametrize("left", [(), (replace(LEAVES, metadata=replace(LEAVES.metadata, deletion_timestamp=at())),)])
def test_a_move_ends_with_its_pod(left: tuple[Any, ...]) -> None:
    (rested,) = decide(MOVING, SET, *left, *PODS[1:], MADE).effects
    assert isinstance(rested, Update)
    assert rested.object.metadata.annotations == {**ASKED, workloads.REBALANCE_AFTER: at(rebalance.PAUSE_MS / 1000)}
