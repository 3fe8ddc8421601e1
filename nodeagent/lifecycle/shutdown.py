"""The end of the machine: which pods end when, and how long each may take. Pure.

Critical pods end last, in a part of the time that is kept for them: they are what the others' ends may need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.eviction import is_critical
from nodeagent.lifecycle.memory import PodFailure
from nodeagent.lifecycle.stops import grace_s

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."


@dataclass(frozen=True, slots=True)
class Group:
    """Pods that end together."""

    pods: tuple[core.Pod, ...]
    within_s: int
    """Those that have not ended then are ended by force."""

    def failure_of(self, pod: core.Pod) -> PodFailure:
        """What is told of one of them; it gets the time that it asks for, as far as there is so much."""
        return PodFailure(REASON, MESSAGE, min(grace_s(pod.spec), self.within_s), disrupted=True)


def groups(pods: Iterable[core.Pod], grace: int, critical_grace: int) -> Sequence[Group]:
    """The groups in order. `grace`: the seconds for all; `critical_grace`: those of them kept for critical pods."""
    found = list(pods)
    ordinary = tuple(pod for pod in found if not is_critical(pod))
    critical = tuple(pod for pod in found if is_critical(pod))
    shares = ((ordinary, max(grace - critical_grace, 0)), (critical, min(critical_grace, grace)))
    return [Group(pods, within_s) for pods, within_s in shares if pods]
