"""The recent changes of each kind, and the watchers that read along.

Why: a client's watch begins at a version it has listed and must see every change since, once and in order. All
watchers of a kind read the same window of changes, each from its own place; nothing is kept per watcher, so a slow one
costs nothing and simply falls out of the window.
What it is not: it keeps no current state and never asks the store for older history.

Vocabulary
- *window*: the last changes of one kind, bounded by number and by bytes.
- *floor*: the version from which on the window is complete. A watch from before it is `Expired` (410 Gone).
- *place*: how many changes of this kind there were before one, counted since the start; a watcher's cursor.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from mizzen.api.errors import Expired
from mizzen.api.kinds import Kind
from mizzen.engine.entry import Change

WINDOW_CHANGES = 32768
"""Most changes that a kind's window keeps."""
WINDOW_BYTES = 48 * 1024 * 1024
"""Most bytes of objects that a kind's window keeps."""
FORGET = 256
"""Changes that have left the window are let go in portions of this size."""

_version = attrgetter("version")


class News(msgspec.Struct, frozen=True, gc=False):
    """Changes in order, possibly none. The watcher has now been told of every change up to `version`."""

    changes: tuple[Change, ...]
    version: int


class Window:
    """The last changes of one kind."""

    def __init__(self, floor: int) -> None:
        """Begin empty; every change after `floor` will be added."""
        self._floor = floor
        self._changes: list[Change] = []
        self._dropped = 0  # how many changes were before the first of the list
        self._first = 0  # index of the oldest change of the window; those before it await removal
        self._bytes = 0
        self._grown = asyncio.Event()

    @property
    def end(self) -> int:
        """The place after the last change."""
        return self._dropped + len(self._changes)

    def place_after(self, version: int) -> int:
        """Return the place of the first change after `version`. Raises `Expired` when changes since then are gone."""
        if version < self._floor:
            raise Expired(f"too old resource version: {version} ({self._floor})")
        return self._dropped + bisect_right(self._changes, version, lo=self._first, key=_version)

    def since(self, place: int) -> Sequence[Change]:
        """Return the changes from a place on. Raises `Expired` when that place has left the window."""
        if place < self._dropped + self._first:
            raise Expired("the watch was too slow, or changes were missed: list again and watch from there")
        return self._changes[place - self._dropped :]

    def add(self, change: Change) -> None:
        """Append one change; the oldest ones leave when there are too many."""
        self._changes.append(change)
        self._bytes += len(change.entry.raw)
        while (kept := len(self._changes) - self._first) > WINDOW_CHANGES or (self._bytes > WINDOW_BYTES and kept > 1):
            oldest = self._changes[self._first]
            self._bytes -= len(oldest.entry.raw)
            self._floor = oldest.version
            self._first += 1
            if self._first >= FORGET:
                self._forget(self._first)

    def reset(self, floor: int) -> None:
        """Changes up to `floor` were missed: forget everything and end all watches from before."""
        self._forget(len(self._changes))
        # One place is skipped, so that a watcher that had read everything notices, too.
        self._dropped += 1
        self._bytes = 0
        self._floor = floor
        self.wake()

    def wake(self) -> None:
        """Let every waiting watcher look."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def changed(self) -> None:
        """Wait until something is added."""
        await self._grown.wait()

    def _forget(self, count: int) -> None:
        del self._changes[:count]
        self._dropped += count
        self._first = 0


class History:
    """The windows of all kinds."""

    def __init__(self) -> None:
        """Begin at version 0; `reset` says from where on changes are complete."""
        self._windows: dict[Kind[Any], Window] = {}
        self._floor = 0
        self.told = 0
        """Every change up to this version has been told."""

    def window(self, kind: Kind[Any]) -> Window:
        """Return the window of a kind."""
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = Window(self._floor)
        return window

    def tell(self, changes: Sequence[Change], version: int) -> None:
        """Take in the next changes, all up to `version`, and wake the watchers of their kinds."""
        self.told = version
        touched: dict[Window, None] = {}
        for change in changes:
            window = self.window(change.entry.kind)
            window.add(change)
            touched[window] = None
        for window in touched:
            window.wake()

    def reset(self, version: int) -> None:
        """Changes up to `version` were missed; end every watch from before."""
        self._floor = self.told = version
        for window in self._windows.values():
            window.reset(version)


class Watcher:
    """One watch: reads a kind's window from its own place."""

    def __init__(self, history: History, kind: Kind[Any], namespace: str, from_version: int) -> None:
        """Read the changes after `from_version`, which may be ahead of the history. Raises `Expired`."""
        self._history = history
        self._window = history.window(kind)
        self._namespace = namespace
        self._from = from_version
        self._place = self._window.place_after(from_version)

    def ready(self) -> News:
        """Return what has happened since the last call, without waiting. Raises `Expired` when too much has."""
        changes = self._window.since(self._place)
        self._place = self._window.end
        if changes and changes[0].version <= self._from:
            changes = [change for change in changes if change.version > self._from]
        if self._namespace:
            changes = [change for change in changes if change.entry.namespace == self._namespace]
        return News(tuple(changes), max(self._history.told, self._from))

    async def next(self, wait_s: float) -> News:
        """Wait for changes, at most `wait_s` seconds; what comes back empty then is good for a bookmark.

        Raises `Expired` when the watcher was too slow or changes were missed; the watch is over then.
        """
        news = self.ready()
        if news.changes:
            return news
        try:
            async with asyncio.timeout(wait_s):
                while not news.changes:
                    await self._window.changed()
                    news = self.ready()
        except TimeoutError:
            news = self.ready()
        return news
