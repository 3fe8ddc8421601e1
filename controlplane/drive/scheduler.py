"""Runs the scheduler: decides a round of pods, and binds them while the next round is decided.

Placements are written in commits of many, side by side. What cannot be written is taken back and tried again; what
fits nowhere is told why. What is tried when is `controlplane.scheduling.rounds`' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from controlplane.drive import metrics
from controlplane.drive.perform import Performer, WriteOf
from controlplane.scheduling.passes import SCHEDULER, PassLimits, PassResult, Preparation, Refusal, Scheduler
from controlplane.scheduling.rounds import Rounds, assigned, refused
from controlplane.store.registry import Registry
from controlplane.store.values import Require, StoreError
from mizzen.api import kinds, times
from mizzen.api.errors import ApiError
from mizzen.api.types import core_v1
from mizzen.engine.effects import Bind, Emit
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.values import Clock, Ids
from mizzen.engine.writes import Write

_LOG = structlog.get_logger(__name__)
_PLACED, _REFUSED, _ERRORS = (
    metrics.ATTEMPTS.labels(result, SCHEDULER) for result in ("scheduled", "unschedulable", "error")
)
_WRITTEN = metrics.ATTEMPT_DURATION.labels("scheduled", SCHEDULER)
# The attempts of one pod are not counted apart: they would have to be remembered until it is bound.
_SINCE_CREATED = metrics.POD_DURATION.labels("1")

LIMITS = PassLimits(pods_max=128)
"""Pods of one round: as many as are decided within a few milliseconds, so that others get their turn."""
COMMIT_MAX = 64
"""Placements of one commit."""
COMMITS_MAX = 8
"""Commits under way at the same time; the next round waits when there are so many."""


class SchedulerDriver:
    """The scheduler of one process."""

    def __init__(
        self,
        registry: Registry,
        performer: Performer,
        write_of: WriteOf,
        record: Callable[[Emit], None],
        clock: Clock,
        ids: Ids,
    ) -> None:
        """Nothing runs before `run`. Conditions of refused pods go through `performer`, placements directly."""
        self._registry = registry
        self._performer = performer
        self._write_of = write_of
        self._record = record
        self._clock = clock
        self._ids = ids
        self._rounds = Rounds(Scheduler())
        self._woken = asyncio.Event()
        self._free = asyncio.Semaphore(COMMITS_MAX)

    async def run(self, fence: Require) -> None:
        """Schedule until cancelled. Raises `NotLeader` (in a group), and what keeps the view from catching up."""
        # An earlier leader's placements must all be seen before the first own one.
        await self._registry.fresh()
        self._rounds = Rounds(Scheduler())
        self._registry.subscribe(self._changed)
        try:
            for kind in (kinds.NODE, kinds.POD):
                entries = self._registry.cache.entries(kind)
                self._changed([Change(ChangeType.ADDED, entry.version, entry) for entry in entries], 0)
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._round(group, fence)
        finally:
            self._registry.unsubscribe(self._changed)

    def _changed(self, changes: Sequence[Change], revision: int) -> None:
        if changes:
            self._rounds.changed(changes, self._clock.monotonic_ms())
            self._woken.set()

    async def _round(self, group: asyncio.TaskGroup, fence: Require) -> None:
        tick = self._clock.monotonic_ms()
        due_ms = self._rounds.next_due(tick)
        if due_ms != 0:
            return await self._wait(due_ms)
        await self._free.acquire()
        self._free.release()
        result = self._rounds.run(self._registry.view, LIMITS, tick)
        self._count(result, tick)
        for start in range(0, len(result.bindings), COMMIT_MAX):
            await self._free.acquire()
            group.create_task(self._bind(result.bindings[start : start + COMMIT_MAX], tick, fence))
        for preparation in result.preparations:
            if preparation.effects:
                await self._free.acquire()
                group.create_task(self._prepare(preparation, fence))
        if result.refusals:
            await self._free.acquire()
            group.create_task(self._refuse(result.refusals, fence))
        await asyncio.sleep(0)
        return None

    async def _wait(self, due_ms: int | None) -> None:
        self._woken.clear()
        try:
            async with asyncio.timeout(None if due_ms is None else due_ms / 1000):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _bind(self, binds: Sequence[Bind], began: int, fence: Require) -> None:
        """Write placements, together if possible, one by one where something is in the way."""
        try:
            writes = [(bind, write) for bind in binds if (write := self._translate(bind)) is not None]
            try:
                if writes:
                    self._bound(writes, await self._registry.commit([write for _, write in writes], fence=fence), began)
            except ApiError:
                for bind, write in writes:
                    await self._bind_one(bind, write, began, fence)
        except StoreError as error:
            _LOG.warning("bindings_not_written", pods=len(binds), error=str(error))
            # Nobody knows what was written, until the view has caught up: then what is bound is seen as bound.
            await self._performer.caught_up()
            self._back(binds)
        finally:
            self._free.release()

    async def _bind_one(self, bind: Bind, write: Write, began: int, fence: Require) -> None:
        try:
            self._bound([(bind, write)], await self._registry.commit((write,), fence=fence), began)
        except ApiError as error:
            self._not_bound(bind, error)

    def _translate(self, bind: Bind) -> Write | None:
        try:
            return self._write_of(bind, self._registry.view, self._clock.now(), self._ids)
        except ApiError as error:
            self._not_bound(bind, error)
            return None

    def _bound(self, writes: Iterable[tuple[Bind, Write]], pods: Sequence[core_v1.Pod], began: int) -> None:
        now = self._clock.now()
        took_s = (self._clock.monotonic_ms() - began) / 1000
        for (bind, _), pod in zip(writes, pods, strict=True):
            self._record(assigned(bind, pod))
            _WRITTEN.observe(took_s)
            _SINCE_CREATED.observe(max(0, now - times.parse(pod.metadata.creation_timestamp)) / 1000)

    def _not_bound(self, bind: Bind, error: Exception) -> None:
        _ERRORS.inc()
        _LOG.info("binding_bounced", pod=f"{bind.namespace}/{bind.name}", node=bind.node, error=str(error))
        self._back((bind,))

    def _back(self, binds: Iterable[Bind]) -> None:
        tick = self._clock.monotonic_ms()
        for bind in binds:
            self._rounds.failed(bind, tick)
        self._woken.set()

    async def _prepare(self, preparation: Preparation, fence: Require) -> None:
        """Write what a pod's claims need; the pod's next turn comes when they have changed."""
        try:
            performed = await self._performer.perform(preparation.effects, fence)
        finally:
            self._free.release()
        if performed.error is not None:
            _LOG.info("volumes_not_prepared", pod=preparation.pod.metadata.name, error=str(performed.error))
            self._rounds.unprepared(preparation.pod, self._clock.monotonic_ms())
            self._woken.set()

    async def _refuse(self, refusals: Sequence[Refusal], fence: Require) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for refusal in refusals:
                    group.create_task(self._refuse_one(refusal, fence))
        finally:
            self._free.release()

    async def _refuse_one(self, refusal: Refusal, fence: Require) -> None:
        performed = await self._performer.perform(refused(refusal, self._clock.now()), fence)
        if performed.error is not None:
            _LOG.info("refusal_not_told", pod=refusal.pod.metadata.name, error=str(performed.error))

    def _count(self, result: PassResult, began: int) -> None:
        metrics.PASS_DURATION.observe((self._clock.monotonic_ms() - began) / 1000)
        _PLACED.inc(len(result.bindings))
        _REFUSED.inc(len(result.refusals))
        for queue, pods in self._rounds.pending().items():
            metrics.PENDING.labels(queue).set(pods)
