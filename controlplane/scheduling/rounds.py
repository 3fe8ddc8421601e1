"""Which pods the scheduler tries when: the queue around `Scheduler.run_pass`, without a clock.

Why: the driver and the simulator run the same rounds; they only differ in how placements are written and how time
passes. `tick` is a time in milliseconds on a clock that never steps back.
What it is not: it places nothing (see `passes`) and writes nothing.

Vocabulary
- *ready*: tried in the next round, in the order of priority and age.
- *parked*: fits nowhere; tried again when something changes that could help, or after a while.
- *preparing*: has its node, where its room is kept, and is tried again when its claims change.
- *assumed*: placed, and the change that shows it bound has not been seen. What is seen of it until then is older.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from controlplane.scheduling.drivers import TOO_MANY
from controlplane.scheduling.passes import SCHEDULER, PassLimits, PassResult, Refusal, Scheduler, wants_placing
from mizzen.api import kinds, times
from mizzen.api.types import core_v1
from mizzen.api.volumes import SELECTED_NODE, claims_of
from mizzen.engine.backoff import Backoff
from mizzen.engine.effects import Bind, Effect, Emit, UpdateStatus
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.queue import WorkQueue
from mizzen.engine.values import Instant
from mizzen.engine.view import View

FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 10_000
"""Between two tries of one pod, as in Kubernetes: doubling from the first to the longest pause."""
PARKED_MS = 300_000
"""A parked pod is tried again after this time even when nothing has changed."""

Place = tuple[str, str]
_OF_STORAGE = (
    kinds.PERSISTENT_VOLUME, kinds.STORAGE_CLASS, kinds.CSI_NODE, kinds.CSI_DRIVER, kinds.CSI_STORAGE_CAPACITY,
)  # fmt: skip
"""What may help pods that wait for claims, whichever those are."""


@dataclass(frozen=True, slots=True)
class _Parked:
    earliest: Instant
    """Not to be tried before this tick."""
    cramped: bool
    """More room on some node would help."""
    claims: frozenset[Place]
    """What happens to these claims may help."""


class Rounds:
    """The scheduler with its queue."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Begin with nothing; feed everything there is as changes, then what changes."""
        self.scheduler = scheduler
        self._ready: dict[Place, tuple[Any, ...]] = {}
        self._heap: list[tuple[Any, ...]] = []  # of `_ready`; entries that no longer agree with it are void
        self._later: WorkQueue[Place] = WorkQueue()
        self._parked: dict[Place, _Parked] = {}
        self._assumed: dict[Place, str] = {}
        self._preparing: dict[Place, frozenset[Place]] = {}  # with the claims that are waited for
        self._rests: dict[Place, Instant] = {}  # not to be tried before, because a claim was refused the node
        self._backoff: Backoff[Place] = Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)

    # What happens

    def changed(self, changes: Iterable[Change], tick: Instant) -> None:
        """Take in changes of nodes, pods, claims, volumes, classes and drivers, in order; others are no matter."""
        for change in changes:
            if change.entry.kind is kinds.NODE:
                self._node(change, tick)
            elif change.entry.kind is kinds.POD:
                self._pod(change, tick)
            elif change.entry.kind is kinds.PERSISTENT_VOLUME_CLAIM:
                self._claim((change.entry.namespace, change.entry.name), tick, is_refused=_is_refused(change))
            elif change.entry.kind in _OF_STORAGE:
                self._retry([place for place, parked in self._parked.items() if parked.claims], tick)

    def _node(self, change: Change, tick: Instant) -> None:
        node: core_v1.Node = change.entry.object()
        if change.type is ChangeType.DELETED:
            self.scheduler.cluster.drop_node(node.metadata.name)
            return
        self.scheduler.cluster.set_node(node)
        before = change.previous.object() if change.previous is not None else None
        if before is None or _offer(before) != _offer(node):
            self._help(tick)

    def _pod(self, change: Change, tick: Instant) -> None:
        pod: core_v1.Pod = change.entry.object()
        place = (pod.metadata.namespace, pod.metadata.name)
        if change.type is ChangeType.DELETED:
            self._forget(place)
            self._assumed.pop(place, None)
            self.scheduler.cluster.drop_pod(*place)
            if pod.spec.node_name:
                self._help(tick, only_room=True)
        elif pod.spec.node_name:
            self._forget(place)
            self._assumed.pop(place, None)
            self.scheduler.cluster.set_pod(pod)
            if pod.status.phase in ("Succeeded", "Failed"):
                self._help(tick, only_room=True)
        elif not wants_placing(pod):
            self._forget(place)
        elif place not in self._assumed and _asks_anew(change, pod):
            self._queue(place, pod)

    def _help(self, tick: Instant, *, only_room: bool = False) -> None:
        """Something has changed that a parked pod may have waited for; `only_room`: a pod has gone, no node changed."""
        self._retry([place for place, parked in self._parked.items() if parked.cramped or not only_room], tick)

    def _claim(self, claim: Place, tick: Instant, *, is_refused: bool) -> None:
        """A claim has changed: of the pods that wait for it each may have what it waited for, or need another node."""
        for place in [place for place, claims in self._preparing.items() if claim in claims]:
            if is_refused:
                self._unprepare(place)
                self._rests[place] = tick + self._backoff.failed(place)
            self._later.add_at(place, self._rests.get(place, tick))
        self._retry([place for place, parked in self._parked.items() if claim in parked.claims], tick)

    def _retry(self, places: Iterable[Place], tick: Instant) -> None:
        for place in places:
            self._later.add_at(place, max(tick, self._parked.pop(place).earliest))

    def _queue(self, place: Place, pod: core_v1.Pod) -> None:
        self._parked.pop(place, None)
        order = (-(pod.spec.priority or 0), pod.metadata.creation_timestamp, *place)
        if self._ready.get(place) != order:
            self._ready[place] = order
            heapq.heappush(self._heap, order)

    def _forget(self, place: Place) -> None:
        self._ready.pop(place, None)
        self._parked.pop(place, None)
        self._unprepare(place)
        self._rests.pop(place, None)
        self._backoff.succeeded(place)

    def _unprepare(self, place: Place) -> None:
        """Give back the room that was kept."""
        if self._preparing.pop(place, None) is not None:
            self.scheduler.cluster.drop_pod(*place)

    # What is done

    def pending(self) -> dict[str, int]:
        """How many pods wait, by the names of Kubernetes' queues."""
        return {"active": len(self._ready), "unschedulable": len(self._parked)}

    def next_due(self, tick: Instant) -> int | None:
        """Milliseconds until there is a pod to try: 0 now, None when none is known."""
        return 0 if self._ready else self._later.next_due(tick)

    def run(self, view: View, limits: PassLimits, tick: Instant) -> PassResult:
        """Try the pods that are ready, as the view shows them, and assume those that were placed."""
        self._release(view, tick)
        pods: list[core_v1.Pod] = []
        while self._heap and len(pods) < limits.pods_max:
            order = heapq.heappop(self._heap)
            place: Place = order[2:]
            if self._ready.get(place) != order:
                continue
            del self._ready[place]
            pod = view.get(kinds.POD, *place)
            if pod is not None and wants_placing(pod):
                self._unprepare(place)
                pods.append(pod)
        result = self.scheduler.run_pass(pods, limits, view)
        for bind in result.bindings:
            self._assumed[(bind.namespace, bind.name)] = bind.uid
        for refusal in result.refusals:
            self._park(refusal, tick)
        for preparation in result.preparations:
            place = _place_of(preparation.pod)
            self._preparing[place] = _claims_of(preparation.pod)
            self._later.add_at(place, tick + PARKED_MS)
        return result

    def failed(self, bind: Bind, tick: Instant) -> None:
        """A placement could not be written: take it back and try the pod again after a pause."""
        place = (bind.namespace, bind.name)
        if self._assumed.get(place) == bind.uid:
            del self._assumed[place]
            self.scheduler.cluster.drop_pod(*place)
            self._later.add_at(place, tick + self._backoff.failed(place))

    def unprepared(self, pod: core_v1.Pod, tick: Instant) -> None:
        """What a pod's claims need could not be written: give the room back and try again after a pause."""
        place = _place_of(pod)
        if place in self._preparing:
            self._unprepare(place)
            self._later.add_at(place, tick + self._backoff.failed(place))

    def _park(self, refusal: Refusal, tick: Instant) -> None:
        place, claims = _place_of(refusal.pod), _claims_of(refusal.pod)
        told = refusal.explanation
        # With a pod that goes, its volumes do, too.
        is_cramped = told.cramped or any(reason == TOO_MANY for reason, _ in told.reasons)
        self._parked[place] = _Parked(tick + self._backoff.failed(place), is_cramped, claims)
        self._later.add_at(place, tick + PARKED_MS)

    def _release(self, view: View, tick: Instant) -> None:
        """Make ready what was delayed until now."""
        while (popped := self._later.pop(tick)) is not None:
            place = popped[0]
            self._later.done(place, tick)
            if self._rests.get(place, tick) > tick:
                self._later.add_at(place, self._rests[place])
                continue
            self._rests.pop(place, None)
            pod = view.get(kinds.POD, *place)
            if pod is not None and wants_placing(pod) and place not in self._assumed:
                self._queue(place, pod)


def _place_of(pod: core_v1.Pod) -> Place:
    return pod.metadata.namespace, pod.metadata.name


def _claims_of(pod: core_v1.Pod) -> frozenset[Place]:
    return frozenset((pod.metadata.namespace, mounted.name) for mounted in claims_of(pod))


def _is_refused(change: Change) -> bool:
    """Whether the node that a claim was given has been taken from it, because it can't get its volume there."""
    if change.previous is None or change.type is ChangeType.DELETED:
        return False
    before, now = change.previous.object(), change.entry.object()
    had, has = SELECTED_NODE in before.metadata.annotations, SELECTED_NODE in now.metadata.annotations
    return had and not has and not now.spec.volume_name


def _offer(node: core_v1.Node) -> tuple[Any, ...]:
    """What of a node could make room for a pod."""
    return (node.metadata.labels, node.spec.taints, node.spec.unschedulable, node.status.allocatable)


def _asks_anew(change: Change, pod: core_v1.Pod) -> bool:
    """Whether an unbound pod is new or asks for something else; what others note in its status is not that."""
    if change.previous is None:
        return True
    before: core_v1.Pod = change.previous.object()
    return before.spec != pod.spec or before.metadata.labels != pod.metadata.labels


def assigned(bind: Bind, pod: core_v1.Pod) -> Emit:
    """The event that tells of a placement that was written."""
    message = f"Successfully assigned {bind.namespace}/{bind.name} to {bind.node}"
    return Emit(pod, "Normal", "Scheduled", message, SCHEDULER)


def refused(refusal: Refusal, now: Instant) -> tuple[Effect, ...]:
    """What a pod that fits nowhere is told: the condition, if it says something new, and an event."""
    pod, message = refusal.pod, str(refusal.explanation)
    event = Emit(pod, "Warning", "FailedScheduling", message, SCHEDULER)
    before = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
    since = before.last_transition_time if before is not None and before.status == "False" else times.render(now)
    condition = core_v1.PodCondition(
        type="PodScheduled",
        observed_generation=pod.metadata.generation,
        status="False",
        reason="Unschedulable",
        message=message,
        last_transition_time=since,
    )
    if condition == before:
        return (event,)
    others = tuple(one for one in pod.status.conditions if one.type != "PodScheduled")
    status = replace(pod.status, conditions=(*others, condition))
    return (UpdateStatus(replace(pod, status=status)), event)
