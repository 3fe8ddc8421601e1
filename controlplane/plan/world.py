"""Virtual time: a heap of events, run one by one, each followed by the checkers."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from mizzen.base.ids import SeededIds
from mizzen.engine.values import Instant

START_MS: Instant = 1_767_225_600_000
"""2026-01-01T00:00:00Z; any fixed time would do."""
EVENTS_MAX = 400_000
"""A run with more events than this does not come to rest: a defect."""


class NoRest(AssertionError):
    """The world goes on for ever."""


@dataclass(order=True, slots=True)
class _Due:
    at: Instant
    number: int
    run: Callable[[], None] = field(compare=False)


class World:
    """The clock, the names, the random streams and the trace of one run."""

    def __init__(self, seed: int, start: Instant = START_MS) -> None:
        self.seed = seed
        self.start = start
        self.now: Instant = start
        self.ids = SeededIds(seed)
        self.trace: list[str] = []
        self.checks: list[Callable[[], None]] = []
        self._heap: list[_Due] = []
        self._number = 0
        self._streams: dict[str, random.Random] = {}

    def random(self, stream: str) -> random.Random:
        """A named random stream; each use has its own, so one never disturbs another."""
        found = self._streams.get(stream)
        if found is None:
            found = self._streams[stream] = random.Random(f"{self.seed}/{stream}")
        return found

    def after(self, delay_ms: int, run: Callable[[], None]) -> None:
        """Runs something later; of what is due at the same time the earlier asked goes first."""
        self._number += 1
        heapq.heappush(self._heap, _Due(self.now + max(0, delay_ms), self._number, run))

    def tell(self, text: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{self.now - self.start:>9} {text}")

    def run_until(self, until_ms: int) -> None:
        """Runs what is due within so many milliseconds of the start. Raises NoRest, or a checker's error."""
        end = self.start + until_ms
        events = 0
        while self._heap and self._heap[0].at <= end:
            due = heapq.heappop(self._heap)
            self.now = due.at
            due.run()
            for check in self.checks:
                check()
            events += 1
            if events > EVENTS_MAX:
                raise NoRest(f"seed {self.seed}: more than {EVENTS_MAX} events")
        self.now = end

    def digest(self) -> str:
        """A fingerprint of the trace."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]
