"""One pass of the scheduler: pending pods in, placements and refusals out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.scheduling.claims import USED_BY_ANOTHER, Claims, Needs
from controlplane.scheduling.cluster import Cluster
from controlplane.scheduling.filters import Explanation
from controlplane.scheduling.ranking import Ranking
from controlplane.scheduling.scores import Packing
from controlplane.scheduling.wants import Wants, wants_of
from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.effects import Bind, Effect
from mizzen.engine.view import View

SCHEDULER = "default-scheduler"
RANKINGS_MAX = 256
"""Classes whose rankings are kept between passes."""


@dataclass(frozen=True, slots=True)
class PassLimits:
    """How much one pass may do."""

    pods_max: int = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A pod that fits nowhere now."""

    pod: core_v1.Pod
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Preparation:
    """A pod that has its node, and is bound there once its claims have their volumes."""

    pod: core_v1.Pod
    effects: tuple[Effect, ...]
    """What makes them get their volumes there; none where that was written before."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass decided."""

    bindings: tuple[Bind, ...]
    refusals: tuple[Refusal, ...]
    left: int
    """Pods that this pass did not get to."""
    preparations: tuple[Preparation, ...] = ()


class Scheduler:
    """The cluster's picture with the rankings that are worth keeping between passes."""

    def __init__(self, packing: Packing = "least") -> None:
        self.cluster = Cluster()
        self.packing: Packing = packing
        self._rankings: dict[Wants, Ranking] = {}

    @classmethod
    def of(cls, view: View, packing: Packing = "least") -> Scheduler:
        """A scheduler that has taken in everything of a view."""
        made = cls(packing)
        for node in view.list(kinds.NODE):
            made.cluster.set_node(node)
        for pod in view.list(kinds.POD):
            made.cluster.set_pod(pod)
        return made

    def run_pass(self, pods: Iterable[core_v1.Pod], limits: PassLimits, view: View) -> PassResult:
        """Places pods, those of higher priority and then the older first, and assumes them where they were placed.

        The view is where their claims and volumes are looked up.
        """
        self.cluster.refresh()
        ordered = in_order(pods)
        claims = Claims(view, self.cluster.node_of)
        bindings: list[Bind] = []
        refusals: list[Refusal] = []
        preparations: list[Preparation] = []
        for pod in ordered[: limits.pods_max]:
            needs = claims.needs(pod)
            placed = self._place(pod, needs)
            if isinstance(placed, Explanation):
                refusals.append(Refusal(pod, placed))
                continue
            claims.placed(needs, self.cluster.names[placed])
            if needs.waiting:
                facts = self.cluster.facts(placed)
                preparations.append(Preparation(pod, claims.preparation(needs, facts.name, facts.labels)))
            else:
                meta = pod.metadata
                bindings.append(Bind(meta.namespace, meta.name, meta.uid, self.cluster.names[placed]))
        left = max(0, len(ordered) - limits.pods_max)
        return PassResult(tuple(bindings), tuple(refusals), left, tuple(preparations))

    def _place(self, pod: core_v1.Pod, needs: Needs) -> int | Explanation:
        """The slot on which the pod is assumed from now on, or why there is none."""
        size = len(self.cluster.names)
        if needs.refusal:
            return Explanation(size, (), whole=needs.refusal)
        if needs.occupied:
            return Explanation(size, ((USED_BY_ANOTHER, size),), cramped=True)
        wants = wants_of(pod, needs.reaches)
        ranking = self._ranking(wants)
        slot = ranking.best()
        if slot is None:
            return ranking.explain()
        self.cluster.assume((pod.metadata.namespace, pod.metadata.name), wants, self.cluster.names[slot])
        return slot

    def _ranking(self, wants: Wants) -> Ranking:
        ranking = self._rankings.pop(wants, None)
        if ranking is None:
            ranking = Ranking(self.cluster, wants, self.packing)
            if len(self._rankings) >= RANKINGS_MAX:
                del self._rankings[next(iter(self._rankings))]
        # At the end of the dict: the first is the one that was not used for longest.
        self._rankings[wants] = ranking
        return ranking


def pending(view: View) -> list[core_v1.Pod]:
    """The pods of a view that this scheduler has to place."""
    return [pod for pod in view.select(indexes.PODS_BY_NODE, "") if wants_placing(pod)]


def wants_placing(pod: core_v1.Pod) -> bool:
    """Not bound, not gated, not on its way out, and meant for this scheduler."""
    return (
        not pod.spec.node_name
        and not pod.spec.scheduling_gates
        and pod.metadata.deletion_timestamp is None
        and pod.status.phase not in ("Succeeded", "Failed")
        and pod.spec.scheduler_name in ("", SCHEDULER)
    )


def in_order(pods: Iterable[core_v1.Pod]) -> Sequence[core_v1.Pod]:
    """By priority, then age, then name."""
    return sorted(
        pods,
        key=lambda pod: (
            -(pod.spec.priority or 0),
            pod.metadata.creation_timestamp,
            pod.metadata.namespace,
            pod.metadata.name,
        ),
    )
