"""Keeps a cache in step with the store's log, while own writes may run ahead of it.

Why: a writer must see its own writes at once, but the log of changes (which also carries other writers' changes)
arrives a moment later and is the only thing that knows the order. So own writes go into the cache directly and never
move its revision; the log moves the revision and makes the changes that watchers are told.

What it is not: it reads no store and wakes nobody; see `controlplane/store/registry`.

Vocabulary
- *confirmed*: told by the log; the state at the cache's revision.
- *ahead*: a key whose newest state in the cache comes from an own write that the log has not told yet. For such a key
  the confirmed entry is kept aside, because it is what the next change of the log follows on.

Invariant: for every key the cache holds the newest state known, the set-aside entry (or else the cache) the confirmed
one; each change of the log is told exactly once, in order, with the confirmed state before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mizzen.api.kinds import Kind
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Change, Entry, deletion, replacement


@dataclass(frozen=True, slots=True)
class Told:
    """One change, as the log tells it or as an own write made it."""

    kind: Kind[Any]
    namespace: str
    name: str
    version: int
    raw: bytes | None
    """The object's stamped bytes; None for a deletion."""
    decoded: Any = None
    """The object, where it is at hand."""


@dataclass(slots=True)
class _Ahead:
    confirmed: Entry | None
    version: int


_Place = tuple[Kind[Any], str, str]


class Replica:
    """A cache and its distance to the log."""

    def __init__(self, cache: Cache) -> None:
        """Begin with an empty cache at revision 0; `replace` fills it."""
        self.cache = cache
        self._ahead: dict[_Place, _Ahead] = {}

    def wrote(self, told: Told) -> None:
        """Take in an own write whose version the store has acknowledged; older news than what is known is ignored."""
        if told.version <= self.cache.revision:
            return
        place = (told.kind, told.namespace, told.name)
        ahead = self._ahead.get(place)
        if ahead is not None:
            if told.version <= ahead.version:
                return
            ahead.version = told.version
        else:
            self._ahead[place] = _Ahead(self.cache.entry(*place), told.version)
        self._set(told)

    def apply(self, news: Iterable[Told], revision: int) -> list[Change]:
        """Take in the log's next changes, up to `revision`; return what watchers are told.

        Changes at or below the cache's revision have been told before and are dropped.
        """
        changes = []
        for told in news:
            if told.version > self.cache.revision:
                change = self._confirm(told)
                if change is not None:
                    changes.append(change)
        self.cache.advance(revision)
        return changes

    def replace(self, everything: Sequence[Told], revision: int) -> list[Change]:
        """Take in a complete list at `revision` instead of the log; return the differences, ordered by version."""
        present = {(told.kind, told.namespace, told.name) for told in everything}
        news = [told for told in everything if self._version((told.kind, told.namespace, told.name)) < told.version]
        for kind in tuple(self.cache.kinds()):
            news += [
                Told(kind, entry.namespace, entry.name, revision, None)
                for entry in self.confirmed(kind)
                if (kind, entry.namespace, entry.name) not in present
            ]
        news.sort(key=lambda told: told.version)
        changes = [change for told in news if (change := self._confirm(told)) is not None]
        # What is still ahead of an older version was created and deleted again while nobody listened.
        for place in [place for place, ahead in self._ahead.items() if ahead.version <= revision]:
            del self._ahead[place]
            self.cache.remove(*place)
        self.cache.advance(revision)
        return changes

    def confirmed(self, kind: Kind[Any], namespace: str = "") -> Sequence[Entry]:
        """The entries of a kind exactly at the cache's revision, by (namespace, name)."""
        entries = self.cache.entries(kind, namespace)
        aside = {place[1:]: ahead.confirmed for place, ahead in self._ahead.items() if place[0] is kind}
        if not aside:
            return entries
        kept = [entry for entry in entries if (entry.namespace, entry.name) not in aside]
        kept += [entry for place, entry in aside.items() if entry is not None and namespace in ("", place[0])]
        kept.sort(key=lambda entry: (entry.namespace, entry.name))
        return kept

    def _version(self, place: _Place) -> int:
        """The confirmed version of a key, 0 when there is none."""
        ahead = self._ahead.get(place)
        entry = self.cache.entry(*place) if ahead is None else ahead.confirmed
        return 0 if entry is None else entry.version

    def _confirm(self, told: Told) -> Change | None:
        place = (told.kind, told.namespace, told.name)
        current = self.cache.entry(*place)
        ahead = self._ahead.get(place)
        if ahead is None:
            return _change(current, told, self._set(told))
        previous = ahead.confirmed
        if told.version < ahead.version:
            ahead.confirmed = _entry(told)
            return _change(previous, told, ahead.confirmed)
        del self._ahead[place]
        if told.version > ahead.version:
            current = self._set(told)
        return _change(previous, told, current)

    def _set(self, told: Told) -> Entry | None:
        entry = _entry(told)
        if entry is None:
            self.cache.remove(told.kind, told.namespace, told.name)
        else:
            self.cache.put(entry)
        return entry


def _entry(told: Told) -> Entry | None:
    if told.raw is None:
        return None
    return Entry(told.kind, told.namespace, told.name, told.version, told.raw, told.decoded)


def _change(previous: Entry | None, told: Told, entry: Entry | None) -> Change | None:
    """What is told; None for the deletion of what was never told of."""
    if entry is not None:
        return replacement(previous, entry)
    return None if previous is None else deletion(previous, told.version)
