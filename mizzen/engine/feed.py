"""From changes to keys: tells every control loop which of its keys a change concerns.

One feed serves all loops of a process, so that an object is decoded once however many controllers watch its kind.
What it is not: it decides nothing; a key that is queued without need only costs a decision that finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.engine.cache import Cache
from mizzen.engine.controller import ByMembership, Facet, Mapper, membership
from mizzen.engine.entry import Change, ChangeType, Entry
from mizzen.engine.loop import ControlLoop
from mizzen.engine.values import Instant, Key
from mizzen.engine.view import View

_Route: TypeAlias = tuple[ControlLoop, Mapper, bool, Facet | None]
"""A loop, what maps to its keys, whether that only reads the membership, and what is looked at."""


class MapperFailed(Exception):
    """A controller's mapper or facet raised: a defect. The cause is chained; the mapper's keys were not queued."""


class Feed:
    """Spreads changes over control loops."""

    def __init__(self, loops: Iterable[ControlLoop]) -> None:
        """Serve `loops`."""
        self._loops = tuple(loops)
        self._owners: dict[Kind[Any], list[tuple[ControlLoop, Facet | None]]] = {}
        self._mappers: dict[Kind[Any], list[_Route]] = {}
        self._custom: list[_Route] = []
        for loop in self._loops:
            controller = loop.controller
            self._owners.setdefault(controller.kind, []).append((loop, controller.sees.get(controller.kind)))
            for kind, mapper in controller.watches:
                self._mappers.setdefault(kind, []).append(_route(loop, mapper, controller.sees.get(kind)))
            if controller.custom is not None:
                self._custom.append(_route(loop, controller.custom, None))

    def seed(self, cache: Cache, tick: Instant) -> list[MapperFailed]:
        """Queue everything there is, as after a start; return the mappers' defects."""
        failures: list[MapperFailed] = []
        custom = cache.catalog.custom if self._custom else ()
        for kind in dict.fromkeys((*self._owners, *self._mappers, *custom)):
            for entry in cache.entries(kind):
                self._tell(entry, None, cache, tick, failures)
        return failures

    def changed(self, changes: Iterable[Change], revision: int, view: View, tick: Instant) -> list[MapperFailed]:
        """Queue what changes concern, by the states before and after each; return the mappers' defects.

        `revision` is what the view has come to with them: keys that were held for it are queued, too.
        """
        failures: list[MapperFailed] = []
        for change in changes:
            self._tell(
                change.entry, None if change.type is ChangeType.DELETED else change.previous, view, tick, failures
            )
        for loop in self._loops:
            loop.advanced(revision, tick)
        return failures

    def _tell(
        self, entry: Entry, previous: Entry | None, view: View, tick: Instant, failures: list[MapperFailed]
    ) -> None:
        owners = self._owners.get(entry.kind, ())
        mappers = self._custom if isinstance(entry.kind, CustomKind) else self._mappers.get(entry.kind, ())
        if not owners and not mappers:
            return
        seen = _Seen(entry.object(), None if previous is None else previous.object())
        key = entry.key
        for loop, facet in owners:
            if facet is None or seen.by(facet):
                loop.changed(key, tick)
        found: dict[Mapper, Sequence[Key]] = {}
        for loop, mapper, by_membership, facet in mappers:
            if facet is not None and not seen.by(facet):
                continue
            keys = found.get(mapper)
            if keys is None:
                try:
                    keys = found[mapper] = seen.mapped(mapper, view, by_membership=by_membership)
                except Exception as error:
                    failure = MapperFailed(f"{loop.controller.name} cannot map {key}")
                    failure.__cause__ = error
                    failures.append(failure)
                    continue
            for concerned in keys:
                loop.told(concerned, tick)
        for raised in seen.failed:
            failure = MapperFailed(f"a facet cannot be read of {key}")
            failure.__cause__ = raised
            failures.append(failure)


class _Seen:
    """One change as facets and mappers see it."""

    __slots__ = ("_after", "_before", "_facets", "_moved", "failed")

    def __init__(self, after: Any, before: Any) -> None:
        self._after = after
        self._before = before  # None: there was nothing, or there is nothing any more
        self._facets: dict[Facet, bool] = {}
        self.failed: list[Exception] = []
        """What facets raised; such a change counts as seen, so that none is missed."""
        self._moved = before is not None and membership(before) != membership(after)

    def by(self, facet: Facet) -> bool:
        """Whether there is something new to look at."""
        seen = self._facets.get(facet)
        if seen is None:
            try:
                before = None if self._before is None else facet(self._before)
                seen = facet(self._after) != before
            except Exception as error:
                self.failed.append(error)
                seen = True
            self._facets[facet] = seen
        return seen

    def mapped(self, mapper: Mapper, view: View, *, by_membership: bool) -> Sequence[Key]:
        """The keys that the change concerns, some of them twice."""
        if self._moved or (self._before is not None and not by_membership):
            return (*mapper(self._before, view), *mapper(self._after, view))
        return tuple(mapper(self._after, view))


def _route(loop: ControlLoop, mapper: Mapper, facet: Facet | None) -> _Route:
    by_membership = isinstance(mapper, ByMembership)
    return loop, mapper.mapper if isinstance(mapper, ByMembership) else mapper, by_membership, facet
