"""Which nodes are out of the question for a class of pods, and in which words.

The reasons are Kubernetes' own, so that what people search for finds answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.scheduling.cluster import NodeFacts
from controlplane.scheduling.wants import Placement, Port
from mizzen.api import node_affinity, volumes
from mizzen.api.tolerations import first_untolerated
from mizzen.api.types import core_v1

UNSCHEDULABLE = "node(s) were unschedulable"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"
UNSCHEDULABLE_TAINT = core_v1.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
HARD = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a pod fits nowhere: every reason with the number of nodes it holds for."""

    nodes: int
    reasons: tuple[tuple[str, int], ...]
    cramped: bool = False
    """Some node is only too full: when pods go, the pod may fit."""
    whole: str = ""
    """What holds for the pod itself, whatever the nodes."""

    def __str__(self) -> str:
        if not self.nodes:
            return "no nodes available to schedule pods"
        if self.whole:
            return f"0/{self.nodes} nodes are available: {self.whole}."
        told = sorted(f"{count} {reason}" for reason, count in self.reasons)
        return f"0/{self.nodes} nodes are available: {', '.join(told)}."


def insufficient(resource: str) -> str:
    """The reason for a resource that a node has too little of."""
    return TOO_MANY_PODS if resource == "pods" else f"Insufficient {resource}"


def refusal(placement: Placement, facts: NodeFacts) -> str:
    """Why a node is out for good (until it changes); empty when it is not."""
    if facts.unschedulable and first_untolerated((UNSCHEDULABLE_TAINT,), placement.tolerations, HARD):
        return UNSCHEDULABLE
    taint = first_untolerated(facts.taints, placement.tolerations, HARD)
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    if not node_affinity.matches(placement.node_selector, placement.affinity, facts.name, facts.labels):
        return AFFINITY
    for reach in placement.reaches:
        if not any(volumes.selects(one, facts.name, facts.labels) for one in reach.selectors):
            return reach.reason
    return ""


def ports_collide(wanted: Sequence[Port], taken: Iterable[Port]) -> bool:
    """Same protocol and port, on the same host address or with one of them on all."""
    held = list(taken)
    return any(
        protocol == other
        and port == number
        and (address == where or "" in (address, where) or "0.0.0.0" in (address, where))
        for protocol, address, port in wanted
        for other, where, number in held
    )
