"""Nodes and the pods bound to them, as columns of numbers.

Invariant: the columns are what the nodes and pods that were fed in add up to; slots stand in the order of the nodes'
names, so that the first of equal scores is the first by name. A new or vanished node makes new slots (a new `epoch`);
everything else only marks its slot in `log`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controlplane.scheduling.wants import Port, Wants, wants_of
from mizzen.api import resources
from mizzen.api.types import core_v1

Column = NDArray[np.int64]
Slots = Column | slice
"""Some slots, or all."""
LOG_MAX = 65_536
"""Marks that are kept; a ranking that is further behind is made anew."""
SCREENS_MAX = 256
"""Screens that are kept."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the scheduler looks at in a node."""

    name: str
    labels: dict[str, str]
    taints: tuple[core_v1.Taint, ...]
    unschedulable: bool
    allocatable: dict[str, int]


@dataclass(frozen=True, slots=True)
class Screen:
    """What the nodes by themselves, whatever runs on them, mean to pods of one placement."""

    refused: dict[int, str]
    """The slots that are out of the question, with the reason."""
    open: NDArray[np.bool_]
    """The other slots."""
    score: Column
    """The part of the score that does not change with load."""


@dataclass(frozen=True, slots=True)
class _Held:
    node: str
    wants: Wants


class Cluster:
    """The scheduler's picture of the cluster."""

    def __init__(self) -> None:
        self.epoch = 0
        self.log: list[int] = []
        self.names: list[str] = []
        self.allocatable: dict[str, Column] = {}
        self.used: dict[str, Column] = {}
        self.score_cpu: Column = np.zeros(0, np.int64)
        self.score_memory: Column = np.zeros(0, np.int64)
        self._slots: dict[str, int] = {}
        self._facts: dict[str, NodeFacts] = {}
        self._held: dict[tuple[str, str], _Held] = {}
        self._on_node: dict[str, dict[tuple[str, str], Wants]] = {}
        self._owners: dict[str, Counter[str]] = {}
        self._stale = False
        self._screens: dict[bytes, Screen] = {}

    # Feeding

    def set_node(self, node: core_v1.Node) -> None:
        """Takes in a node as it is now."""
        allocatable = node.status.allocatable or node.status.capacity
        facts = NodeFacts(
            node.metadata.name,
            dict(node.metadata.labels),
            node.spec.taints,
            node.spec.unschedulable,
            resources.amounts(allocatable),
        )
        if self._facts.get(facts.name) == facts:
            return
        self._facts[facts.name] = facts
        # Labels, taints and sizes change rarely: one way to take them in is enough.
        self._stale = True

    def drop_node(self, name: str) -> None:
        """Forgets a node; its pods count again if it comes back."""
        if self._facts.pop(name, None) is not None:
            self._stale = True

    def set_pod(self, pod: core_v1.Pod, node: str = "") -> None:
        """Takes in a pod that is bound, or assumed on `node`; one that needs no room any more is forgotten."""
        where = node or pod.spec.node_name
        key = (pod.metadata.namespace, pod.metadata.name)
        if not where or pod.status.phase in ("Succeeded", "Failed"):
            self._release(key)
            return
        wants = wants_of(pod)
        held = self._held.get(key)
        if held is not None and held.node == where and held.wants == wants:
            return
        self._release(key)
        self._take(key, _Held(where, wants))

    def assume(self, key: tuple[str, str], wants: Wants, node: str) -> None:
        """Counts a pod on a node before it is bound."""
        self._take(key, _Held(node, wants))

    def holds(self, namespace: str, name: str) -> bool:
        """Whether a pod is on a node or assumed there."""
        return (namespace, name) in self._held

    def node_of(self, namespace: str, name: str) -> str:
        """The node that a pod is on or assumed on; empty for none."""
        held = self._held.get((namespace, name))
        return held.node if held is not None else ""

    def drop_pod(self, namespace: str, name: str) -> None:
        """Forgets a pod; unknown ones are fine."""
        self._release((namespace, name))

    def _take(self, key: tuple[str, str], held: _Held) -> None:
        self._held[key] = held
        self._on_node.setdefault(held.node, {})[key] = held.wants
        self._count(held, 1)

    def _release(self, key: tuple[str, str]) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            del self._on_node[held.node][key]
            self._count(held, -1)

    def _count(self, held: _Held, sign: int) -> None:
        wants = held.wants
        if wants.owner:
            owned = self._owners.setdefault(wants.owner, Counter())
            owned[held.node] += sign
            if not owned[held.node]:
                del owned[held.node]
                if not owned:
                    del self._owners[wants.owner]
        slot = self._slots.get(held.node)
        if slot is None or self._stale:
            return
        for name, amount in wants.requests:
            column = self.used.get(name)
            if column is not None:
                column[slot] += sign * amount
        self.score_cpu[slot] += sign * wants.score_cpu
        self.score_memory[slot] += sign * wants.score_memory
        self.log.append(slot)

    # Reading

    def refresh(self) -> None:
        """Brings the columns up to date after nodes have come, changed or gone. Call before a pass."""
        if len(self.log) > LOG_MAX:
            self.epoch += 1
            self.log.clear()
        if not self._stale:
            return
        self._stale = False
        self.epoch += 1
        self.log.clear()
        self._screens.clear()
        self.names = sorted(self._facts)
        self._slots = {name: slot for slot, name in enumerate(self.names)}
        every = sorted({resource for facts in self._facts.values() for resource in facts.allocatable})
        size = len(self.names)
        self.allocatable = {
            name: np.fromiter((self._facts[node].allocatable.get(name, 0) for node in self.names), np.int64, size)
            for name in every
        }
        self.used = {name: np.zeros(size, np.int64) for name in every}
        self.score_cpu, self.score_memory = np.zeros(size, np.int64), np.zeros(size, np.int64)
        for slot, node in enumerate(self.names):
            for wants in self._on_node.get(node, {}).values():
                for name, amount in wants.requests:
                    if name in self.used:
                        self.used[name][slot] += amount
                self.score_cpu[slot] += wants.score_cpu
                self.score_memory[slot] += wants.score_memory

    def screen(self, placement: bytes, make: Callable[[], Screen]) -> Screen:
        """What `make` says for a placement; it is asked once for all classes of pods, until a node changes."""
        found = self._screens.get(placement)
        if found is None:
            if len(self._screens) >= SCREENS_MAX:
                del self._screens[next(iter(self._screens))]
            found = self._screens[placement] = make()
        return found

    def facts(self, slot: int) -> NodeFacts:
        """The node in a slot."""
        return self._facts[self.names[slot]]

    def owned(self, owner: str, slot: int) -> int:
        """How many pods of a controller are on the node in a slot."""
        counts = self._owners.get(owner)
        return counts[self.names[slot]] if counts is not None else 0

    def owned_column(self, owner: str, slots: Slots) -> Column:
        """How many pods of a controller are on each node of the slots."""
        counts: Mapping[str, int] = self._owners.get(owner, {})
        if not isinstance(slots, slice):
            names = self.names
            return np.array([counts.get(names[slot], 0) for slot in slots.tolist()], np.int64)
        column = np.zeros(len(self.names), np.int64)
        for node, count in counts.items():
            slot = self._slots.get(node)
            if slot is not None:
                column[slot] = count
        return column

    def ports_on(self, slot: int) -> set[Port]:
        """The host ports that are taken on the node in a slot."""
        return {port for wants in self._on_node.get(self.names[slot], {}).values() for port in wants.ports}

    def column(self, name: str) -> tuple[Any, Any]:
        """Allocatable and used amounts of one resource; None, None when no node has it."""
        return self.allocatable.get(name), self.used.get(name)
