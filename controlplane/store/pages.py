"""Lists in pages, all of one version.

The first page comes from the cache. What follows it is kept for a short while, because clients ask for the next page
at once; later, or on another server, the pages come from the store's history at the same version.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from controlplane.store import keys
from controlplane.store.objects import Objects
from controlplane.store.port import Store
from controlplane.store.values import Compacted
from mizzen.api.errors import Expired
from mizzen.api.kinds import Kind
from mizzen.engine.entry import Entry
from mizzen.engine.replica import Replica

KEPT_LISTS = 16
"""Most lists that are kept for their next page."""
KEPT_S = 30.0
"""How long a list is kept for its next page, in seconds."""

Place = tuple[str, str]


class ListPage(msgspec.Struct, frozen=True):
    """Part of a list; its entries are as of `version`. The next page is after the last entry."""

    entries: Sequence[Entry]
    version: int
    remaining: int
    """How many entries follow this page."""


class _Kept(msgspec.Struct):
    entries: Sequence[Entry]
    until: float


def _place(entry: Entry) -> Place:
    """Where an entry stands in the store's order: by the bytes of its key, in which namespaces end with a slash."""
    return (f"{entry.namespace}/", entry.name)


class Pages:
    """Gives out lists page by page."""

    def __init__(self, store: Store, objects: Objects, replica: Replica) -> None:
        """Read from `replica` first and from `store` what is no longer there."""
        self._store = store
        self._objects = objects
        self._replica = replica
        self._kept: OrderedDict[tuple[Kind[Any], str, int], _Kept] = OrderedDict()

    async def page(self, kind: Kind[Any], namespace: str, limit: int, *, version: int, after: Place | None) -> ListPage:
        """Return at most `limit` (0: all) entries at `version` that come after `after`, in the order of the keys."""
        self._expire()
        kept = self._kept.get((kind, namespace, version))
        if kept is None and version == self._replica.cache.revision:
            kept = self._keep(kind, namespace, version, limit)
        if kept is None:
            return await self._from_store(kind, namespace, limit, version=version, after=after)
        start = 0 if after is None else bisect_right(kept.entries, (f"{after[0]}/", after[1]), key=_place)
        entries = kept.entries[start : start + limit] if limit else kept.entries[start:]
        return ListPage(entries, version, len(kept.entries) - start - len(entries))

    def _keep(self, kind: Kind[Any], namespace: str, version: int, limit: int) -> _Kept:
        entries = self._replica.confirmed(kind, namespace)
        if not namespace:
            groups = [list(group) for _, group in groupby(entries, key=attrgetter("namespace"))]
            entries = [entry for group in sorted(groups, key=lambda group: _place(group[0])) for entry in group]
        kept = _Kept(entries, asyncio.get_running_loop().time() + KEPT_S)
        if 0 < limit < len(entries):
            self._kept[(kind, namespace, version)] = kept
            if len(self._kept) > KEPT_LISTS:
                self._kept.popitem(last=False)
        return kept

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._kept and next(iter(self._kept.values())).until < now:
            self._kept.popitem(last=False)

    async def _from_store(
        self, kind: Kind[Any], namespace: str, limit: int, *, version: int, after: Place | None
    ) -> ListPage:
        prefix = keys.kind_prefix(kind.group, kind.plural, namespace)
        start = "" if after is None else self._objects.key(kind, *after)
        try:
            page = await self._store.range(prefix, start_after=start, limit=limit, version=version)
        except Compacted as error:
            raise Expired("The resourceVersion for the provided list is too old.") from error
        told = [self._objects.told(record, self._replica.cache.entry) for record in page.records]
        entries = [
            Entry(kind, one.namespace, one.name, one.version, one.raw, one.decoded)
            for one in told
            if one is not None and one.raw is not None
        ]
        return ListPage(entries, version, page.remaining)
