"""The nodes in order of preference for one class of pods, kept up to date slot by slot."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from controlplane.scheduling import filters, scores
from controlplane.scheduling.cluster import Cluster, Column, Screen, Slots
from controlplane.scheduling.filters import Explanation
from controlplane.scheduling.wants import Placement, Wants

OUT = int(np.iinfo(np.int64).min)
"""The score of a node that is out of the question."""
FEW = 6
"""Fewer changed slots than this are scored one by one: numpy's calls cost as much as about six."""


class Ranking:
    """Scores of all nodes for one class; exact after `update`, however many pods were placed in between."""

    def __init__(self, cluster: Cluster, wants: Wants, packing: scores.Packing) -> None:
        self._cluster = cluster
        self._wants = wants
        self._packing = packing
        self._epoch = -1
        self._seen = 0
        self._scores: Column = np.zeros(0, np.int64)
        self._screen = _screened(cluster, wants.placement)
        self._explanation: Explanation | None = None

    def best(self) -> int | None:
        """The slot of the best node; None when no node is left."""
        self._update()
        if not len(self._scores):
            return None
        slot = int(self._scores.argmax())
        return slot if self._scores[slot] != OUT else None

    def score(self, slot: int) -> int | None:
        """How good the node in a slot is; None where it is out of the question."""
        self._update()
        score = int(self._scores[slot])
        return None if score == OUT else score

    def explain(self) -> Explanation:
        """Why no node is left; one value for all pods of the class until something changes."""
        self._update()
        if self._explanation is None:
            self._explanation = self._explained()
        return self._explanation

    def _update(self) -> None:
        cluster = self._cluster
        if self._epoch != cluster.epoch:
            self._epoch = cluster.epoch
            self._everything()
        elif self._seen != len(cluster.log):
            dirty = set(cluster.log[self._seen :])
            if len(dirty) < FEW:
                for slot in dirty:
                    self._slot(slot)
            else:
                # Each slot is scored by itself, so their order does not matter.
                self._many(np.fromiter(dirty, np.int64, len(dirty)))
            self._explanation = None
        self._seen = len(cluster.log)

    def _everything(self) -> None:
        self._explanation = None
        self._screen = _screened(self._cluster, self._wants.placement)
        self._scores = np.full(len(self._cluster.names), OUT)
        self._many(slice(None))

    def _many(self, slots: Slots) -> None:
        """Scores slots with numpy."""
        cluster, wants = self._cluster, self._wants
        open_ = self._screen.open[slots].copy()
        for name, amount in wants.requests:
            have, used = cluster.column(name)
            open_ &= used[slots] + amount <= have[slots] if have is not None else False
        if wants.ports:
            numbers = np.arange(len(self._scores))[slots]
            for place in np.flatnonzero(open_).tolist():
                taken = cluster.ports_on(int(numbers[place]))
                open_[place] = not filters.ports_collide(wants.ports, taken)
        found = scores.column(cluster, wants, self._packing, slots) + self._screen.score[slots]
        self._scores[slots] = np.where(open_, found, OUT)

    def _slot(self, slot: int) -> None:
        if slot in self._screen.refused:
            return
        cluster, wants = self._cluster, self._wants
        fits = not self._lacking(slot) and not (
            wants.ports and filters.ports_collide(wants.ports, cluster.ports_on(slot))
        )
        score = scores.one(cluster, wants, slot, self._packing) + int(self._screen.score[slot]) if fits else OUT
        self._scores[slot] = score

    def _lacking(self, slot: int) -> list[str]:
        """The resources that the node in a slot has too little of."""
        lacking = []
        for name, amount in self._wants.requests:
            have, used = self._cluster.column(name)
            if have is None or used[slot] + amount > have[slot]:
                lacking.append(name)
        return lacking

    def _explained(self) -> Explanation:
        counts: Counter[str] = Counter(self._screen.refused.values())
        for slot in range(len(self._scores)):
            if slot in self._screen.refused:
                continue
            lacking = self._lacking(slot)
            counts.update(map(filters.insufficient, lacking))
            if not lacking:
                counts[filters.PORTS] += 1
        cramped = len(self._screen.refused) < len(self._scores)
        return Explanation(len(self._scores), tuple(sorted(counts.items())), cramped)


def _screened(cluster: Cluster, encoded: bytes) -> Screen:
    return cluster.screen(encoded, lambda: _screen(cluster, msgspec.json.decode(encoded, type=Placement)))


def _screen(cluster: Cluster, placement: Placement) -> Screen:
    size = len(cluster.names)
    refused: dict[int, str] = {}
    score = np.zeros(size, np.int64)
    for slot in range(size):
        facts = cluster.facts(slot)
        reason = filters.refusal(placement, facts)
        if reason:
            refused[slot] = reason
        elif facts.taints or placement.affinity is not None:
            score[slot] = scores.static(placement, facts)
    open_ = np.ones(size, np.bool_)
    open_[list(refused)] = False
    return Screen(refused, open_, score)
