"""Objects of users' kinds in the version that somebody asks for, where a webhook converts them.

Whoever reads converts before anything else is made of an object, and whoever writes converts back at the very end; in
between all is synchronous, as for every kind. Kinds without such a webhook pass through untouched.

A conversion is kept per stored object and version. Objects that are wanted together go out in one call, and who wants
what is on its way waits for the same call.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from controlplane.admission.reviews import CallFailed
from controlplane.server.webhook_calls import WebhookCalls
from mizzen.api import conversion
from mizzen.api.conversion import BadConversion
from mizzen.api.custom import Conversion, Custom, CustomKind
from mizzen.api.errors import InternalError
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as registration
from mizzen.engine.entry import Change, Entry
from mizzen.engine.values import Ids

TIMEOUT_S = 30
"""How long a webhook may take for a call, in seconds."""
CALL_OBJECTS, CALL_BYTES = 500, 2 * 1024 * 1024
"""Objects in one call: at most this many, and about this many bytes."""
KEPT_BYTES = 32 * 1024 * 1024
"""What is kept of conversions; the one not wanted for longest goes first."""

_Place = tuple[Kind[Any], str, str, int]
"""The version wanted, which is made anew with its definition; a stored object's namespace, name and version."""
_Made = dict[_Place, Entry]


class Conversions:
    """Converts objects; one per process."""

    def __init__(self, calls: WebhookCalls, ids: Ids) -> None:
        """Ask webhooks through `calls`."""
        self._calls = calls
        self._ids = ids
        self._kept: OrderedDict[_Place, Entry] = OrderedDict()
        self._bytes = 0
        self._going: dict[_Place, asyncio.Task[_Made]] = {}

    async def entries(self, kind: Kind[Any], entries: Sequence[Entry]) -> Sequence[Entry]:
        """Stored entries in the form of `kind`. Raises InternalError where the webhook fails."""
        how = _how(kind)
        if how is None:
            return entries
        wanted = {_place(kind, entry): entry for entry in entries if entry.object().form != kind.version}
        if not wanted:
            return entries
        made = await self._all(kind, how, wanted)
        return [made.get(_place(kind, entry), entry) for entry in entries]

    async def changes(self, kind: Kind[Any], changes: Sequence[Change]) -> Sequence[Change]:
        """Changes with their objects in the form of `kind`. Raises InternalError."""
        if _how(kind) is None:
            return changes
        both = [entry for change in changes for entry in (change.entry, change.previous) if entry is not None]
        seen = dict(zip(map(id, both), await self.entries(kind, both), strict=True))
        return [
            Change(one.type, one.version, seen[id(one.entry)], seen[id(one.previous)] if one.previous else None)
            for one in changes
        ]

    async def object(self, kind: Kind[Any], entry: Entry) -> Any:
        """A stored object in the form of `kind`. Raises InternalError."""
        return (await self.entries(kind, (entry,)))[0].object()

    async def shown(self, kind: Kind[Any], obj: Any) -> Any:
        """An object that was just stored in the form of `kind`. Raises InternalError."""
        return await self.to(kind, obj, kind.version)

    async def stored(self, kind: Kind[Any], obj: Any) -> Any:
        """An object in any form in the one in which it is to be stored. Raises InternalError."""
        how = _how(kind)
        return obj if how is None else await self.to(kind, obj, how.storage)

    async def to(self, kind: Kind[Any], obj: Any, version: str) -> Any:
        """An object in the form of a version of the same definition as `kind`. Raises InternalError."""
        how = _how(kind)
        if how is None or not isinstance(obj, Custom) or obj.form == version:
            return obj
        return (await self._asked(kind, how, version, (obj,)))[0]

    async def _all(self, kind: Kind[Any], how: Conversion, wanted: _Made) -> _Made:
        made: _Made = {}
        missing: _Made = {}
        going: dict[_Place, asyncio.Task[_Made]] = {}
        for place, entry in wanted.items():
            if (kept := self._kept.get(place)) is not None:
                self._kept.move_to_end(place)
                made[place] = kept
            elif (task := self._going.get(place)) is not None:
                going[place] = task
            else:
                missing[place] = entry
        for portion in _portions(missing):
            # Others may wait for it, too.
            made |= await asyncio.shield(self._begun(kind, how, portion))
        for place, task in going.items():
            made[place] = (await asyncio.shield(task))[place]
        return made

    def _begun(self, kind: Kind[Any], how: Conversion, portion: _Made) -> asyncio.Task[_Made]:
        """A call for entries, which goes on when whoever wanted it first has left."""
        task = asyncio.create_task(self._converted(kind, how, portion))
        self._going |= dict.fromkeys(portion, task)

        def ended(_: asyncio.Task[_Made]) -> None:
            for place in portion:
                del self._going[place]
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        return task

    async def _converted(self, kind: Kind[Any], how: Conversion, portion: _Made) -> _Made:
        found: _Made = {}
        objects = [entry.object() for entry in portion.values()]
        made = await self._asked(kind, how, kind.version, objects)
        for (place, entry), obj in zip(portion.items(), made, strict=True):
            raw = conversion.encoded(obj)
            found[place] = Entry(entry.kind, entry.namespace, entry.name, entry.version, raw, obj)
            self._keep(place, found[place])
        return found

    def _keep(self, place: _Place, entry: Entry) -> None:
        self._kept[place] = entry
        self._bytes += len(entry.raw)
        while self._bytes > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.raw)

    async def _asked(self, kind: Kind[Any], how: Conversion, version: str, objects: Sequence[Custom]) -> list[Custom]:
        """What the webhook makes of objects. Raises InternalError."""
        uid, review = self._ids.uid("review"), conversion.review_version(how.webhook.conversion_review_versions)
        wanted = f"{kind.group}/{version}"
        body = conversion.review(uid, review, wanted, [conversion.encoded(obj) for obj in objects])
        config = how.webhook.client_config or registration.WebhookClientConfig()
        said = f"conversion webhook for {objects[0].api_version}, Kind={kind.kind}"
        try:
            answer = await self._calls.call(config, body, TIMEOUT_S)
            values = conversion.answered(answer, uid, review, len(objects))
            return [conversion.converted(*one, kind, version) for one in zip(values, objects, strict=True)]
        except CallFailed as error:
            raise InternalError(f"{said} failed: {error}") from error
        except BadConversion as error:
            raise InternalError(f"{said}{error}") from error


def _how(kind: Kind[Any]) -> Conversion | None:
    return kind.conversion if isinstance(kind, CustomKind) else None


def _place(kind: Kind[Any], entry: Entry) -> _Place:
    return (kind, entry.namespace, entry.name, entry.version)


def _portions(missing: _Made) -> Iterator[_Made]:
    """The entries in as many calls as they need."""
    portion: _Made = {}
    size = 0
    for place, entry in missing.items():
        portion[place] = entry
        size += len(entry.raw)
        if len(portion) >= CALL_OBJECTS or size >= CALL_BYTES:
            yield portion
            portion, size = {}, 0
    if portion:
        yield portion
