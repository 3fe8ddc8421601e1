"""Which pod would be better off elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.scheduling.moving import better
from mizzen.api.types import core_v1
from tests.fixtures.cluster_objects import node, pod, replica_set, view

SET = replica_set()
NODES = (node("n1"), node("n2"), node("n3"))


def on(name: str, where: str, **spec: Any) -> core_v1.Pod:
    return pod(name, SET, node=where, ready_since=-5, spec=spec)


def found(pods: tuple[core_v1.Pod, ...], *others: Any, nodes: Any = NODES) -> tuple[str, str] | None:
    seen = better(pods, view(*nodes, *pods, *others))
    return None if seen is None else (seen.pod.metadata.name, seen.node)


CORDONED = node("n3", spec={"unschedulable": True, "taints": (core_v1.Taint(key="x", effect="NoSchedule"),)})
CLAIMED = {
    "volumes": (
        core_v1.Volume(
            name="v", persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name="not-there")
        ),
    )
}


@pytest.mark.parametrize(
    ("pods", "nodes", "move"),
    [
        ((on("a", "n1"), on("b", "n1"), on("c", "n2")), NODES, ("a", "n3")),
        ((on("a", "n1"), on("b", "n2"), on("c", "n3")), NODES, None),
        ((on("a", "n1"), on("b", "n1"), on("c", "n2")), (*NODES[:2], CORDONED), None),
        ((on("a", "n1"), on("b", "n1"), on("c", "n2")), (*NODES[:2], node("n3", pods="0")), None),
        ((on("a", "n3"), on("b", "n3"), on("c", "n2")), (*NODES[:2], CORDONED), None),
        ((on("a", "n1", **CLAIMED), on("b", "n1"), on("c", "n2")), NODES, ("b", "n3")),
    ],
    ids=["spread", "spread already", "no other node takes it", "no room", "its node is drained", "claims hold it"],
)
def test_the_best_move(pods: Any, nodes: Any, move: tuple[str, str] | None) -> None:
    assert found(pods, nodes=nodes) == move


def test_an_empty_node_gains_over_a_full_one_and_there_is_no_way_back() -> None:
    heavy = core_v1.ResourceRequirements(requests={"cpu": "3500m", "memory": "7Gi"})
    load = pod("load", node="n1", spec={"containers": (core_v1.Container(name="l", resources=heavy),)})
    mine = (pod("mine", SET, node="n1", ready_since=-5),)
    seen = better(mine, view(*NODES[:2], load, *mine))
    assert seen is not None
    assert (seen.node, seen.gain >= 50) == ("n2", True)
    assert better((pod("mine", SET, node="n2"),), view(*NODES[:2], load, pod("mine", SET, node="n2"))) is None
