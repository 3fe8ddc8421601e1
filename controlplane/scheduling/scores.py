"""How good a node is for a class of pods, in integers; for all slots at once or for one, with the same result.

Free room and balance count 0 to 100 each, as in Kubernetes. Every pod of the same controller that a node already has
costs more than a completely empty node gains, so replicas spread first. Preferred affinity adds up to 200, each
avoided taint takes 300.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from controlplane.scheduling.cluster import Cluster, Column, NodeFacts, Slots
from controlplane.scheduling.wants import Placement, Wants
from mizzen.api import resources
from mizzen.api.node_affinity import term_matches
from mizzen.api.tolerations import tolerates

Packing = Literal["least", "most"]
"""`least` spreads load over nodes, `most` fills nodes up."""

SPREAD_COST = 250
PREFERRED_GAIN = 200
AVOIDED_COST = 300


def static(placement: Placement, facts: NodeFacts) -> int:
    """The part of the score that does not change with load."""
    avoided = sum(
        taint.effect == "PreferNoSchedule" and not any(tolerates(t, taint) for t in placement.tolerations)
        for taint in facts.taints
    )
    return _preferred(placement, facts) - AVOIDED_COST * avoided


def _preferred(placement: Placement, facts: NodeFacts) -> int:
    terms = placement.affinity.preferred_during_scheduling_ignored_during_execution if placement.affinity else ()
    total = sum(term.weight for term in terms)
    if not total:
        return 0
    return (
        PREFERRED_GAIN * sum(t.weight for t in terms if term_matches(t.preference, facts.name, facts.labels)) // total
    )


def _share(have: int, used: int, packing: Packing) -> int:
    if have <= 0:
        return 0
    full = min(100, used * 100 // have)
    return full if packing == "most" else 100 - full


def one(cluster: Cluster, wants: Wants, slot: int, packing: Packing) -> int:
    """The part of the score that changes with load, for one slot."""
    cpu_all, memory_all = cluster.allocatable.get(resources.CPU), cluster.allocatable.get(resources.MEMORY)
    cpu_have = int(cpu_all[slot]) if cpu_all is not None else 0
    memory_have = int(memory_all[slot]) if memory_all is not None else 0
    cpu_used = int(cluster.score_cpu[slot]) + wants.score_cpu
    memory_used = int(cluster.score_memory[slot]) + wants.score_memory
    room = (_share(cpu_have, cpu_used, packing) + _share(memory_have, memory_used, packing)) // 2
    balance = 100 - abs(_share(cpu_have, cpu_used, "most") - _share(memory_have, memory_used, "most"))
    spread = SPREAD_COST * cluster.owned(wants.owner, slot) if wants.owner else 0
    return room + balance - spread


def column(cluster: Cluster, wants: Wants, packing: Packing, slots: Slots) -> Column:
    """The same for many slots."""
    cpu = _full(cluster.allocatable.get(resources.CPU), cluster.score_cpu[slots] + wants.score_cpu, slots)
    memory = _full(cluster.allocatable.get(resources.MEMORY), cluster.score_memory[slots] + wants.score_memory, slots)
    cpu_most, memory_most = np.maximum(cpu, 0), np.maximum(memory, 0)
    if packing == "most":
        room = (cpu_most + memory_most) // 2
    else:
        room = (np.where(cpu < 0, 0, 100 - cpu) + np.where(memory < 0, 0, 100 - memory)) // 2
    result: Column = room + 100 - np.abs(cpu_most - memory_most)
    if wants.owner:
        result -= SPREAD_COST * cluster.owned_column(wants.owner, slots)
    return result


def _full(have: Column | None, used: Column, slots: Slots) -> Column:
    """Percent in use, at most 100; -1 where a node has nothing of the resource."""
    if have is None:
        return np.full(len(used), -1, np.int64)
    have = have[slots]
    return np.where(have > 0, np.minimum(100, used * 100 // np.maximum(have, 1)), -1)
