"""A dict that is read in the order of its keys, sorted only when somebody reads.

Why: objects are written far more often than they are listed, and a dict keeps its order when values are replaced or
keys removed; so only new keys make it sort again, and then over keys that are nearly in order.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Generic, TypeVar

K = TypeVar("K", str, tuple[str, str])
V = TypeVar("V")


class Ordered(Generic[K, V]):
    """Values by key, iterated in the order of the keys."""

    __slots__ = ("_items", "_sorted")

    def __init__(self) -> None:
        """Begin empty."""
        self._items: dict[K, V] = {}
        self._sorted = True

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[K]:
        return iter(self._in_order())

    def get(self, key: K) -> V | None:
        """Return the value under `key`, or None."""
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Add or replace a value."""
        if self._sorted and key not in self._items:
            self._sorted = False
        self._items[key] = value

    def pop(self, key: K) -> V | None:
        """Remove and return the value under `key`; None when there is none."""
        return self._items.pop(key, None)

    def values(self) -> ValuesView[V]:
        """The values in the order of their keys."""
        return self._in_order().values()

    def items(self) -> ItemsView[K, V]:
        """Keys and values in the order of the keys."""
        return self._in_order().items()

    def _in_order(self) -> dict[K, V]:
        if not self._sorted:
            items = self._items
            self._items = {key: items[key] for key in sorted(items)}
            self._sorted = True
        return self._items
