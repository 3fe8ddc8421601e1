"""Drives pods: whoever's turn it is gets one `step`, and what it asks for is begun.

One loop steps one pod at a time, which costs a tenth of a millisecond; operations run beside it as tasks of one
group. A pod's turn comes when its object, its part of the machine, a probe's verdict or an operation's result is news,
and when it asked to be woken. Between its turns a pod costs nothing.

A *slot* is what the agent holds for one pod; it is there from the first sight of the pod (its object, or something of
it running) until nothing is left and the control plane has been told.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from mizzen.api import kinds, times
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.volumes import claims_of
from mizzen.engine.values import Clock, Key
from nodeagent.drive.addresses import Addresses
from nodeagent.drive.context import NodeContext
from nodeagent.drive.departures import Departures
from nodeagent.drive.last_words import LastWords
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.observe import Seen, Watcher
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.perform import Performer
from nodeagent.drive.prober import Prober
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle import resizing
from nodeagent.lifecycle.admit import admit
from nodeagent.lifecycle.ending import TERMINAL
from nodeagent.lifecycle.images import WAITING
from nodeagent.lifecycle.memory import PodFailure, PodMemory, durable
from nodeagent.lifecycle.observation import Observation, Rejection, Result
from nodeagent.lifecycle.pod import step
from nodeagent.lifecycle.probes import jobs
from nodeagent.lifecycle.static import is_static
from nodeagent.lifecycle.status import foreign_conditions, shows
from nodeagent.lifecycle.turn import IllegalTransition
from nodeagent.runtime.values import PodRef, Status

TURNS_AT_ONCE = 16
"""Turns taken before other tasks of the process get theirs."""
WAKE_MAX_S = 60.0
"""A wish to be woken is looked at again after this long, so that a wall clock set back delays nothing for ever."""

_LOG = structlog.get_logger(__name__)


@dataclass(slots=True)
class Slot:
    """One pod and all that belongs to it here."""

    pod: core.Pod
    memory: PodMemory
    wanted: bool
    since_ms: int
    """On the monotonic clock: when the pod was seen first."""
    named: frozenset[Key] = frozenset()
    """The config maps, secrets and claims that it refers to."""
    objects: int = 0
    ordered: PodFailure | None = None
    """What the node wants it to end for."""
    mirror: core.Pod | None = None
    """What the control plane has of a static pod; it is told of that one."""
    results: list[Result] = field(default_factory=list)
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    probed: bool = False
    started: bool = False
    placed_at: str = ""
    """The address that was last told to `placed`."""


class Pods:
    """All slots and the loop over them."""

    def __init__(
        self,
        *,
        node: NodeContext,
        watcher: Watcher,
        performer: Performer,
        prober: Prober,
        addresses: Addresses,
        last_words: LastWords,
        departures: Departures,
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._node = node
        self._watcher = watcher
        self._performer = performer
        self._prober = prober
        self._addresses = addresses
        self._last_words = last_words
        self._departures = departures
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._slots: dict[str, Slot] = {}
        self._uids: dict[tuple[str, str], str] = {}
        self._turns: deque[str] = deque()
        self._queued: set[str] = set()
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._changes = 0
        self.dirty = False
        """Something worth a checkpoint has changed since this was set to False."""
        self.placed: Callable[[], None] = lambda: None
        """Called when a pod got or lost its address."""
        watcher.changed = self._machine_changed
        prober.changed = self.poke
        last_words.changed = self.poke
        departures.changed = self.poke

    # what there is

    def slot(self, uid: str) -> Slot | None:
        """The slot of a pod, or of the static pod that a mirror of this uid shows."""
        found = self._slots.get(uid)
        if found is not None:
            return found
        return next((slot for slot in self._slots.values() if slot.mirror and slot.mirror.metadata.uid == uid), None)

    def slots(self) -> Iterable[Slot]:
        """All slots."""
        return self._slots.values()

    def memories(self) -> Mapping[str, PodMemory]:
        """What is worth keeping of each pod."""
        return {uid: durable(slot.memory) for uid, slot in self._slots.items()}

    # news

    def update(self, pod: core.Pod, memory: PodMemory | None = None) -> None:
        """The control plane has this pod, or the checkpoint had it, with what was remembered."""
        metadata = pod.metadata
        name = (metadata.namespace, metadata.name)
        before = self._uids.get(name)
        if before is not None and before != metadata.uid:
            self._unwanted(before)
        self._uids[name] = metadata.uid
        slot = self._slots.get(metadata.uid)
        if slot is None:
            # That it is gone may have been remembered and not been heard: it is looked at and told again.
            known = replace(memory, gone=False) if memory is not None else PodMemory()
            slot = self._slots[metadata.uid] = self._new_slot(pod, known, wanted=True)
        elif slot.wanted and _says_the_same(slot.pod, pod) and self._is_echo(slot, pod):
            slot.pod = pod
            return
        slot.pod, slot.wanted = pod, True
        slot.named = frozenset(Key(*key) for key in configs_of(pod)) | _claims_of(pod)
        self.poke(metadata.uid)

    def _is_echo(self, slot: Slot, pod: core.Pod) -> bool:
        """Whether a pod's new version only brings this agent's own report back, as most versions do.

        While a later report is under way, an earlier one may come back; what somebody else wrote is overwritten by it.
        """
        reported = slot.memory.reported
        if reported is None:
            return False
        return self._outbox.has_status(pod.metadata.uid) or shows(pod.status, reported)

    def remove(self, namespace: str, name: str) -> None:
        """The control plane no longer has the pod of this name."""
        uid = self._uids.pop((namespace, name), None)
        if uid is not None:
            self._unwanted(uid)

    def configs_changed(self, keys: Iterable[Key]) -> None:
        """Config maps, secrets or claims have changed: whoever refers to them looks again."""
        changed = frozenset(keys)
        for uid, slot in self._slots.items():
            if not changed.isdisjoint(slot.named):
                self.set_up_again(uid)

    def images_changed(self) -> None:
        """There are images that were not there before: whoever waits for one looks again."""
        for uid, slot in self._slots.items():
            waiting = any(kept.waiting in WAITING for kept in slot.memory.containers.values())
            if waiting or (slot.memory.volumes != "ready" and any(volume.image for volume in slot.pod.spec.volumes)):
                self.set_up_again(uid)

    def shown_uid(self, uid: str) -> str:
        """By which uid the control plane knows a pod of this one: that of its mirror, where it has one."""
        slot = self._slots.get(uid)
        return slot.mirror.metadata.uid if slot is not None and slot.mirror is not None else uid

    def mirrored(self, namespace: str, name: str, mirror: core.Pod | None) -> None:
        """The control plane has this mirror of a static pod, or none any more."""
        slot = self._slots.get(self._uids.get((namespace, name), ""))
        if slot is None or not is_static(slot.pod):
            return
        before, slot.mirror = slot.mirror, mirror
        if before is not None and (mirror is None or mirror.metadata.uid != before.metadata.uid):
            self._outbox.forget(before.metadata.uid)
        reported = slot.memory.reported
        if mirror is not None and reported is not None and not shows(mirror.status, reported):
            self._outbox.status(mirror, reported)

    def end(self, uid: str) -> None:
        """A static pod is wanted no more: it ends as if somebody had deleted it."""
        slot = self._slots.get(uid)
        if slot is None or slot.pod.metadata.deletion_timestamp is not None:
            return
        stamp = times.render(self._clock.now())
        metadata = replace(slot.pod.metadata, deletion_timestamp=stamp)
        slot.pod = replace(slot.pod, metadata=metadata)
        self.poke(uid)

    def fail(self, uid: str, failure: PodFailure) -> None:
        """The node wants a pod to end."""
        slot = self._slots.get(uid)
        if slot is not None and slot.ordered is None:
            slot.ordered = failure
            self.poke(uid)

    def active(self) -> list[core.Pod]:
        """The pods that take room here: those that the node has taken and that have not ended."""
        return [slot.pod for slot in self._slots.values() if slot.wanted and _takes_room(slot)]

    def is_running(self, uid: str) -> bool:
        """Whether a container of a pod runs."""
        return any(state.status is Status.RUNNING for state in self._watcher.of(uid).containers)

    def has_ended(self, uid: str) -> bool:
        """Whether nothing of a pod runs, and that was reported."""
        slot = self._slots.get(uid)
        return slot is None or (not _takes_room(slot) and not self.is_running(uid))

    def set_up_again(self, uid: str) -> None:
        """Something that the pod's volumes show has changed."""
        slot = self._slots.get(uid)
        if slot is not None:
            self._changes += 1
            slot.objects = self._changes
            self.poke(uid)

    def adopt_orphans(self) -> None:
        """End everything that runs here for no pod; only right once the control plane has told everything."""
        for uid in self._watcher.uids():
            if uid not in self._slots:
                seen = self._watcher.of(uid)
                ref = seen.states()[0].pod
                _LOG.warning("orphan_found", pod=f"{ref.namespace}/{ref.name}", uid=uid)
                self._slots[uid] = self._new_slot(_stand_in(ref), PodMemory(), wanted=False)
                self.poke(uid)

    def poke(self, uid: str) -> None:
        """Give a pod a turn soon."""
        if uid in self._slots and uid not in self._queued:
            self._queued.add(uid)
            self._turns.append(uid)
            self._wake.set()

    def _new_slot(self, pod: core.Pod, memory: PodMemory, *, wanted: bool) -> Slot:
        self.dirty = True
        return Slot(pod, memory, wanted, self._clock.monotonic_ms())

    def _unwanted(self, uid: str) -> None:
        slot = self._slots.get(uid)
        if slot is None:
            return
        self._outbox.forget(uid)
        slot.wanted = False
        if slot.memory.gone:
            self._drop(uid)
        else:
            self.poke(uid)

    def _machine_changed(self, uid: str) -> None:
        self.poke(uid)

    def _drop(self, uid: str) -> None:
        slot = self._slots.pop(uid)
        if slot.timer is not None:
            slot.timer.cancel()
        self._prober.forget(uid)
        self._last_words.forget(uid)
        self._departures.forget(uid)
        self.dirty = True

    # turns

    async def run(self) -> None:
        """Take turns until cancelled; operations in flight are cancelled with it, containers are left as they are."""
        await self._watcher.ready.wait()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    while self._turns:
                        for _ in range(min(len(self._turns), TURNS_AT_ONCE)):
                            uid = self._turns.popleft()
                            self._queued.discard(uid)
                            self._turn(uid)
                        await asyncio.sleep(0)
            finally:
                self._group = None
                for slot in self._slots.values():
                    for task in slot.tasks.values():
                        task.cancel()

    def _turn(self, uid: str) -> None:
        slot = self._slots.get(uid)
        if slot is None:
            return
        seen = self._watcher.of(uid)
        if not self._last_words.known(slot.pod, seen.containers):
            return  # another turn follows as soon as they have been read
        began = time.perf_counter()
        results, slot.results = tuple(slot.results), []
        now = self._clock.now()
        try:
            memory, actions = step(slot.pod, self._observation(slot, seen, results), slot.memory, now)
        except IllegalTransition as error:
            self._metrics.illegal_steps.inc()
            _LOG.error("illegal_transition", error=str(error))
            memory, actions = PodMemory(admitted=True, start_ms=slot.memory.start_ms), ()
        self.dirty = self.dirty or memory is not slot.memory
        slot.memory = memory
        self._metrics.step_s.labels("sync").observe(time.perf_counter() - began)
        self._cancel_abandoned(slot)
        self._perform(slot, actions, now)
        self._tell_place(slot)
        if uid in self._slots:
            self._set_timer(slot, now)
            self._sync_probes(slot, seen, now)

    def _tell_place(self, slot: Slot) -> None:
        address = self._addresses.of(slot.pod.metadata.uid)
        if address != slot.placed_at:
            slot.placed_at = address
            self.placed()

    def _observation(self, slot: Slot, seen: Seen, results: tuple[Result, ...]) -> Observation:
        uid = slot.pod.metadata.uid
        return Observation(
            sandboxes=seen.sandboxes,
            containers=seen.containers,
            results=results,
            probes=self._prober.verdicts(uid),
            messages=self._last_words.of(uid),
            ip=self._addresses.of(uid),
            host_ip=self._node.ip,
            objects=slot.objects,
            rejection=self._rejection(slot),
            ordered=slot.ordered,
            resize=self._no_resize(slot),
            deep_read_only=self._node.deep_read_only,
            served=self._is_served(slot),
            wanted=slot.wanted,
        )

    def _rejection(self, slot: Slot) -> Rejection | None:
        if slot.memory.admitted or not self._node.allocatable:
            return None
        return admit(slot.pod, self._others(slot), self._node.host())

    def _is_served(self, slot: Slot) -> bool:
        metadata = slot.pod.metadata
        return slot.wanted and metadata.deletion_timestamp is not None and self._departures.is_served(metadata.uid)

    def _no_resize(self, slot: Slot) -> Rejection | None:
        if not self._node.allocatable or not resizing.is_wanted(slot.pod.spec, slot.memory):
            return None
        return resizing.refusal(slot.pod, self._others(slot), self._node.allocatable_amounts())

    def _others(self, slot: Slot) -> list[core.Pod]:
        """The other pods that take room, with the resources that they have been granted."""
        others = (other for other in self._slots.values() if other is not slot and _takes_room(other))
        return [resizing.as_granted(other.pod, other.memory) for other in others]

    def _cancel_abandoned(self, slot: Slot) -> None:
        in_flight = {pending.op for pending in slot.memory.pending}
        for op in [op for op in slot.tasks if op not in in_flight]:
            slot.tasks.pop(op).cancel()

    def _perform(self, slot: Slot, actions: tuple[act.Action, ...], now: int) -> None:
        for action in actions:
            if isinstance(action, act.Report):
                self._report(slot, action.status)
            elif isinstance(action, act.Record):
                shown = _shown(slot)
                if shown is not None:
                    self._outbox.event(shown, action, now)
            elif isinstance(action, act.Gone):
                self._gone(slot)
            else:
                assert self._group is not None, "turns are only taken while the loop runs"
                slot.tasks[action.op] = self._group.create_task(self._operate(slot, action, self._group))

    async def _operate(self, slot: Slot, operation: act.AnyOperation, group: asyncio.TaskGroup) -> None:
        result = await self._performer.perform(slot.pod, operation, group)
        slot.tasks.pop(operation.op, None)
        slot.results.append(result)
        self.poke(slot.pod.metadata.uid)

    def _report(self, slot: Slot, status: core.PodStatus) -> None:
        shown = _shown(slot)
        if shown is not None:
            self._outbox.status(shown, status)
        if status.phase == "Running" and not slot.started:
            slot.started = True
            if slot.pod.status.phase == "Pending":
                self._metrics.pod_start_s.observe((self._clock.monotonic_ms() - slot.since_ms) / 1000)

    def _gone(self, slot: Slot) -> None:
        uid = slot.pod.metadata.uid
        self._prober.forget(uid)
        if is_static(slot.pod):
            self._uids.pop((slot.pod.metadata.namespace, slot.pod.metadata.name), None)
            self._drop(uid)
        elif slot.wanted:
            self._outbox.gone(slot.pod)
        else:
            self._drop(uid)

    def _set_timer(self, slot: Slot, now: int) -> None:
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None
        wake_at_ms = slot.memory.wake_at_ms
        if wake_at_ms is not None:
            delay_s = min(max(wake_at_ms - now, 1) / 1000, WAKE_MAX_S)
            loop = asyncio.get_running_loop()
            slot.timer = loop.call_later(delay_s, self.poke, slot.pod.metadata.uid)

    def _sync_probes(self, slot: Slot, seen: Seen, now: int) -> None:
        wanted = () if slot.memory.gone else jobs(slot.pod, slot.memory)
        if not wanted and not slot.probed:
            return
        slot.probed = bool(wanted)
        ages = {state.id: now - state.started_at_ms for state in seen.containers if state.status is Status.RUNNING}
        ip = self._node.ip if slot.pod.spec.host_network else self._addresses.of(slot.pod.metadata.uid)
        self._prober.sync(slot.pod, ip, wanted, ages)


def _claims_of(pod: core.Pod) -> frozenset[Key]:
    resource, namespace = kinds.PERSISTENT_VOLUME_CLAIM.resource, pod.metadata.namespace
    return frozenset(Key(resource, namespace, mounted.name) for mounted in claims_of(pod))


def _says_the_same(a: core.Pod, b: core.Pod) -> bool:
    """Whether two versions of a pod differ in nothing that a step looks at: not in what this node reports itself."""
    left, right = a.metadata, b.metadata
    return (
        a.spec == b.spec
        and left.generation == right.generation
        and left.deletion_timestamp == right.deletion_timestamp
        and left.deletion_grace_period_seconds == right.deletion_grace_period_seconds
        and left.labels == right.labels
        and left.annotations == right.annotations
        and foreign_conditions(a.status) == foreign_conditions(b.status)
    )


def _shown(slot: Slot) -> core.Pod | None:
    """What the control plane has of a pod; None when it has none, or not yet."""
    if is_static(slot.pod):
        return slot.mirror
    return slot.pod if slot.wanted else None


def _takes_room(slot: Slot) -> bool:
    status = slot.memory.reported or slot.pod.status
    return slot.memory.admitted and status.phase not in TERMINAL and not slot.memory.gone


def _stand_in(ref: PodRef) -> core.Pod:
    """A pod of which only the name is known: enough to end what is left of it."""
    metadata = meta.ObjectMeta(name=ref.name, namespace=ref.namespace, uid=ref.uid)
    return core.Pod(metadata=metadata, spec=core.PodSpec(restart_policy="Never"))
