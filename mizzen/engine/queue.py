"""The work queue: keys to run, each at most once at a time and never forgotten.

A key that is added while it waits is there already; one that is added while it runs is queued again when it is done.
Keys run in the order in which they became due, so no key starves another. Time is an argument.

Vocabulary
- *waiting*: queued and due now.  *delayed*: due later.  *running*: popped and not done.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from mizzen.engine.values import Instant

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that wait, are delayed or run."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: OrderedDict[K, Instant] = OrderedDict()  # key -> since when it waits
        self._running: dict[K, Instant] = {}  # key -> since when it runs
        self._again: dict[K, Instant] = {}  # running keys that were added meanwhile, since when
        self._due: dict[K, Instant] = {}  # delayed keys
        self._heap: list[tuple[Instant, int, K]] = []  # of `_due`; entries that no longer agree with it are void
        self._count = 0
        self.adds = 0
        """How many keys were added in total."""

    def __len__(self) -> int:
        """How many keys wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many keys run."""
        return len(self._running)

    def add(self, key: K, now: Instant) -> None:
        """Queue a key now."""
        waiting = self._again if key in self._running else self._waiting
        if key not in waiting:
            waiting[key] = now
            self.adds += 1

    def add_at(self, key: K, due: Instant) -> None:
        """Queue a key at a later time; of several times the earliest counts."""
        if self._due.get(key, due + 1) > due:
            self._due[key] = due
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, key))

    def pop(self, now: Instant) -> tuple[K, int] | None:
        """Take the next key to run, with the milliseconds it waited; None when none is due.

        What was delayed for the key is cancelled: its run decides when it is due again.
        """
        self._release(now)
        if not self._waiting:
            return None
        key, since = self._waiting.popitem(last=False)
        self._running[key] = now
        self._due.pop(key, None)
        return key, max(0, now - since)

    def done(self, key: K, now: Instant) -> int:
        """Say that a key has run, and queue it if it was added meanwhile; return the milliseconds that it ran."""
        began = self._running.pop(key)
        since = self._again.pop(key, None)
        if since is not None:
            self._waiting[key] = since
        return max(0, now - began)

    def next_due(self, now: Instant) -> int | None:
        """Milliseconds until a key is due: 0 when one waits, None when nothing is queued."""
        self._release(now)
        if self._waiting:
            return 0
        return self._heap[0][0] - now if self._heap else None

    def unfinished_ms(self, now: Instant) -> tuple[int, int]:
        """Return how long the running keys have been running, in sum and at most."""
        times = [max(0, now - since) for since in self._running.values()]
        return sum(times), max(times, default=0)

    def _release(self, now: Instant) -> None:
        """Move delayed keys that are due to those that wait."""
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif due <= now:
                heapq.heappop(self._heap)
                del self._due[key]
                self.add(key, now)
            else:
                return
