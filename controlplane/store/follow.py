"""Follows the store's log: one list, then one watch, into the cache, the history and the subscribers.

Why: all reads are served from memory, so exactly one reader of the log feeds everything, in order.
What it is not: it never skips and never repeats a change. When history was compacted away it lists again, tells
subscribers the differences, and ends the watches of clients, because what happened in between is not known.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TypeAlias

import structlog

from controlplane.store import keys
from controlplane.store.history import History
from controlplane.store.objects import Objects
from controlplane.store.port import Store
from controlplane.store.values import Closed, Compacted, Record, StoreError, WatchBatch
from mizzen.api import kinds
from mizzen.api.catalog import Catalog
from mizzen.engine import canonical
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Change
from mizzen.engine.replica import Replica, Told

_LOG = structlog.get_logger(__name__)

_DEFINITIONS = keys.kind_prefix(kinds.CUSTOM_RESOURCE_DEFINITION.group, kinds.CUSTOM_RESOURCE_DEFINITION.plural)
LIST_PAGE = 500
"""Records that are listed with one call."""
RETRY_S = 0.5
"""Pause before the log is asked for again after a failure, in seconds."""

CROWD = 8
SERVED_S = 0.00015
"""After an answer to so many at once the store is left alone for as long as the loop is busy with serving them, so many
seconds each: a question costs as much as serving two requests, and who comes meanwhile can share the next one."""

Subscriber: TypeAlias = Callable[[Sequence[Change], int], None]
"""`subscriber(changes, revision)`: the next changes (possibly none) and the revision that the cache is at with them."""


class Latest:
    """Asks the store for its current version, once for all who ask at the same time."""

    def __init__(self, store: Store) -> None:
        """Ask `store`."""
        self._store = store
        self._waiting: list[asyncio.Future[int]] = []
        self._asking: asyncio.Task[None] | None = None

    async def version(self) -> int:
        """Return a version that was current at some moment after this call began. Raises `Unavailable`."""
        # A question that is under way may have been answered before now; the next one serves all who wait here.
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="registry-latest")
        return await answer

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asking, self._waiting = self._waiting, []
                try:
                    version = await self._store.current()
                except Exception as error:  # whoever waits is told
                    _settle(asking, error)
                else:
                    _settle(asking, version)
                if len(asking) >= CROWD:
                    await asyncio.sleep(SERVED_S * len(asking))
        finally:
            self._asking = None
            _settle(self._waiting, Closed("nobody asks the store any more"))


def _settle(waiting: Iterable[asyncio.Future[int]], outcome: int | Exception) -> None:
    """Tell all who still wait."""
    for future in waiting:
        if future.done():
            continue
        if isinstance(outcome, int):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)


class Follower:
    """The one reader of the log."""

    def __init__(self, store: Store, objects: Objects, cache: Cache) -> None:
        """Feed `cache`, which must be empty."""
        self._store = store
        self._objects = objects
        self.replica = Replica(cache)
        self.history = History()
        self._subscribers: list[Subscriber] = []
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waits = 0

    async def start(self) -> None:
        """List everything, then follow in the background until `close`."""
        await self._list()
        self._task = asyncio.create_task(self._follow(), name="registry-follow")

    async def close(self) -> None:
        """Stop; whoever waits for a version is told `Closed`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(Closed("the registry was closed"))
        self._waiting.clear()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` of everything from now on."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Tell it no more."""
        self._subscribers.remove(subscriber)

    async def reach(self, version: int) -> None:
        """Wait until the cache is at `version`; the caller sets the deadline. Raises `Closed`."""
        if version <= self.replica.cache.revision:
            return
        future = asyncio.get_running_loop().create_future()
        self._waits += 1
        heapq.heappush(self._waiting, (version, self._waits, future))
        await future

    async def ended(self) -> None:
        """Wait until following ends: returns after `close`, raises what went wrong otherwise."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _list(self) -> None:
        while True:
            try:
                records, version = await self._read_all()
            except Compacted:
                continue  # compacted between two pages: begin again at a newer version
            break
        known = self.replica.cache.entry
        definitions = [record for record in records if record.key.startswith(_DEFINITIONS)]
        others = [record for record in records if not record.key.startswith(_DEFINITIONS)]
        self._objects.catalog = Catalog(hubs=self._objects.catalog.hubs)
        told = []
        for record in (*definitions, *others):
            one = self._objects.told(record, known)
            if one is not None:
                told.append(one)
                self._learn(one)
        changes = self.replica.replace(told, version)
        self.replica.cache.catalog = self._objects.catalog
        self.history.reset(version)
        self._publish(changes)

    async def _read_all(self) -> tuple[list[Record], int]:
        page = await self._store.range(keys.REGISTRY, limit=LIST_PAGE)
        records = list(page.records)
        while page.remaining:
            page = await self._store.range(
                keys.REGISTRY, start_after=records[-1].key, limit=LIST_PAGE, version=page.version
            )
            records += page.records
        return records, page.version

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._store.watch(keys.REGISTRY, self.replica.cache.revision)) as batches:
                    async for batch in batches:
                        self._take(batch)
            except Compacted as error:
                _LOG.warning("registry_relists", revision=self.replica.cache.revision, reason=str(error))
                await self._relist()
            except Closed:
                return
            except StoreError as error:
                _LOG.warning("registry_watch_failed", revision=self.replica.cache.revision, error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _relist(self) -> None:
        while True:
            try:
                return await self._list()
            except Closed:
                raise
            except StoreError as error:
                _LOG.warning("registry_list_failed", error=str(error))
                await asyncio.sleep(RETRY_S)

    def _take(self, batch: WatchBatch) -> None:
        known = self.replica.cache.entry
        news = []
        for event in batch.events:
            told = self._objects.news(event, known)
            if told is not None:
                news.append(told)
                self._learn(told)
        changes = self.replica.apply(news, batch.version)
        self.replica.cache.catalog = self._objects.catalog
        self.history.tell(changes, batch.version)
        self._publish(changes)

    def _learn(self, told: Told) -> None:
        """Know the kinds that a definition makes or ends, before objects of them come."""
        if told.kind is not kinds.CUSTOM_RESOURCE_DEFINITION:
            return
        catalog = self._objects.catalog
        if told.raw is None:
            self._objects.catalog = catalog.without(told.name)
            return
        definition = canonical.decode(kinds.CUSTOM_RESOURCE_DEFINITION, told.raw)
        try:
            self._objects.catalog = catalog.with_definition(definition)
        except ValueError as error:
            # Somebody else's hand: admission lets no such schema in.
            _LOG.error("definition_unusable", name=told.name, error=str(error))

    def _publish(self, changes: Sequence[Change]) -> None:
        revision = self.replica.cache.revision
        while self._waiting and self._waiting[0][0] <= revision:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
        for subscriber in self._subscribers:
            subscriber(changes, revision)
