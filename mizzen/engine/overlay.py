"""A fork of a view: the same objects with some changes on top, free to make and to throw away.

Why: a plan or a scheduling pass goes on deciding on what it has decided so far, without writing anything.
What it is not: it does not copy what is below, so it is only right while that holds still.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from mizzen.api.catalog import Catalog
from mizzen.api.kinds import Kind, Object, kind_of
from mizzen.engine.ordered import Ordered
from mizzen.engine.view import Index, View

T = TypeVar("T", bound=Object)

_Place = tuple[str, str]
_place = attrgetter("metadata.namespace", "metadata.name")


class Overlay:
    """A `View` of another one with changes; overlays may lie on overlays."""

    def __init__(self, base: View) -> None:
        """Begin with no changes."""
        self._base = base
        self._changed: dict[Kind[Any], dict[_Place, Any]] = {}  # None: deleted
        self._buckets: dict[Index[Any], dict[str, Ordered[_Place, Any]]] = {}

    @property
    def revision(self) -> int:
        """The revision of what lies below; changes on top have none."""
        return self._base.revision

    @property
    def catalog(self) -> Catalog:
        """The kinds that there are below; definitions on top do not count."""
        return self._base.catalog

    def put(self, obj: Object) -> None:
        """Add an object or replace the one of its name."""
        self._set(kind_of(obj), (obj.metadata.namespace, obj.metadata.name), obj)

    def remove(self, kind: Kind[Any], namespace: str, name: str) -> None:
        """Delete an object; one that does not exist stays away."""
        self._set(kind, (namespace, name), None)

    def get(self, kind: Kind[T], namespace: str, name: str) -> T | None:
        """The object, or None."""
        changed = self._changed.get(kind)
        if changed is not None and (namespace, name) in changed:
            found: T | None = changed[(namespace, name)]
            return found
        return self._base.get(kind, namespace, name)

    def list(self, kind: Kind[T], namespace: str = "") -> Sequence[T]:
        """All objects of a kind in one namespace or in all, by (namespace, name)."""
        added = (obj for place, obj in self._changed.get(kind, {}).items() if namespace in ("", place[0]))
        return self._merge(kind, self._base.list(kind, namespace), added)

    def select(self, index: Index[T], value: str) -> Sequence[T]:
        """The objects that a declared index holds under a value."""
        bucket = self._index(index).get(value)
        return self._merge(index.kind, self._base.select(index, value), () if bucket is None else bucket.values())

    def count(self, index: Index[Any], value: str) -> int:
        """How many objects a declared index holds under a value."""
        if not self._changed.get(index.kind):
            return self._base.count(index, value)
        return len(self.select(index, value))

    def _merge(self, kind: Kind[T], below: Sequence[T], above: Iterable[T | None]) -> Sequence[T]:
        changed = self._changed.get(kind)
        if not changed:
            return below
        merged = [obj for obj in below if _place(obj) not in changed]
        kept = len(merged)
        merged += [obj for obj in above if obj is not None]
        if len(merged) > kept:
            merged.sort(key=_place)
        return merged

    def _index(self, index: Index[T]) -> dict[str, Ordered[_Place, T]]:
        """The changed objects by the index's values; made when the index is first asked for."""
        buckets = self._buckets.get(index)
        if buckets is None:
            buckets = self._buckets[index] = {}
            for place, obj in self._changed.get(index.kind, {}).items():
                if obj is not None:
                    _insert(index, buckets, place, obj)
        return buckets

    def _set(self, kind: Kind[Any], place: _Place, obj: Any) -> None:
        changed = self._changed.setdefault(kind, {})
        before = changed.get(place)
        changed[place] = obj
        for index, buckets in self._buckets.items():
            if index.kind is not kind:
                continue
            if before is not None:
                for value in index.keys(before):
                    buckets[value].pop(place, None)
            if obj is not None:
                _insert(index, buckets, place, obj)


def _insert(index: Index[Any], buckets: dict[str, Ordered[_Place, Any]], place: _Place, obj: Any) -> None:
    for value in index.keys(obj):
        bucket = buckets.get(value)
        if bucket is None:
            bucket = buckets[value] = Ordered()
        bucket.put(place, obj)
