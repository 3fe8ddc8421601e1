"""A dict that is read in the order of its keys, sorted only when somebody reads.

Why: objects are written far more often than they are listed, and a dict keeps its order when values are replaced or
keys removed; so only new keys make it sort again, and then over keys that are nearly in order.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Any, TypeVar

K = TypeVar("K", bound=str | tuple[str, str])
V = TypeVar("V")


class Ordered(dict[K, V]):
    """Values by key, iterated in the order of the keys. Values come in by `put` alone.

    It is a dict, so that looking up costs no more than in one: that happens dozens of times for every change.
    """

    __slots__ = ("_sorted",)

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self._sorted = True

    def __iter__(self) -> Iterator[K]:
        self._sort()
        return super().__iter__()

    def put(self, key: K, value: V) -> None:
        """Add or replace a value."""
        if self._sorted and key not in self:
            self._sorted = False
        self[key] = value

    def values(self) -> ValuesView[V]:  # type: ignore[override]  # as wide as anybody here reads it
        """The values in the order of their keys."""
        self._sort()
        return super().values()

    def items(self) -> ItemsView[K, V]:  # type: ignore[override]
        """Keys and values in the order of the keys."""
        self._sort()
        return super().items()

    def _sort(self) -> None:
        if not self._sorted:
            self._sorted = True
            keys: Any = super().keys()
            found = {key: self[key] for key in sorted(keys)}
            self.clear()
            self.update(found)
