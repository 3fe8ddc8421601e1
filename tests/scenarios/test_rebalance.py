"""Pods move to a node that returned, one by one, and nothing goes back and forth."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from mizzen.api import kinds, workloads
from mizzen.api.types import meta_v1, policy_v1
from mizzen.engine.plans import Question
from tests.scenarios.test_plans import ask, steps
from tests.scenarios.test_workloads import Cluster, asking

AWAY_MS = 600_000


def places(cluster: Cluster) -> list[int]:
    """How many pods of the deployment each of the four nodes has, the fewest first."""
    counts = Counter(pod.spec.node_name for pod in cluster.pods())
    return sorted(counts[node.name] for node in cluster.run.nodes)


def told(cluster: Cluster, reason: str) -> int:
    """How often an event was sent."""
    return sum(f"rebalance: {reason} " in line for line in cluster.run.world.trace)


def lost_and_returned(seed: int, **annotations: str) -> Cluster:
    """A cluster of six pods whose second node was away for ten minutes; the last of them has just passed."""
    cluster = Cluster(seed)
    cluster.go(1)
    cluster.change(kinds.DEPLOYMENT, "web", asking(**annotations))
    cluster.run.nodes[1].power_off(AWAY_MS)
    cluster.go(10.1)
    assert places(cluster) == [0, 2, 2, 2]
    cluster.run.checkers.keep("web", 6)
    return cluster


@pytest.mark.parametrize("seed", [1, 2])
def test_a_node_that_returns_gets_its_share_and_then_nothing_moves(seed: int) -> None:
    cluster = lost_and_returned(seed, rebalance="true")
    budget = policy_v1.PodDisruptionBudgetSpec(
        max_unavailable=0, selector=meta_v1.LabelSelector(match_labels={"app": "web"})
    )
    metadata = meta_v1.ObjectMeta(name="web", namespace="default")
    cluster.run._create(policy_v1.PodDisruptionBudget(metadata=metadata, spec=budget))
    cluster.go(1)
    assert told(cluster, "Rebalancing") == 0, "a node has to be well for a while"
    cluster.go(4)
    assert places(cluster) == [1, 1, 2, 2]
    before = {pod.metadata.uid for pod in cluster.pods()}
    assert told(cluster, "Rebalancing") == told(cluster, "Rebalanced") == 1
    cluster.go(30)
    assert {pod.metadata.uid for pod in cluster.pods()} == before
    assert workloads.MOVING not in cluster.web().metadata.annotations
    cluster.run.checkers.at_rest()


@pytest.mark.parametrize("write", [1, 2, 3, 5])
def test_a_move_goes_on_whoever_leads(write: int) -> None:
    cluster = lost_and_returned(2, rebalance="true")
    cluster.go(1.8)
    cluster.run._next_brain(write)
    cluster.run._watch_leader()
    cluster.go(20)
    assert places(cluster) == [1, 1, 2, 2]
    assert workloads.MOVING not in cluster.web().metadata.annotations
    cluster.run.checkers.at_rest()


def test_nothing_moves_unasked() -> None:
    cluster = lost_and_returned(2)
    cluster.go(10)
    assert places(cluster) == [0, 2, 2, 2]


def test_a_node_that_comes_and_goes_gets_nothing() -> None:
    cluster = lost_and_returned(2, rebalance="true")
    for _ in range(5):
        cluster.run.nodes[1].power_off(90_000)
        cluster.go(2)
        assert (places(cluster), told(cluster, "Rebalancing")) == ([0, 2, 2, 2], 0)
    cluster.go(5)
    assert places(cluster) == [1, 1, 2, 2]


def test_a_replacement_that_does_not_come_up_leaves_all_as_it_was() -> None:
    cluster = lost_and_returned(2, rebalance="true")
    before = {pod.metadata.uid for pod in cluster.pods()}
    # It loses its images, and the registry has none either.
    cluster.run.nodes[1].runtime.images = set()
    cluster.run.nodes[1].runtime.local.clear()
    cluster.go(30)
    assert before <= {pod.metadata.uid for pod in cluster.pods()}
    assert told(cluster, "RebalanceGivenUp") >= 1
    assert told(cluster, "Rebalanced") == 0


def test_a_plan_shows_what_would_move_to_a_node_that_returns() -> None:
    cluster = Cluster(2)
    cluster.change(kinds.DEPLOYMENT, "web", asking(rebalance="true"))
    cluster.run.nodes[1].power_off(0)
    cluster.go(8)
    assert places(cluster) == [0, 2, 2, 2]
    nothing = ask(cluster.run, Question())
    assert (steps(nothing, "bind"), steps(nothing, "ready", "nodes")) == ([], [])
    plan = ask(cluster.run, Question(return_nodes=("node-1",)))
    (back,) = steps(plan, "ready", "nodes")
    (bound,) = steps(plan, "bind")
    (stopped,) = steps(plan, "stop")
    assert (back.object.name, bound.message) == ("node-1", "to node-1")
    assert back.at_ms < bound.at_ms < stopped.at_ms
    assert plan.problems == ()


def test_many_deployments_move_a_few_at_a_time() -> None:
    cluster = Cluster(2)
    cluster.go(1)
    cluster.run.nodes[1].power_off(AWAY_MS)
    cluster.go(8)
    web = cluster.web()
    for name in ("a", "b", "c", "d", "e"):
        labels = {"app": name}
        template = replace(web.spec.template, metadata=meta_v1.ObjectMeta(labels=labels))
        spec = replace(web.spec, replicas=3, selector=meta_v1.LabelSelector(match_labels=labels), template=template)
        metadata = meta_v1.ObjectMeta(name=name, namespace="default", annotations={workloads.REBALANCE: "true"})
        cluster.run._create(type(web)(metadata=metadata, spec=spec))
    cluster.go(1)
    for name in ("a", "b", "c", "d", "e"):
        cluster.run.checkers.keep(name, 3)
    most = 0

    def few() -> None:
        nonlocal most
        deployments = cluster.run.store.cache.list(kinds.DEPLOYMENT)
        most = max(most, sum(workloads.MOVING in one.metadata.annotations for one in deployments))

    cluster.run.world.checks.append(few)
    cluster.go(20)
    assert most == 3
    moves = told(cluster, "Rebalanced")
    assert 4 <= moves <= 8
    assert places(cluster)[0] >= 4
    cluster.go(20)
    assert told(cluster, "Rebalanced") == moves
