"""The cache: every object of the cluster in memory, found by name and by declared index.

Why: all reads, lists and decisions are served from here. It keeps canonical bytes and decodes on demand, because
decoded objects take two to three times the memory and most of them are never looked at.
What it is not: it does not know where objects come from nor in which order (see `replica`), and it is no snapshot: it
is a `View` that holds still for as long as its reader does not suspend.

Vocabulary
- *entry*: one object's bytes, version and, while hot, its decoded form.
- *hot*: decoded and kept. Entries read since the hand last passed survive, others give their decoded form up.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind, Object
from mizzen.engine import indexes
from mizzen.engine.entry import Entry
from mizzen.engine.ordered import Ordered
from mizzen.engine.view import Index

T = TypeVar("T", bound=Object)

_Place = tuple[str, str]

HOT_MAX = 32_768
"""Default number of decoded objects that the cache keeps, of about 5 kB each: those of a thousand workloads, whose
controllers would decode everything anew for each decision if it were less."""
RETIRED_MAX = 256
"""Decoded objects that are kept for a moment after they were replaced or removed."""


class Hot:
    """Bounds the number of decoded objects: a ring whose hand spares what was read since it last passed."""

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` decoded objects."""
        self._limit = limit
        self._ring: OrderedDict[Entry, None] = OrderedDict()
        self._retired: deque[Entry] = deque()

    def read(self, entry: Entry) -> Any:
        """Return the decoded object and remember that it is wanted."""
        if entry.decoded is None:
            return self.keep(entry, entry.object())
        entry.used = True
        return entry.decoded

    def keep(self, entry: Entry, decoded: Any) -> Any:
        """Keep `decoded` with its entry, and cool another when there are too many."""
        entry.decoded = decoded
        self._ring[entry] = None
        while len(self._ring) > self._limit:
            oldest, _ = self._ring.popitem(last=False)
            if oldest.used:
                oldest.used = False
                self._ring[oldest] = None
            else:
                oldest.decoded = None
        return decoded

    def retire(self, entry: Entry) -> None:
        """Give up an entry that is no longer current; those who are told of the change soon may still look at it."""
        self._ring.pop(entry, None)
        self._retired.append(entry)
        if len(self._retired) > RETIRED_MAX:
            self._retired.popleft().decoded = None


class _Table:
    """The objects of one kind."""

    __slots__ = ("buckets", "changes", "indexes", "namespaces", "order")

    def __init__(self, indexes: tuple[Index[Any], ...]) -> None:
        self.namespaces: Ordered[str, Ordered[str, Entry]] = Ordered()
        self.changes = 0
        self.indexes = indexes
        self.order = {index: place for place, index in enumerate(indexes)}
        self.buckets: tuple[dict[str, Ordered[_Place, Entry]], ...] = tuple({} for _ in indexes)

    def get(self, namespace: str, name: str) -> Entry | None:
        names = self.namespaces.get(namespace)
        return None if names is None else names.get(name)

    def put(self, entry: Entry, decoded: Any) -> Entry | None:
        names = self.namespaces.get(entry.namespace)
        if names is None:
            names = Ordered()
            self.namespaces.put(entry.namespace, names)
        self.changes += 1
        before = names.get(entry.name)
        entry.indexed = indexed = tuple([tuple(index.keys(decoded)) for index in self.indexes])
        names.put(entry.name, entry)
        if before is not None and before.indexed != indexed:
            self._drop(before)
        place = (entry.namespace, entry.name)
        for buckets, values in zip(self.buckets, indexed, strict=True):
            for value in values:
                bucket = buckets.get(value)
                if bucket is None:
                    bucket = buckets[value] = Ordered()
                bucket.put(place, entry)
        return before

    def remove(self, namespace: str, name: str) -> Entry | None:
        names = self.namespaces.get(namespace)
        entry = None if names is None else names.pop(name, None)
        if names is None or entry is None:
            return None
        if not len(names):
            self.namespaces.pop(namespace)
        self.changes += 1
        self._drop(entry)
        return entry

    def entries(self, namespace: str) -> list[Entry]:
        if namespace:
            names = self.namespaces.get(namespace)
            return [] if names is None else list(names.values())
        return [entry for names in self.namespaces.values() for entry in names.values()]

    def bucket(self, index: Index[Any], value: str) -> Ordered[_Place, Entry] | None:
        return self.buckets[self.order[index]].get(value)

    def _drop(self, entry: Entry) -> None:
        place = (entry.namespace, entry.name)
        for buckets, values in zip(self.buckets, entry.indexed, strict=True):
            for value in values:
                bucket = buckets.get(value)
                if bucket is not None:  # an index may give a value twice
                    bucket.pop(place, None)
                    if not len(bucket):
                        del buckets[value]


class Cache:
    """Entries of every kind with the declared indexes; a `View` of what is in it now."""

    def __init__(self, declared: Iterable[Index[Any]], hot_max: int = HOT_MAX) -> None:
        """Begin empty; `declared` are all indexes of the table's kinds that `select` will be asked for."""
        self._indexes = tuple(declared)
        self._tables: dict[Kind[Any], _Table] = {}
        self._hot = Hot(hot_max)
        self._revision = 0
        self.catalog: Catalog = BUILT_IN
        """The kinds that there are, as the log has told."""

    @property
    def revision(self) -> int:
        """Every change up to this version is in the cache; single later ones may be, too."""
        return self._revision

    def advance(self, version: int) -> None:
        """Say that every change up to `version` is now in; it never goes back."""
        self._revision = max(self._revision, version)

    def get(self, kind: Kind[T], namespace: str, name: str) -> T | None:
        """The object, or None; the namespace is empty for cluster-scoped kinds."""
        # Most of all calls that decisions make: the way down is written out.
        table = self._tables.get(kind)
        names = table.namespaces.get(namespace) if table is not None else None
        entry = names.get(name) if names is not None else None
        if entry is None:
            return None
        found: T | None = entry.decoded
        if found is None:
            return self._hot.read(entry)  # type: ignore[no-any-return]
        entry.used = True
        return found

    def list(self, kind: Kind[T], namespace: str = "") -> Sequence[T]:
        """All objects of a kind in one namespace, or in all where it is empty, by (namespace, name)."""
        entries = self.entries(kind, namespace)
        if not entries:
            return []
        read = self._hot.read
        return [read(entry) for entry in entries]

    def select(self, index: Index[T], value: str) -> Sequence[T]:
        """The objects that a declared index holds under a value; KeyError for an index that was not declared."""
        bucket = self._table(index.kind).bucket(index, value)
        if bucket is None:
            return []
        read = self._hot.read
        return [read(entry) for entry in bucket.values()]

    def count(self, index: Index[Any], value: str) -> int:
        """How many objects a declared index holds under a value."""
        bucket = self._table(index.kind).bucket(index, value)
        return 0 if bucket is None else len(bucket)

    def entry(self, kind: Kind[Any], namespace: str, name: str) -> Entry | None:
        """The entry of an object, or None."""
        table = self._tables.get(kind)
        return None if table is None else table.get(namespace, name)

    def entries(self, kind: Kind[Any], namespace: str = "") -> Sequence[Entry]:
        """The entries of a kind in one namespace or in all, by (namespace, name)."""
        table = self._tables.get(kind)
        return [] if table is None else table.entries(namespace)

    def selected(self, index: Index[Any], value: str) -> Sequence[Entry]:
        """The entries that a declared index holds under a value, by (namespace, name)."""
        bucket = self._table(index.kind).bucket(index, value)
        return [] if bucket is None else list(bucket.values())

    def changes(self, kind: Kind[Any]) -> int:
        """How often objects of a kind were put or removed: as long as it stays, so does what was made of them."""
        table = self._tables.get(kind)
        return 0 if table is None else table.changes

    def kinds(self) -> Iterator[Kind[Any]]:
        """The kinds of which there are or were objects."""
        return iter(self._tables)

    def put(self, entry: Entry) -> Entry | None:
        """Add or replace an object; return the entry it replaces.

        Raises msgspec.DecodeError for bytes that are no object of the kind, and then changes nothing.
        """
        decoded = entry.object()
        before = self._table(entry.kind).put(entry, decoded)
        self._hot.keep(entry, decoded)
        if before is not None:
            self._hot.retire(before)
        return before

    def remove(self, kind: Kind[Any], namespace: str, name: str) -> Entry | None:
        """Take an object out; return the entry that was there."""
        before = self._table(kind).remove(namespace, name)
        if before is not None:
            self._hot.retire(before)
        return before

    def _table(self, kind: Kind[Any]) -> _Table:
        table = self._tables.get(kind)
        if table is None:
            declared = tuple(index for index in self._indexes if index.kind is kind)
            table = _Table((*declared, indexes.by_owner(kind)) if isinstance(kind, CustomKind) else declared)
            self._tables[kind] = table
        return table
