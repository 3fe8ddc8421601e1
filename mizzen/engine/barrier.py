"""Read your own writes: a key is not decided again before the view holds what its last decision wrote.

Without this a decision could miss its own effects and repeat them. It replaces what Kubernetes does with
expectations and assumed pods.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Barrier(Generic[K]):
    """Remembers the highest version each key wrote, and the keys that wait for the view to reach theirs."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self._wrote: dict[K, int] = {}
        self._held: list[tuple[int, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        """How many keys are held."""
        return len(self._held)

    def wrote(self, key: K, version: int) -> None:
        """Note that a decision for `key` led to a write at `version`."""
        self._wrote[key] = max(version, self._wrote.get(key, 0))

    def hold(self, key: K, revision: int) -> bool:
        """Return whether `key` must wait at this revision; if so `advance` gives it back later."""
        version = self._wrote.get(key, 0)
        if version <= revision:
            self._wrote.pop(key, None)
            return False
        self._count += 1
        heapq.heappush(self._held, (version, self._count, key))
        return True

    def advance(self, revision: int) -> list[K]:
        """Return the held keys that may run now, in the order of what they waited for."""
        if not self._held:
            return []
        free = []
        while self._held and self._held[0][0] <= revision:
            free.append(heapq.heappop(self._held)[2])
        return free
