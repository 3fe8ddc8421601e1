"""How far this node's rules are, how far it wants all nodes' to be, and how far these are known to be.

Sessions tell the first two to the control planes and bring back the third; see `departures` for who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple


class Telling(NamedTuple):
    """What is told to a control plane."""

    version: int
    """The rules, names and routes of this node show at least this version of the control plane's history."""
    asked: tuple[int, ...] = ()
    """The versions that all nodes are to reach, ascending."""


class Reach:
    """The newest of each; only this is told, whatever was between."""

    def __init__(self) -> None:
        """Begin knowing nothing."""
        self._telling = Telling(0)
        self._fresh = asyncio.Event()
        self.reached = 0
        """All nodes' rules show at least this version."""
        self.changed: Callable[[], None] = lambda: None
        """Called when `reached` has risen."""

    def at(self, version: int) -> None:
        """This node's rules show a version."""
        self._tell(self._telling._replace(version=version))

    def ask(self, versions: set[int]) -> None:
        """Want to know when all nodes' rules show these versions; the empty set: nothing any more."""
        self._tell(self._telling._replace(asked=tuple(sorted(versions))))

    def answered(self, version: int) -> None:
        """All nodes' rules show a version."""
        if version > self.reached:
            self.reached = version
            self.changed()

    def begin_history(self) -> None:
        """Versions are those of another history from now on."""
        self._telling, self.reached = Telling(0), 0

    async def after(self, seen: Telling | None) -> Telling:
        """What is to be told, as soon as it differs from what was told last."""
        while seen == self._telling or (seen is None and self._telling == Telling(0)):
            await self._fresh.wait()
        return self._telling

    def _tell(self, telling: Telling) -> None:
        if telling != self._telling:
            self._telling = telling
            told, self._fresh = self._fresh, asyncio.Event()
            told.set()
