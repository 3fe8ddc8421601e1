"""Where the scheduler puts pods, and what it says when it can't."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.scheduling import scores
from controlplane.scheduling.passes import PassLimits, Scheduler, in_order, pending
from controlplane.scheduling.ranking import Ranking
from controlplane.scheduling.wants import wants_of
from mizzen.api.types import core_v1
from tests.fixtures.cluster_objects import at, node, pod, replica_set, view

ALL = PassLimits(pods_max=10_000)


def asking(name: str, cpu: str = "100m", memory: str = "64Mi", owner: Any = None, **spec: Any) -> core_v1.Pod:
    requests = {"cpu": cpu, "memory": memory, **spec.pop("extended", {})}
    ports = spec.pop("ports", ())
    container = core_v1.Container(
        name="c", image="i", ports=ports, resources=core_v1.ResourceRequirements(requests=requests)
    )
    return pod(name, owner, spec={"containers": (container,), **spec})


def bound(one: core_v1.Pod, where: str) -> core_v1.Pod:
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, node_name=where))


def tainted(name: str, *taints: core_v1.Taint) -> core_v1.Node:
    return node(name, spec={"taints": taints})


def placed(objects: list[Any], pods: list[core_v1.Pod], packing: scores.Packing = "least") -> dict[str, str]:
    seen = view(*objects)
    result = Scheduler.of(seen, packing).run_pass(pods, ALL, seen)
    return {binding.name: binding.node for binding in result.bindings}


def refused(objects: list[Any], one: core_v1.Pod) -> str:
    seen = view(*objects)
    return str(Scheduler.of(seen).run_pass([one], ALL, seen).refusals[0].explanation)


def test_replicas_spread_over_nodes() -> None:
    owner = replica_set(replicas=6)
    where = placed([node("a"), node("b"), node("c")], [asking(f"p{n}", owner=owner) for n in range(6)])
    assert sorted(where.values()) == ["a", "a", "b", "b", "c", "c"]


def test_replicas_spread_even_onto_the_fuller_node() -> None:
    owner = replica_set(replicas=2)
    busy = asking("busy", cpu="3")
    where = placed([node("a"), node("b"), bound(busy, "a")], [asking("p0", owner=owner), asking("p1", owner=owner)])
    assert sorted(where.values()) == ["a", "b"]


def test_the_emptier_or_the_fuller_node_is_preferred() -> None:
    busy = asking("busy", cpu="1", memory="2Gi")
    objects = [node("a"), node("b"), bound(busy, "a")]
    assert placed(objects, [asking("p")]) == {"p": "b"}
    assert placed(objects, [asking("p")], "most") == {"p": "a"}


def test_equal_nodes_are_taken_by_name() -> None:
    assert placed([node("b"), node("a"), node("c")], [asking("p")]) == {"p": "a"}


def test_higher_priority_and_age_go_first() -> None:
    late, early, high = asking("late"), asking("early"), asking("high", priority=10)
    early = msgspec.structs.replace(
        early, metadata=msgspec.structs.replace(early.metadata, creation_timestamp=at(-9000))
    )
    assert [p.metadata.name for p in in_order([late, early, high])] == ["high", "early", "late"]


def test_a_node_is_never_overfilled() -> None:
    where = placed([node("a", cpu="1"), node("b", cpu="1")], [asking(f"p{n}", cpu="400m") for n in range(6)])
    assert sorted(where.values()) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("nodes", "one", "text"),
    [
        pytest.param([], asking("p"), "no nodes available to schedule pods", id="no-nodes"),
        pytest.param(
            [node("a", cpu="1"), node("b", memory="1Gi"), node("c", pods="0")],
            asking("p", cpu="2", memory="2Gi"),
            "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods.",
            id="each-short-of-something",
        ),
        pytest.param(
            [
                node("a", spec={"unschedulable": True}),
                tainted("b", core_v1.Taint(key="k", value="v", effect="NoSchedule")),
            ],
            asking("p"),
            "0/2 nodes are available: 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable.",
            id="closed",
        ),
        pytest.param(
            [node("a", labels={"disk": "hdd"})],
            asking("p", node_selector={"disk": "ssd"}),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            id="selector",
        ),
        pytest.param(
            [node("a")],
            asking("p", extended={"example.com/gpu": "1"}),
            "0/1 nodes are available: 1 Insufficient example.com/gpu.",
            id="resource-nobody-has",
        ),
    ],
)  # fmt: skip
def test_a_refusal_explains_itself(nodes: list[Any], one: core_v1.Pod, text: str) -> None:
    assert refused(nodes, one) == text


def test_host_ports_are_taken_once_a_node() -> None:
    port = core_v1.ContainerPort(container_port=80, host_port=80, protocol="TCP")
    where = placed([node("a"), node("b")], [asking(f"p{n}", ports=(port,)) for n in range(3)])
    assert sorted(where.values()) == ["a", "b"]


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ("1", "5"), True),
        ("NotIn", ("5",), False),
        ("Exists", (), True),
        ("DoesNotExist", (), False),
        ("Gt", ("4",), True),
        ("Lt", ("5",), False),
    ],
)
def test_required_node_affinity(operator: str, values: tuple[str, ...], fits: bool) -> None:
    expression = core_v1.NodeSelectorRequirement(key="size", operator=operator, values=values)
    terms = (core_v1.NodeSelectorTerm(match_expressions=(expression,)),)
    required = core_v1.NodeSelector(node_selector_terms=terms)
    affinity = core_v1.Affinity(
        node_affinity=core_v1.NodeAffinity(required_during_scheduling_ignored_during_execution=required)
    )
    assert bool(placed([node("a", labels={"size": "5"})], [asking("p", affinity=affinity)])) == fits


def test_tolerated_taints_are_fine_and_preferred_ones_avoided() -> None:
    hard = core_v1.Taint(key="k", value="v", effect="NoSchedule")
    soft = core_v1.Taint(key="soft", effect="PreferNoSchedule")
    objects = [node("a", spec={"taints": (hard, soft)}), node("b", spec={"taints": (hard,)})]
    tolerations = (core_v1.Toleration(key="k", operator="Equal", value="v"),)
    assert placed(objects, [asking("p", tolerations=tolerations)]) == {"p": "b"}


def test_only_pods_of_this_scheduler_that_need_a_node_are_pending() -> None:
    other = asking("other", scheduler_name="mine")
    gated = asking("gated", scheduling_gates=(core_v1.PodSchedulingGate(name="wait"),))
    leaving = pod("leaving", deletion_timestamp=at())
    bound = pod("bound", node="a")
    assert [p.metadata.name for p in pending(view(other, gated, leaving, bound, asking("p")))] == ["p"]


STEP = st.tuples(
    st.sampled_from(["add", "drop", "node", "lose"]),
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from(["100m", "700m", "2"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=40), st.sampled_from(["least", "most"]))
def test_a_ranking_kept_up_to_date_is_one_made_anew(steps: list[tuple[str, int, int, str]], packing: Any) -> None:
    owners = [replica_set(f"rs-{n}") for n in range(4)]
    kept = Scheduler(packing)
    for name in "abcd":
        kept.cluster.set_node(node(name))
    for what, number, owner, cpu in steps:
        if what == "add":
            one = asking(f"p{number}", cpu=cpu, owner=owners[owner])
            kept.cluster.set_pod(one, node="abcd"[number % 4])
        elif what == "drop":
            kept.cluster.drop_pod("default", f"p{number}")
        elif what == "node":
            kept.cluster.set_node(node("abcdef"[number], cpu="8"))
        else:
            kept.cluster.drop_node("abcdef"[number])
        kept.cluster.refresh()
        for one in (asking("x", owner=owners[0]), asking("x", cpu="2", owner=owners[1])):
            wants = wants_of(one)
            assert kept._ranking(wants).best() == Ranking(kept.cluster, wants, packing).best()
            assert str(kept._ranking(wants).explain()) == str(Ranking(kept.cluster, wants, packing).explain())
