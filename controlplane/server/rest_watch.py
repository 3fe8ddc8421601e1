"""Watches over HTTP: a frame per change, in a chunked answer that lasts.

In JSON a frame is a line, in protobuf a length and a message; over WebSocket, which some client libraries watch by, it
is a message without a length. The frame of a change is made once and shared by all
watchers of the same form; frames that are ready together go out in one write. A client that reads too slowly is not
waited for: its watch falls out of the window and ends with the error that makes it list again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from controlplane.server import rest_forms
from controlplane.server.audit import response_started
from controlplane.server.negotiate import JSON, PROTOBUF, Output
from controlplane.server.representations import empty
from controlplane.server.rest_answers import headers_of
from controlplane.server.rest_call import Call
from controlplane.server.rest_websocket import HEARTBEAT_S, asks_for_socket, offered
from controlplane.server.tables import render
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_watch import Batch, Watch
from mizzen.api import codec
from mizzen.api.errors import ApiError, Expired, Timeout
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Change, Entry
from mizzen.engine.values import Instant
from mizzen.wire import convert

WRITE_S = 60.0
"""How long a client may take for a portion before its watch ends, in seconds."""
PORTION_BYTES = 256 * 1024
"""What waits for a client to read it, and one frame on top."""
_LENGTH_BYTES = 4
_INITIAL_END = "k8s.io/initial-events-end"


def _line(type_: str, obj: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), obj)


def bookmark(kind: Kind[Any], version: int, *, initial_end: bool) -> Any:
    """An object that says nothing but a version."""
    annotations = {_INITIAL_END: "true"} if initial_end else {}
    metadata = meta.ObjectMeta(resource_version=str(version), annotations=annotations)
    return msgspec.structs.replace(empty(kind), metadata=metadata)


class Frames:
    """The frames of one watch, in the form that its client wants."""

    def __init__(self, kind: Kind[Any], output: Output, include: str, now: Callable[[], Instant]) -> None:
        """Frames for changes of `kind`; rows of tables carry what `include` says."""
        self._kind = kind
        self._what = render.what(kind)
        self._output = output
        self._include = include
        self._now = now
        self._headed = True
        self._key = (kind, f"{output.form} {output.version} {output.media_type}")
        self._binary = output.media_type == PROTOBUF
        self._frame = convert.watch_frame if self._binary else _line

    def of(self, batch: Batch) -> Iterator[bytes]:
        """The frames of a batch, one behind the other, in portions that a client can be expected to take."""
        make = self._row if self._output.form == "table" else self._shared
        frames: list[bytes] = []
        size = 0
        for change in batch.changes:
            frame = make(change)
            frames.append(frame)
            size += len(frame)
            if size >= PORTION_BYTES:
                yield b"".join(frames)
                frames, size = [], 0
        if batch.bookmark:
            frames.append(self._frame("BOOKMARK", self._mark(batch)))
        if frames:
            yield b"".join(frames)

    def singly(self, batch: Batch) -> Iterator[bytes]:
        """The frames of a batch, for where each has a message of its own."""
        make = self._row if self._output.form == "table" else self._shared
        yield from map(make, batch.changes)
        if batch.bookmark:
            yield self._frame("BOOKMARK", self._mark(batch))

    def error(self, error: ApiError) -> bytes:
        """The frame that ends a watch that has failed."""
        return self._frame("ERROR", rest_forms.status_body(self._output, error.status))

    def _shared(self, change: Change) -> bytes:
        """The frame of a change, kept with the change for the other watchers."""
        if change.memo is None:
            change.memo = {}
        frame: bytes | None = change.memo.get(self._key)
        if frame is None:
            frame = change.memo[self._key] = self._frame(change.type, self._object(change.entry))
        return frame

    def _object(self, entry: Entry) -> bytes:
        if self._output.form == "object":
            return rest_forms.entry_body(self._kind, self._output, entry)
        if self._binary:
            return rest_forms.partial_message(entry.object().metadata, self._output.version)
        return render.partial(entry.raw, self._output.version)

    def _mark(self, batch: Batch) -> bytes:
        if self._output.form == "table":
            head = b'{"resourceVersion":"%d"}' % batch.bookmark
            return b"".join(render.table(self._what, list_metadata=head, headed=False))
        mark = bookmark(self._kind, batch.bookmark, initial_end=batch.initial_end)
        return rest_forms.object_body(self._kind, self._output, mark, codec.encode_json(mark), 0, self._include)

    def _row(self, change: Change) -> bytes:
        """A table of one row; the first one says what the columns are."""
        entry, now = change.entry, self._now()
        version = self._output.version
        row = render.rows([rest_forms.row_of(self._kind, entry, now)], now, include=self._include, version=version)
        head = b'{"resourceVersion":"%d"}' % entry.version
        table = row.join(render.table(self._what, list_metadata=head, version=version, headed=self._headed))
        self._headed = False
        return self._frame(change.type, table)


class Watches:
    """The watches that are open over HTTP."""

    def __init__(self, verbs: Verbs) -> None:
        """Watch through `verbs`."""
        self._verbs = verbs
        self._open: set[asyncio.Task[Any]] = set()

    async def serve(self, call: Call, include: str) -> web.StreamResponse:
        """Answer with changes until the watch ends. Raises what opening the watch raises."""
        output = call.output
        frames = Frames(call.kind, output, include, self._verbs.clock.now)
        watch = await self._opened(call)
        socket = _socket(call.request) if asks_for_socket(call.request) else None
        answer = web.StreamResponse(headers=_headers(output)) if socket is None else socket
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await answer.prepare(call.request)
            response_started()
            await (_send(watch, frames, answer) if socket is None else _converse(watch, frames, socket, output))
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            # The client has left or does not read, or the server is stopping: nobody waits for more.
            return answer
        finally:
            self._open.discard(task)
        return answer

    async def _opened(self, call: Call) -> Watch | ApiError:
        """The watch, or why there is none where clients expect to hear that in the watch itself."""
        try:
            return await self._verbs.watch(call.kind, call.place.namespace, call.watch_options)
        except (Expired, Timeout) as error:
            return error

    def end(self) -> None:
        """End all watches, because the server stops."""
        for task in tuple(self._open):
            task.cancel()


def _headers(output: Output) -> dict[str, str]:
    headers = headers_of(output)
    if output.media_type == JSON:
        return headers
    return {**headers, "Content-Type": f"{output.media_type};stream=watch"}


async def _send(watch: Watch | ApiError, frames: Frames, answer: web.StreamResponse) -> None:
    try:
        if isinstance(watch, ApiError):
            raise watch
        async for batch in watch.batches():
            for portion in frames.of(batch):
                async with asyncio.timeout(WRITE_S):
                    await answer.write(portion)
    except ApiError as error:
        await answer.write(frames.error(error))
    await answer.write_eof()


def _socket(request: web.Request) -> web.WebSocketResponse:
    """Whatever protocol the client names first is spoken: there is only this one."""
    return web.WebSocketResponse(protocols=offered(request), heartbeat=HEARTBEAT_S, compress=False)


async def _converse(watch: Watch | ApiError, frames: Frames, socket: web.WebSocketResponse, output: Output) -> None:
    """Send until the watch ends or the client leaves; what it says meanwhile is not heard."""
    tasks = [asyncio.create_task(_ignored(socket)), asyncio.create_task(_tell(watch, frames, socket, output))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await socket.close()


async def _ignored(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


async def _tell(watch: Watch | ApiError, frames: Frames, socket: web.WebSocketResponse, output: Output) -> None:
    async for frame in _each(watch, frames):
        async with asyncio.timeout(WRITE_S):
            if output.media_type == PROTOBUF:
                await socket.send_bytes(frame[_LENGTH_BYTES:])
            else:
                await socket.send_str(frame.decode())


async def _each(watch: Watch | ApiError, frames: Frames) -> AsyncIterator[bytes]:
    try:
        if isinstance(watch, ApiError):
            raise watch
        async for batch in watch.batches():
            for frame in frames.singly(batch):
                yield frame
    except ApiError as error:
        yield frames.error(error)
