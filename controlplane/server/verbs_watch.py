"""Watching: the present objects, then every change, filtered by selectors, with bookmarks.

A selector turns changes into others: an object that comes to match is ADDED for this watcher, one that ceases to is
DELETED. A watch ends when its time is up or when it fell too far behind (`Expired`: list again).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from controlplane.server.conversions import Conversions
from controlplane.server.representations import storage
from controlplane.server.verbs_read import NOT_OLDER, Matches, Reads, matcher, not_a_version, version_of
from controlplane.store.history import Watcher
from controlplane.store.registry import Registry
from mizzen.api.errors import BadRequest, FieldError, Invalid, Named
from mizzen.api.kinds import Kind
from mizzen.engine.entry import Change, ChangeType, deletion

TIMEOUT_S = 2700
"""How long a watch lasts when the client names no time, in seconds."""
BOOKMARK_S = 60
"""Time between bookmarks, in seconds."""


Form = Callable[[Sequence[Change]], Awaitable[Sequence[Change]]]
"""Brings changes into the form that a watcher wants."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How to watch; the fields mean what they mean in Kubernetes."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_s: int = TIMEOUT_S


class Batch(NamedTuple):
    """Changes that came together, or a bookmark."""

    changes: Sequence[Change]
    bookmark: int = 0
    """When not 0: everything up to this version has been sent."""
    initial_end: bool = False
    """The bookmark says that the present objects have all been sent."""


class Watch:
    """An open watch; iterate `batches` once."""

    def __init__(
        self,
        watcher: Watcher,
        initial: Sequence[Change],
        version: int,
        matches: Matches | None,
        options: WatchOptions,
        form: Form,
    ) -> None:
        """Begin with `initial` as of `version`, then go on with what `watcher` brings, in the form that is wanted."""
        self._form = form
        self._watcher = watcher
        self._initial = initial
        self._version = version
        self._matches = matches
        self._options = options

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Everything that happens, until the time is up. Raises Expired, or InternalError where converting fails."""
        if self._initial:
            yield Batch(self._initial)
        self._initial = ()
        if self._options.send_initial_events and self._options.allow_bookmarks:
            yield Batch((), self._version, initial_end=True)
        time = asyncio.get_running_loop().time
        end = time() + self._options.timeout_s
        mark_at = time() + BOOKMARK_S if self._options.allow_bookmarks else end
        while (now := time()) < end:
            news = await self._watcher.next(min(end, mark_at) - now)
            changes = await self._form(news.changes)
            if self._matches is not None:
                changes = tuple(_filtered(changes, self._matches))
            if changes:
                yield Batch(changes)
            if self._options.allow_bookmarks and time() >= min(mark_at, end):
                # The last one comes when the time is up, so that the next watch begins where this one ended.
                yield Batch((), news.version)
                mark_at += BOOKMARK_S


def _filtered(changes: Iterable[Change], matches: Matches) -> Iterable[Change]:
    for change in changes:
        before = change.previous is not None and matches(change.previous)
        if change.type is ChangeType.DELETED:
            if before:
                yield change
        elif matches(change.entry):
            yield change if before or change.type is ChangeType.ADDED else _added(change)
        elif before and change.previous is not None:
            yield deletion(change.previous, change.version)


def _added(change: Change) -> Change:
    return Change(ChangeType.ADDED, change.version, change.entry)


_OPTIONS = Named("meta.k8s.io", "listoptions", "ListOptions")


def _check(options: WatchOptions) -> None:
    match = options.resource_version_match
    if options.send_initial_events is None:
        if match:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise Invalid(_OPTIONS, "", [FieldError.forbidden("resourceVersionMatch", why)])
    elif match != NOT_OLDER:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise Invalid(_OPTIONS, "", [FieldError.forbidden("resourceVersionMatch", why)])


async def open_watch(
    reads: Reads,
    registry: Registry,
    conversions: Conversions,
    kind: Kind[Any],
    namespace: str,
    options: WatchOptions,
) -> Watch:
    """Begin to watch. Raises BadRequest, Invalid, Expired, Timeout, or InternalError where converting fails."""
    _check(options)
    matches = matcher(kind, options.label_selector, options.field_selector)
    try:
        wanted = version_of(options.resource_version)
    except BadRequest as error:
        raise Invalid(_OPTIONS, "", [not_a_version(options.resource_version)]) from error
    form = partial(conversions.changes, kind)
    if not options.send_initial_events and wanted:
        return Watch(registry.watch(storage(kind), namespace, wanted), (), wanted, matches, options, form)
    await reads.at_least(options.resource_version)
    version = registry.revision
    entries = () if options.send_initial_events is False else registry.entries(storage(kind), namespace)
    watcher = registry.watch(storage(kind), namespace, version)
    initial = [
        Change(ChangeType.ADDED, entry.version, entry)
        for entry in await conversions.entries(kind, tuple(entries))
        if matches is None or matches(entry)
    ]
    return Watch(watcher, initial, version, matches, options, form)
