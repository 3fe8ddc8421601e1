"""The deciding half of a control plane in the simulator: what `controlplane.drive` does, without asyncio.

The loops, the feed, the scheduler's rounds and admission are the real ones; here is only who runs when, and how long
the store takes. Its cache lags: what others wrote arrives a little later, its own writes at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from controlplane.admission import refusals
from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings
from controlplane.plan.simstore import Deposed, SimStore
from controlplane.plan.world import World
from controlplane.reconcilers import every_controller
from controlplane.reconcilers.scalingmetrics import NO_SOURCES, Sources
from controlplane.scheduling import moving
from controlplane.scheduling.passes import PassLimits, Preparation, Scheduler
from controlplane.scheduling.rounds import Rounds, refused
from mizzen.api import errors, kinds
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.effects import Bind, Create, Delete, Effect, Emit
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.feed import Feed
from mizzen.engine.loop import ControlLoop, Turn
from mizzen.engine.replica import Replica, Told
from mizzen.engine.writes import Write, unfolded

WRITE_MS = (1, 8)
"""How long a write takes."""
LAG_MS = (1, 40)
"""How long news of the log takes."""
TRIES = 4


class Brain:
    """One leader's time in office."""

    def __init__(
        self,
        world: World,
        store: SimStore,
        name: str,
        *,
        grace_ms: int,
        die_after: int = 0,
        sources: Sources = NO_SOURCES,
    ) -> None:
        """Takes over. With `die_after` it dies before its write of that number, counted from 1.

        `sources` are the figures that autoscalers go by.
        """
        self.name = name
        self.alive = True
        self._world = world
        self._store = store
        self._die_after = die_after
        self._written = 0
        self._random = world.random("brain")
        self._fence = store.lead(name)
        self._replica = Replica(Cache(indexes.ALL))
        self._replica.cache.catalog = store.cache.catalog
        store.fill(self._replica)
        every = every_controller(
            world.now,
            node_grace_ms=grace_ms,
            cluster_cidr="10.244.0.0/16",
            node_prefix=24,
            sources=sources,
            find_better=moving.better,
        )
        self._loops = [ControlLoop(one) for one in every]
        self._performing: Counter[str] = Counter()
        """By controller, how many of its workers are busy."""
        self._feed = Feed(self._loops)
        self._rounds = Rounds(Scheduler())
        self._news_due = False
        self._look_at: int | None = None
        store.followers.append(self._news)
        world.tell(f"{name} leads")
        for kind in (kinds.NODE, kinds.POD):
            entries = self._replica.cache.entries(kind)
            self._rounds.changed([Change(ChangeType.ADDED, e.version, e) for e in entries], world.now)
        for failure in self._feed.seed(self._replica.cache, world.now):
            raise failure
        self._wake()

    def stop(self) -> None:
        """Dies: nothing that it had begun goes on."""
        if self.alive:
            self.alive = False
            self._store.followers.remove(self._news)
            self._world.tell(f"{self.name} is gone")

    # News and turns

    def _news(self, changes: Sequence[Change]) -> None:
        if not self._news_due:
            self._news_due = True
            self._world.after(self._random.randint(*LAG_MS), self._deliver)

    def _deliver(self) -> None:
        if not self.alive:
            return
        self._news_due = False
        changes = self._store.follow(self._replica)
        now = self._world.now
        self._rounds.changed(changes, now)
        for failure in self._feed.changed(changes, self._replica.cache.revision, self._replica.cache, now):
            raise failure
        self._wake()

    def _next_due(self) -> int | None:
        now = self._world.now
        due = [loop.queue.next_due(now) for loop in self._loops if self._has_worker(loop)]
        due.append(self._rounds.next_due(now))
        return min((one for one in due if one is not None), default=None)

    def _wake(self) -> None:
        """Looks again when the next key is due."""
        due = self._next_due()
        if due is None:
            return
        at = self._world.now + due
        if self._look_at is None or at < self._look_at or self._look_at < self._world.now:
            self._look_at = at
            self._world.after(due, lambda: self._look(at))

    def _look(self, at: int) -> None:
        if not self.alive or self._look_at != at:
            return
        self._look_at = None
        now = self._world.now
        for loop in self._loops:
            while self._has_worker(loop):
                turn = loop.take(self._replica.cache, now, self._world.ids, now)
                if turn is None:
                    break
                self._begin(loop, turn)
        if self._rounds.next_due(now) == 0:
            self._schedule()
        self._wake()

    def _has_worker(self, loop: ControlLoop) -> bool:
        return self._performing[loop.controller.name] < loop.controller.workers

    # Effects

    def _begin(self, loop: ControlLoop, turn: Turn) -> None:
        if not turn.decision.effects:
            loop.succeeded(turn, 0, self._world.now)
            return

        self._performing[loop.controller.name] += 1

        def done(version: int, error: str) -> None:
            now = self._world.now
            self._performing[loop.controller.name] -= 1
            if error:
                loop.failed(turn, error, version, now)
            else:
                loop.succeeded(turn, version, now)
            loop.advanced(self._replica.cache.revision, now)
            self._wake()

        self._perform(loop.controller.name, list(turn.decision.effects), 0, done)

    def _perform(self, who: str, effects: list[Effect], version: int, done: Callable[[int, str], None]) -> None:
        """Performs effects one after the other, each some time after the one before."""

        def next_one() -> None:
            if not self.alive:
                return
            while effects and isinstance(effects[0], Emit):
                emit = effects.pop(0)
                assert isinstance(emit, Emit)
                self._world.tell(f"{who}: {emit.reason} {emit.regarding.metadata.name}: {emit.message}")
            if not effects:
                done(version, "")
                return
            effect = effects.pop(0)
            try:
                wrote = self._one(who, effect)
            except Deposed:
                self.stop()
                return
            except errors.ApiError as error:
                done(max(version, self._refused(who, effect, error)), error.message)
                return
            if self.alive:
                self._perform(who, effects, max(version, wrote), done)

        self._world.after(self._random.randint(*WRITE_MS), next_one)

    def _refused(self, who: str, effect: Effect, error: errors.ApiError) -> int:
        """Tells the owner of an object that it may not be made; returns the version written, 0 for none."""
        if not isinstance(effect, Create):
            return 0
        said = refusals.complaint(effect, error, self._replica.cache)
        if said is not None:
            self._world.tell(f"{who}: {said.reason} {said.regarding.metadata.name}: {said.message}")
        noted = refusals.failure(effect, error, self._replica.cache, self._world.now)
        try:
            return self._one(who, noted) if noted is not None else 0
        except (errors.Conflict, errors.NotFound):
            return 0
        except Deposed:
            self.stop()
            return 0

    def _one(self, who: str, effect: Any) -> int:
        for _ in range(TRIES if isinstance(effect, Delete) and not effect.resource_version else 1):
            try:
                write = write_of(effect, self._replica.cache, self._world.now, self._world.ids, Settings())
                return 0 if write is None else self._write(who, (write,))
            except errors.NotFound:
                if isinstance(effect, Delete):
                    return 0
                raise
            except errors.Conflict:
                if not isinstance(effect, Delete):
                    raise
                self._deliver()
        raise errors.Conflict(kinds.POD, "a deletion met too many other writes")

    def _write(self, who: str, writes: Sequence[Write]) -> int:
        self._written += 1
        if self._written == self._die_after:
            self.stop()
            return 0
        written = self._store.commit(writes, self._fence)
        for write, obj in zip(unfolded(writes), written, strict=True):
            version = int(obj.metadata.resource_version)
            what = "removes" if write.object is None else "writes" if write.expect else "creates"
            self._world.tell(f"{who}: {what} {write.kind.plural}/{write.name}")
            raw = None if write.object is None else canonical.stamp(write.kind, canonical.rest(write.object), version)
            self._replica.wrote(Told(write.kind, write.namespace, write.name, version, raw, write.object and obj))
        return max(int(obj.metadata.resource_version) for obj in written)

    # Scheduling

    def _schedule(self) -> None:
        now = self._world.now
        result = self._rounds.run(self._replica.cache, PassLimits(), now)
        for bind in result.bindings:
            self._world.after(self._random.randint(*WRITE_MS), lambda bind=bind: self._bind(bind))  # type: ignore[misc]
        for preparation in result.preparations:
            self._prepare(preparation)
        for refusal in result.refusals:
            effects = list(refused(refusal, now))
            self._perform("scheduler", effects, 0, lambda version, error: self._wake())

    def _prepare(self, preparation: Preparation) -> None:
        def done(version: int, error: str) -> None:
            if error:
                self._rounds.unprepared(preparation.pod, self._world.now)
            self._wake()

        if preparation.effects:
            self._perform("scheduler", list(preparation.effects), 0, done)

    def _bind(self, bind: Bind) -> None:
        if not self.alive:
            return
        try:
            self._one("scheduler", bind)
            if self.alive:
                self._world.tell(f"scheduler: binds {bind.name} to {bind.node}")
        except Deposed:
            self.stop()
        except errors.ApiError as error:
            self._world.tell(f"scheduler: {bind.name} not bound: {error.message}")
            self._rounds.failed(bind, self._world.now)
        self._wake()
