"""How long to wait before trying again: doubling from a first pause up to a longest one, per key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_MS = 5
"""Pause after the first failure."""
LONGEST_MS = 60_000
"""Longest pause."""


class Backoff(Generic[K]):
    """Counts failures per key; a success forgets the key."""

    def __init__(self, first_ms: int = FIRST_MS, longest_ms: int = LONGEST_MS) -> None:
        """Begin with no failures."""
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._failures: dict[K, int] = {}

    def failed(self, key: K) -> int:
        """Count one more failure and return the milliseconds to wait."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        # The exponent is bounded only to keep the number small.
        return min(self._first_ms << min(count, 40), self._longest_ms)

    def succeeded(self, key: K) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)
