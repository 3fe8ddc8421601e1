"""One controller's loop without its clock: from keys to decisions, from outcomes to retries.

Why: the asyncio driver and the simulator run the same loop; they only differ in how effects are performed and how time
passes. Time and randomness are arguments.
What it is not: it performs no effects and never waits.

Vocabulary
- *turn*: one key taken, decided, performed and finished.
- *held*: a key that is due, but whose last writes the view does not hold yet.
- *story*: what is known of a key between turns: why it waits, and its last error.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mizzen.engine.backoff import Backoff
from mizzen.engine.barrier import Barrier
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Waiting
from mizzen.engine.queue import WorkQueue
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View


class Turn(msgspec.Struct, frozen=True):
    """A key and what was decided for it."""

    key: Key
    decision: Decision
    decided: Instant
    """The `now` of the decision."""
    waited_ms: int
    """How long the key was queued."""


@dataclass(frozen=True, slots=True)
class Story:
    """Why a key is not (yet) where it should be."""

    decided: Instant
    """When it was last decided."""
    waiting: tuple[Waiting, ...]
    error: str = ""
    """Why its last turn failed; it is tried again."""
    failures: int = 0
    """How often in a row it has failed."""


class TurnFailed(Exception):
    """A reconciler raised: a defect. The cause is chained; the turn must be ended with `ControlLoop.failed`."""

    def __init__(self, turn: Turn) -> None:
        """Keep the turn, which has no effects."""
        super().__init__(f"deciding {turn.key} failed")
        self.turn = turn


class ControlLoop:
    """The state of one running controller. `tick` is a time in milliseconds on a clock that never steps back."""

    def __init__(self, controller: Controller) -> None:
        """Begin with an empty queue; `feed` fills it."""
        self.controller = controller
        self.queue: WorkQueue[Key] = WorkQueue()
        self._barrier: Barrier[Key] = Barrier()
        self._backoff: Backoff[Key] = Backoff()
        self._stories: dict[Key, Story] = {}
        self.retries = 0
        """How many turns failed and were queued again."""
        self.stirred = False
        """A key was queued since whoever runs the loop has last taken this back."""

    def advanced(self, revision: int, tick: Instant) -> None:
        """Queue the keys that were held until the view came to this revision."""
        for key in self._barrier.advance(revision):
            self.changed(key, tick)

    def changed(self, key: Key, tick: Instant) -> None:
        """Queue a key because its own object has changed."""
        self.stirred = True
        self.queue.add(key, tick)

    def told(self, key: Key, tick: Instant) -> None:
        """Queue a key because of another object, once it has had time to be followed by more."""
        self.stirred = True
        if self.controller.settle_ms:
            self.queue.add_at(key, tick + self.controller.settle_ms)
        else:
            self.queue.add(key, tick)

    def take(self, view: View, now: Instant, ids: Ids, tick: Instant) -> Turn | None:
        """Decide the next key that is due; None when none is. Raises `TurnFailed`."""
        while (popped := self.queue.pop(tick)) is not None:
            key, waited_ms = popped
            if self._barrier.hold(key, view.revision):
                self.queue.done(key, tick)
                continue
            try:
                decision = self.controller.reconcile(key, view, now, ids)
            except Exception as error:
                raise TurnFailed(Turn(key, Decision(), now, waited_ms)) from error
            return Turn(key, decision, now, waited_ms)
        return None

    def succeeded(self, turn: Turn, version: int, tick: Instant) -> int:
        """End a turn whose effects were performed, up to `version` (0: none wrote); return how long it ran in ms."""
        key, decision = turn.key, turn.decision
        self._backoff.succeeded(key)
        if decision.waiting:
            self._stories[key] = Story(turn.decided, decision.waiting)
        else:
            self._stories.pop(key, None)
        ran_ms = self._end(key, version, tick)
        if decision.wake_after_ms is not None:
            self.queue.add_at(key, tick + decision.wake_after_ms)
        if self.controller.resync_ms:
            self.queue.add_at(key, tick + self.controller.resync_ms)
        return ran_ms

    def failed(self, turn: Turn, error: str, version: int, tick: Instant) -> int:
        """End a turn that bounced or broke after writing up to `version`; it is tried again later. Return its ms."""
        key = turn.key
        pause_ms = self._backoff.failed(key)
        self._stories[key] = Story(turn.decided, turn.decision.waiting, error, self._backoff.failures(key))
        self.retries += 1
        ran_ms = self._end(key, version, tick)
        self.queue.add_at(key, tick + pause_ms)
        return ran_ms

    def story(self, key: Key) -> Story | None:
        """Why a key waits or fails; None when it is where it should be."""
        return self._stories.get(key)

    def _end(self, key: Key, version: int, tick: Instant) -> int:
        if version:
            self._barrier.wrote(key, version)
        return self.queue.done(key, tick)
