"""Stretches of list bodies, kept as long as the objects in them stay what they are.

Most lists are asked for again with little changed. A list is cut into stretches of some objects; the bytes of each are
found again by its first object and are good if all its objects are the same entries, which never change their content.
So a change costs one stretch, and nothing has to be told about changes. Rows of tables show ages: their stretches are
good until the first of these reads differently.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from mizzen.engine.entry import Entry
from mizzen.engine.values import Instant

STRETCH = 128
"""Objects of a stretch: a change makes so many be written again."""
WORTH_KEEPING = 16
"""Objects from which on it costs less to find a stretch than to write it."""
KEPT_BYTES = 48 << 20
"""What all stretches together may take, in bytes; those that were not asked for the longest go first."""


class _Kept(NamedTuple):
    entries: Sequence[Entry]
    body: bytes
    until: Instant | None
    """When it is no longer true; None for never."""


class KeptLists:
    """The stretches of one server."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0

    def find(self, form: Hashable, entries: Sequence[Entry], now: Instant) -> bytes | None:
        """The bytes of these entries in this form, if they are kept and true."""
        key = (form, id(entries[0]))
        kept = self._kept.get(key)
        if kept is None or kept.entries != entries or (kept.until is not None and now >= kept.until):
            return None
        self._kept.move_to_end(key)
        return kept.body

    def keep(self, form: Hashable, entries: Sequence[Entry], body: bytes, until: Instant | None = None) -> None:
        """Keep these bytes, which are true before `until`."""
        key = (form, id(entries[0]))
        if (old := self._kept.pop(key, None)) is not None:
            self._bytes -= len(old.body)
        self._kept[key] = _Kept(entries, body, until)
        self._bytes += len(body)
        while self._bytes > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.body)


def stretches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """A list in its stretches."""
    return (entries[begin : begin + STRETCH] for begin in range(0, len(entries), STRETCH))
