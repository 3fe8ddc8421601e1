"""Turns at one object: writers who got in each other's way go on one after the other.

Why: of writers that all start anew whenever somebody was faster, one gets through in each round, and the last would run
out of attempts. What it is not: a lock. Nobody needs a turn to write, and the store alone decides who was faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

WAIT_MAX_S = 2.0
"""How long somebody waits for their turn, in seconds; then they try without, as those before them may wait for them."""


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Turns:
    """Who is next at which object; one per process. It remembers only objects that somebody waits for."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Have a turn at an object, or none after `WAIT_MAX_S`."""
        queue = self._queues.setdefault(key, _Queue())
        queue.waiting += 1
        held = False
        try:
            try:
                async with asyncio.timeout(WAIT_MAX_S):
                    held = await queue.lock.acquire()
            except TimeoutError:
                pass
            yield
        finally:
            if held:
                queue.lock.release()
            queue.waiting -= 1
            if not queue.waiting:
                self._queues.pop(key, None)

    def __len__(self) -> int:
        """How many objects somebody waits for."""
        return len(self._queues)
