"""Stretches of list bodies, kept as long as the objects in them stay what they are.

Most lists are asked for again with little changed. A list is cut into stretches of some objects; the bytes of each are
found again by its first object and are good if all its objects are the same entries, which never change their content.
So a change costs one stretch, and nothing has to be told about changes. Rows of tables show ages: their stretches are
good until the first of these reads differently.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence

from controlplane.server.packing import Packed, packed
from mizzen.engine.entry import Entry
from mizzen.engine.values import Instant

STRETCH = 128
"""Objects of a stretch: a change makes so many be written again."""
WORTH_KEEPING = 16
"""Objects from which on it costs less to find a stretch than to write it."""
KEPT_BYTES = 48 << 20
"""What all stretches together may take, in bytes before they are compressed; the longest unasked-for go first."""


class Stretch:
    """Some of the items of a list, in one form."""

    __slots__ = ("_packed", "body", "entries", "until")

    def __init__(self, entries: Sequence[Entry], body: bytes, until: Instant | None = None) -> None:
        """`body` is true before `until`; None: for ever."""
        self.entries = entries
        self.body = body
        self.until = until
        self._packed: Packed | None = None

    def packed(self) -> Packed:
        """The same, compressed; made once. May be called by any thread."""
        if self._packed is None:
            self._packed = packed(self.body)
        return self._packed


class KeptLists:
    """The stretches of one server."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Stretch] = OrderedDict()
        self._bytes = 0

    def find(self, form: Hashable, entries: Sequence[Entry], now: Instant) -> Stretch | None:
        """These entries in this form, if they are kept and true."""
        key = (form, id(entries[0]))
        kept = self._kept.get(key)
        if kept is None or kept.entries != entries or (kept.until is not None and now >= kept.until):
            return None
        self._kept.move_to_end(key)
        return kept

    def keep(self, form: Hashable, stretch: Stretch) -> None:
        """Keep a stretch, which has at least one entry."""
        key = (form, id(stretch.entries[0]))
        if (old := self._kept.pop(key, None)) is not None:
            self._bytes -= len(old.body)
        self._kept[key] = stretch
        self._bytes += len(stretch.body)
        while self._bytes > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.body)


def cut(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """A list in the entries of its stretches."""
    return (entries[begin : begin + STRETCH] for begin in range(0, len(entries), STRETCH))
