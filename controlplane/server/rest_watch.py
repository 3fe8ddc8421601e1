"""Watches over HTTP: one JSON line per change, as a chunked answer that lasts.

The line of a change is made once and shared by all watchers of the same form; lines that are ready together go out in
one write. A client that reads too slowly is not waited for: its watch falls out of the window and ends with the error
that makes it list again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from controlplane.server.negotiate import JSON, Output
from controlplane.server.representations import empty, in_table, shown_raw
from controlplane.server.rest_call import Call
from controlplane.server.tables import render
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_watch import Batch, Watch
from mizzen.api import codec
from mizzen.api.errors import ApiError
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Change
from mizzen.engine.values import Instant

WRITE_S = 60.0
"""How long a client may not read before its watch ends, in seconds."""
_INITIAL_END = "k8s.io/initial-events-end"
_HEADERS = {"Content-Type": JSON, "Cache-Control": "no-cache, private", "Server": "mizzen"}

Lines = Callable[[Batch], bytes]


def _line(type_: str, obj: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), obj)


def change_line(kind: Kind[Any], change: Change) -> bytes:
    """The line of a change of an object in full; kept with the change for the other watchers."""
    if change.memo is None:
        change.memo = {}
    line: bytes | None = change.memo.get(kind)
    if line is None:
        line = change.memo[kind] = _line(change.type, shown_raw(kind, change.entry))
    return line


def bookmark(kind: Kind[Any], version: int, *, initial_end: bool) -> bytes:
    """An object that says nothing but a version."""
    annotations = {_INITIAL_END: "true"} if initial_end else {}
    metadata = meta.ObjectMeta(resource_version=str(version), annotations=annotations)
    return codec.encode_json(msgspec.structs.replace(empty(kind), metadata=metadata))


class _TableLines:
    """Lines that carry one-row tables; the first one says what the columns are."""

    def __init__(self, kind: Kind[Any], version: str, include: str, now: Callable[[], Instant]) -> None:
        self._kind = kind
        self._what = render.what(kind)
        self._version = version
        self._include = include
        self._now = now
        self._headed = True

    def __call__(self, batch: Batch) -> bytes:
        return b"".join(self._lines(batch))

    def _lines(self, batch: Batch) -> list[bytes]:
        lines = [self._row(change) for change in batch.changes]
        if batch.bookmark:
            head = b'{"resourceVersion":"%d"}' % batch.bookmark
            lines.append(_line("BOOKMARK", render.table(self._what, [], 0, list_metadata=head, headed=False)))
        return lines

    def _row(self, change: Change) -> bytes:
        entry = change.entry
        table = render.table(
            self._what,
            [(in_table(self._kind, entry.object()), shown_raw(self._kind, entry))],
            self._now(),
            list_metadata=b'{"resourceVersion":"%d"}' % entry.version,
            include=self._include,
            version=self._version,
            headed=self._headed,
        )
        self._headed = False
        return _line(change.type, table)


def _lines_for(kind: Kind[Any], output: Output, include: str, now: Callable[[], Instant]) -> Lines:
    if output.form == "table":
        return _TableLines(kind, output.version, include, now)

    def mark(batch: Batch) -> bytes:
        return bookmark(kind, batch.bookmark, initial_end=batch.initial_end)

    if output.form == "metadata":

        def partial(batch: Batch) -> bytes:
            lines = [_line(c.type, render.partial(shown_raw(kind, c.entry), output.version)) for c in batch.changes]
            if batch.bookmark:
                lines.append(_line("BOOKMARK", render.partial(mark(batch), output.version)))
            return b"".join(lines)

        return partial

    def whole(batch: Batch) -> bytes:
        lines = [change_line(kind, change) for change in batch.changes]
        if batch.bookmark:
            lines.append(_line("BOOKMARK", mark(batch)))
        return b"".join(lines)

    return whole


class Watches:
    """The watches that are open over HTTP."""

    def __init__(self, verbs: Verbs) -> None:
        """Watch through `verbs`."""
        self._verbs = verbs
        self._open: set[asyncio.Task[Any]] = set()

    async def serve(self, call: Call, include: str) -> web.StreamResponse:
        """Answer with changes until the watch ends. Raises what opening the watch raises."""
        lines = _lines_for(call.kind, call.output, include, self._verbs.clock.now)
        watch = await self._verbs.watch(call.kind, call.place.namespace, call.watch_options)
        answer = web.StreamResponse(headers=_HEADERS)
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await answer.prepare(call.request)
            await _send(watch, lines, answer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            # The client has left or does not read, or the server is stopping: nobody waits for more.
            return answer
        finally:
            self._open.discard(task)
        return answer

    def end(self) -> None:
        """End all watches, because the server stops."""
        for task in tuple(self._open):
            task.cancel()


async def _send(watch: Watch, lines: Lines, answer: web.StreamResponse) -> None:
    try:
        async for batch in watch.batches():
            async with asyncio.timeout(WRITE_S):
                await answer.write(lines(batch))
    except ApiError as error:
        await answer.write(_line("ERROR", codec.encode_json(error.status)))
    await answer.write_eof()
