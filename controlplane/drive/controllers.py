"""Runs the controllers: takes a key, decides, performs, and comes back to it when it must.

Deciding is synchronous and short; performing waits for the store. So each controller has one task that decides, and
as many as it has workers that perform. No policy lives here: what runs when is `mizzen.engine.loop`'s business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

import structlog

from controlplane.drive.metrics import WorkqueueCollector
from controlplane.drive.perform import Performed, Performer
from controlplane.store.registry import NotLeader, Registry
from controlplane.store.values import Require
from mizzen.engine.controller import Controller
from mizzen.engine.entry import Change
from mizzen.engine.feed import Feed
from mizzen.engine.loop import ControlLoop, Story, Turn, TurnFailed
from mizzen.engine.values import Clock, Ids, Instant, Key

_LOG = structlog.get_logger(__name__)

TURNS_A_TICK = 8
"""How many decisions without effects follow each other before others get a turn on the event loop."""


class Controllers:
    """All controllers of one process."""

    def __init__(
        self,
        controllers: Callable[[Instant], Sequence[Controller]],
        registry: Registry,
        performer: Performer,
        clock: Clock,
        ids: Ids,
        collector: WorkqueueCollector,
    ) -> None:
        """Nothing runs before `run`, which asks for the controllers that begin to lead at that time."""
        self._controllers = controllers
        self._registry = registry
        self._performer = performer
        self._clock = clock
        self._ids = ids
        self._collector = collector
        self._loops: tuple[ControlLoop, ...] = ()

    async def run(self, fence: Require) -> None:
        """Run all controllers until cancelled, beginning with every key there is.

        Raises `NotLeader` (in a group), and what keeps the view from catching up with earlier leaders' writes.
        """
        await self._registry.fresh()
        drivers = [
            _Driver(ControlLoop(one), self._registry, self._performer, self._clock, self._ids, fence, self._collector)
            for one in self._controllers(self._clock.now())
        ]
        self._loops = tuple(driver.loop for driver in drivers)
        self._collector.use(self._loops)
        feed = Feed(self._loops)

        def changed(changes: Sequence[Change], revision: int) -> None:
            tick = self._clock.monotonic_ms()
            _report(feed.changed(changes, revision, self._registry.view, tick))
            for driver in drivers:
                if driver.loop.stirred:
                    driver.wake()

        self._registry.subscribe(changed)
        try:
            _report(feed.seed(self._registry.cache, self._clock.monotonic_ms()))
            async with asyncio.TaskGroup() as group:
                for driver in drivers:
                    group.create_task(driver.run(), name=f"controller-{driver.loop.controller.name}")
        finally:
            self._registry.unsubscribe(changed)

    def stories(self, key: Key) -> dict[str, Story]:
        """Why a key is not where it should be, by the name of the controller that says so."""
        found = ((loop.controller.name, loop.story(key)) for loop in self._loops)
        return {name: story for name, story in found if story is not None}


def _report(failures: Sequence[Exception]) -> None:
    for failure in failures:
        _LOG.error("mapping_failed", error=str(failure), exc_info=failure.__cause__)


class _Driver:
    """One controller's tasks."""

    def __init__(
        self,
        loop: ControlLoop,
        registry: Registry,
        performer: Performer,
        clock: Clock,
        ids: Ids,
        fence: Require,
        collector: WorkqueueCollector,
    ) -> None:
        self.loop = loop
        self._registry = registry
        self._performer = performer
        self._clock = clock
        self._ids = ids
        self._fence = fence
        self._performing = 0
        self._until: Instant | None = None
        self._woken = asyncio.Event()
        self._log = _LOG.bind(controller=loop.controller.name)
        self._waited, self._ran = collector.durations(loop.controller.name)

    def wake(self) -> None:
        """Look at the queue again where a key is due before it would be looked at anyway."""
        self.loop.stirred = False
        tick = self._clock.monotonic_ms()
        due_ms = self.loop.queue.next_due(tick)
        if due_ms is not None and (self._until is None or tick + due_ms < self._until):
            self._woken.set()

    async def run(self) -> None:
        """Decide and perform until cancelled."""
        async with asyncio.TaskGroup() as group:
            for turns in count(1):
                turn = self._decide()
                if turn is None:
                    await self._wait()
                elif turn.decision.effects:
                    self._performing += 1
                    group.create_task(self._perform(turn), name=f"perform-{turn.key}")
                else:
                    self._ran.observe(self.loop.succeeded(turn, 0, self._clock.monotonic_ms()) / 1000)
                if turns % TURNS_A_TICK == 0:
                    await asyncio.sleep(0)

    def _decide(self) -> Turn | None:
        """Take turns until one has something to perform or nothing is due."""
        if self._performing >= self.loop.controller.workers:
            return None
        try:
            turn = self.loop.take(self._registry.view, self._clock.now(), self._ids, self._clock.monotonic_ms())
        except TurnFailed as failure:
            # A defect of one reconciler on one object must not stop the others.
            self._log.error("reconcile_failed", key=str(failure.turn.key), exc_info=failure.__cause__)
            self._ran.observe(
                self.loop.failed(failure.turn, repr(failure.__cause__), 0, self._clock.monotonic_ms()) / 1000
            )
            return None
        if turn is not None:
            self._waited.observe(turn.waited_ms / 1000)
        return turn

    async def _wait(self) -> None:
        """Wait until a key is queued, one that was delayed is due, or a worker is free."""
        due_ms, tick = None, self._clock.monotonic_ms()
        if self._performing < self.loop.controller.workers:
            due_ms = self.loop.queue.next_due(tick)
        self._until = None if due_ms is None else tick + due_ms
        self._woken.clear()
        alarm = None
        if due_ms is not None:
            alarm = asyncio.get_running_loop().call_later(due_ms / 1000, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _perform(self, turn: Turn) -> None:
        try:
            performed = await self._performer.perform(turn.decision.effects, self._fence)
        except NotLeader:
            raise
        except Exception as error:
            # A defect on one object, in admission for one; it must not stop the others either.
            self._log.exception("perform_failed", key=str(turn.key))
            performed = Performed(error=error)
        self._performing -= 1
        tick = self._clock.monotonic_ms()
        if performed.error is None:
            self._ran.observe(self.loop.succeeded(turn, performed.version, tick) / 1000)
        else:
            self._log.info("decision_bounced", key=str(turn.key), error=str(performed.error))
            self._ran.observe(self.loop.failed(turn, str(performed.error), performed.version, tick) / 1000)
        # The barrier may have been reached before it was known.
        self.loop.advanced(self._registry.revision, tick)
        self._woken.set()
