"""From changes to keys: tells every control loop which of its keys a change concerns.

One feed serves all loops of a process, so that an object is decoded once however many controllers watch its kind.
What it is not: it decides nothing; a key that is queued without need only costs a decision that finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.engine.cache import Cache
from mizzen.engine.controller import Mapper
from mizzen.engine.entry import Change, Entry
from mizzen.engine.loop import ControlLoop
from mizzen.engine.values import Instant
from mizzen.engine.view import View


class MapperFailed(Exception):
    """A controller's mapper raised: a defect. The cause is chained; the keys it would have named were not queued."""


class Feed:
    """Spreads changes over control loops."""

    def __init__(self, loops: Iterable[ControlLoop]) -> None:
        """Serve `loops`."""
        self._loops = tuple(loops)
        self._owners: dict[Kind[Any], list[ControlLoop]] = {}
        self._mappers: dict[Kind[Any], list[tuple[ControlLoop, Mapper]]] = {}
        self._custom = [(loop, loop.controller.custom) for loop in self._loops if loop.controller.custom is not None]
        for loop in self._loops:
            self._owners.setdefault(loop.controller.kind, []).append(loop)
            for kind, mapper in loop.controller.watches:
                self._mappers.setdefault(kind, []).append((loop, mapper))

    def seed(self, cache: Cache, tick: Instant) -> list[MapperFailed]:
        """Queue everything there is, as after a start; return the mappers' defects."""
        failures: list[MapperFailed] = []
        custom = cache.catalog.custom if self._custom else ()
        for kind in dict.fromkeys((*self._owners, *self._mappers, *custom)):
            for entry in cache.entries(kind):
                self._tell(entry, (entry,), cache, tick, failures)
        return failures

    def changed(self, changes: Iterable[Change], revision: int, view: View, tick: Instant) -> list[MapperFailed]:
        """Queue what changes concern, by the states before and after each; return the mappers' defects.

        `revision` is what the view has come to with them: keys that were held for it are queued, too.
        """
        failures: list[MapperFailed] = []
        for change in changes:
            states = (change.entry,) if change.previous is None else (change.previous, change.entry)
            self._tell(change.entry, states, view, tick, failures)
        for loop in self._loops:
            loop.advanced(revision, tick)
        return failures

    def _tell(
        self, entry: Entry, states: Sequence[Entry], view: View, tick: Instant, failures: list[MapperFailed]
    ) -> None:
        for loop in self._owners.get(entry.kind, ()):
            loop.queue.add(entry.key, tick)
        mappers = self._custom if isinstance(entry.kind, CustomKind) else self._mappers.get(entry.kind)
        if not mappers:
            return
        objects = [state.object() for state in states]
        for loop, mapper in mappers:
            try:
                keys = dict.fromkeys(key for obj in objects for key in mapper(obj, view))
            except Exception as error:
                failure = MapperFailed(f"{loop.controller.name} cannot map {entry.key}")
                failure.__cause__ = error
                failures.append(failure)
                continue
            for key in keys:
                loop.told(key, tick)
