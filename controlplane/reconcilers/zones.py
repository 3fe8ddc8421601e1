"""How fast lost nodes may be emptied: slowly, and not at all when so many are lost that the fault is probably ours.

As in Kubernetes' node lifecycle controller: zones are judged apart. One node in ten seconds may be emptied. A zone in
which most nodes are lost is emptied much slower, or not at all where it is small; and when all nodes of all zones are
lost, nobody is: then it is the control plane that is cut off, and there would be nowhere to go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mizzen.api import times
from mizzen.api.types import core_v1
from mizzen.engine.values import Instant

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
UNHEALTHY_SHARE = 0.55
LARGE = 50
"""A zone with more nodes than this is large."""
PACE_MS = 10_000
PACE_LARGE_MS = 100_000
"""Between two nodes of a large zone that is mostly lost."""
LOOK_MS = 5_000
"""How soon a node that may not be emptied looks again, at least."""
LOOK_PER_NODE_MS = 10
"""Each look counts all nodes; many nodes that wait share that out over time."""


@dataclass(frozen=True, slots=True)
class Brake:
    """Whether a lost node may be emptied now."""

    allowed: bool
    released: bool = False
    """Nobody may be: what was begun is called off."""
    wake_ms: int | None = None


def brake(node: core_v1.Node, nodes: Iterable[core_v1.Node], emptied_by: frozenset[str], now: Instant) -> Brake:
    """The brake for a node that is lost; `emptied_by` are the taints that empty nodes."""
    total, own, lost, others_alive, last_ms = 0, 0, 0, False, 0
    place = _place(node)
    for other in nodes:
        total += 1
        is_lost = not _is_ready(other)
        if _place(other) == place:
            own += 1
            lost += is_lost
            if other.metadata.name != node.metadata.name:
                last_ms = max(last_ms, _emptied_since(other, emptied_by))
        else:
            others_alive = others_alive or not is_lost
    look_ms = max(LOOK_MS, total * LOOK_PER_NODE_MS)
    if lost == own and not others_alive:
        return Brake(allowed=False, released=True, wake_ms=look_ms)
    pace_ms = PACE_MS
    if lost > 2 and lost < own and lost / own >= UNHEALTHY_SHARE:
        if own <= LARGE:
            return Brake(allowed=False, wake_ms=look_ms)
        pace_ms = PACE_LARGE_MS
    left_ms = last_ms + pace_ms - now
    return Brake(allowed=left_ms <= 0, wake_ms=left_ms if left_ms > 0 else None)


def _place(node: core_v1.Node) -> tuple[str, str]:
    return node.metadata.labels.get(REGION, ""), node.metadata.labels.get(ZONE, "")


def _is_ready(node: core_v1.Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


def _emptied_since(node: core_v1.Node, emptied_by: frozenset[str]) -> int:
    stamps = [
        times.parse(taint.time_added)
        for taint in node.spec.taints
        if taint.key in emptied_by and taint.effect == "NoExecute" and taint.time_added
    ]
    return max(stamps, default=0)
