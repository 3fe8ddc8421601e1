"""Carries one SPDY connection: a task that reads, one that writes, and whoever uses the streams.

What it is not: the protocol (`spdy`), or where the bytes come from (a `Wire`: the connection itself, or WebSocket
messages).

Nothing grows without bound. What was received and not yet read by its user is counted over all streams; above
`RECEIVED_MAX_BYTES` the wire is not read, so the client is held up by TCP. What is to be sent waits with its sender, a
frame at a time and in turn, until the wire takes it. Answers (a SYN_REPLY, a ping) are sent without waiting, so that
reading goes on while writing is held up; above `OUTPUT_MAX_BYTES` of them reading waits too.

A client that is gone while the wire is not read is found out by pings: TCP refuses the first, and the second fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import structlog

from controlplane.server.spdy import Event, GoneAway, Opened, Received, Reset, SpdyConnection, Widened
from controlplane.server.spdy_frames import Farewell, Reason
from controlplane.server.spdy_headers import SpdyError

_LOG = structlog.get_logger(__name__)

RECEIVED_MAX_BYTES = 1 << 20
"""Received bytes of all streams that wait for their readers."""
SEND_MAX_BYTES = 128 * 1024
"""What waits for the wire before senders wait."""
OUTPUT_MAX_BYTES = 512 * 1024
"""What waits for the wire before even reading waits."""
MERGED_MAX_BYTES = 4096
"""Up to this size pieces are kept as one: many small ones would weigh more than their bytes."""
PING_S = 10.0
"""Time between two pings, in seconds."""
LINGER_S = 60.0
"""How long a client may take to read what is left and to leave after all is said, in seconds."""
FAREWELL_S = 1.0
"""How long the last words may take, in seconds."""


class Wire(Protocol):
    """Where bytes come from and go to."""

    async def read(self) -> bytes:
        """Some bytes; none when the other side is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the other side takes none. Raises ConnectionError."""
        ...

    async def lost(self) -> None:
        """Return when the other side is known to be gone, also while nobody reads."""
        ...

    async def close(self) -> None:
        """Leave; what has been written is still sent."""
        ...


class StreamReset(Exception):
    """The client has reset the stream."""


class Stream:
    """One stream, for one reader and one writer."""

    def __init__(self, link: Link, stream_id: int, headers: Mapping[str, str]) -> None:
        """A stream that the client has opened."""
        self.headers = headers
        self._link = link
        self._id = stream_id
        self._received: deque[bytes] = deque()
        self._ended = False
        self._reset = False
        self._unwanted = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        """The next bytes; none after the last. Raises StreamReset."""
        while not self._received:
            if self._reset:
                raise StreamReset
            if self._ended:
                return b""
            await self._wait()
        data = self._received.popleft()
        self._link.consumed(self._id, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while too much is on the way. Raises StreamReset, also after the stream's end."""
        view = memoryview(data)
        while view:
            sent = await self._link.send(self._id, view)
            view = view[sent:]
            if not sent:
                await self._wait()

    async def until_reset(self) -> None:
        """Return when the client resets the stream."""
        while not self._reset:
            await self._wait()

    def finish(self) -> None:
        """Say that nothing more will be sent; nothing happens if that is said already."""
        self._link.finish(self._id)

    def reset(self, reason: Reason) -> None:
        """End the stream in both directions."""
        self.ignore()
        self._link.reset(self._id, reason)
        self._reset = True
        self._changed.set()

    def ignore(self) -> None:
        """Drop what has come and comes; nobody reads any more."""
        self._unwanted = True
        while self._received:
            self._link.consumed(self._id, len(self._received.popleft()))

    def _add(self, data: bytes) -> None:
        if self._received and len(self._received[-1]) + len(data) <= MERGED_MAX_BYTES:
            self._received[-1] += data
        elif data:
            self._received.append(data)

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def met(self, event: Received | Reset | Widened) -> None:
        """Take what the connection says of this stream."""
        match event:
            case Received(_, data, end):
                self._ended |= end
                self._add(data)
            case Reset():
                self._reset = True
        if self._unwanted:
            self.ignore()
        self._changed.set()


class Link:
    """The streams of a connection, and the tasks that carry them."""

    def __init__(self, wire: Wire) -> None:
        """Over a wire at whose other end the first byte is still to come."""
        self._wire = wire
        self._connection = SpdyConnection()
        self._streams: dict[int, Stream] = {}
        self._new: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._received_bytes = 0
        self._may_read = _set_event()
        self._output = asyncio.Event()
        self._may_send = _set_event()
        self._turn = asyncio.Lock()
        self._leaving = False
        self._closing = False

    async def accept(self) -> Stream | None:
        """The next stream that the client opens; None when it opens no more."""
        return await self._new.get()

    def ignore_all(self) -> None:
        """Nobody reads any stream any more, and nobody wants new ones."""
        self._closing = True
        while not self._new.empty():
            if stream := self._new.get_nowait():
                stream.reset(Reason.REFUSED_STREAM)
        for stream in self._streams.values():
            stream.ignore()

    # --------------------------------------------------------------------------------------------- for the streams

    def consumed(self, stream_id: int, count: int) -> None:
        """So many bytes of a stream have been read or dropped."""
        self._received_bytes -= count
        if self._received_bytes <= RECEIVED_MAX_BYTES:
            self._may_read.set()
        self._connection.consumed(stream_id, count)
        self._said()

    async def send(self, stream_id: int, data: memoryview) -> int:
        """Send what may be sent of the data in one frame; how many bytes that was. Raises StreamReset."""
        async with self._turn:
            await self._may_send.wait()
            if not self._connection.writable(stream_id):
                raise StreamReset
            count = min(len(data), self._connection.room(stream_id))
            if count:
                self._connection.send(stream_id, bytes(data[:count]))
                self._said()
            return count

    def finish(self, stream_id: int) -> None:
        """End the sending half of a stream."""
        if self._connection.writable(stream_id):
            self._connection.send(stream_id, b"", end=True)
            self._forget_if_gone(stream_id)
            self._said()

    def reset(self, stream_id: int, reason: Reason) -> None:
        """End a stream."""
        self._connection.reset(stream_id, reason)
        self._forget_if_gone(stream_id)
        self._said()

    def _forget_if_gone(self, stream_id: int) -> None:
        if not self._connection.has(stream_id):
            self._streams.pop(stream_id, None)

    def _said(self) -> None:
        """The connection may have something to send."""
        waiting = self._connection.output_bytes
        if waiting:
            self._output.set()
        if waiting >= SEND_MAX_BYTES:
            self._may_send.clear()

    # --------------------------------------------------------------------------------------------------- the tasks

    async def read_all(self) -> None:
        """Read until the client is gone. Raises SpdyError."""
        while not (self._leaving and not self._connection.streams):
            data = await self._wire.read()
            if not data:
                return
            for event in self._connection.receive(data):
                self._met(event)
            self._said()
            if self._received_bytes > RECEIVED_MAX_BYTES:
                self._may_read.clear()
                await self._may_read.wait()
            if self._connection.output_bytes > OUTPUT_MAX_BYTES:
                await self._may_send.wait()

    def _met(self, event: Event) -> None:
        match event:
            case Opened(stream_id, headers):
                self._opened(Stream(self, stream_id, headers), stream_id)
            case GoneAway():
                self._leaving = True
                self._new.put_nowait(None)
            case Widened(0):
                for stream in self._streams.values():
                    stream.met(event)
            case _:
                self._met_stream(event)

    def _opened(self, stream: Stream, stream_id: int) -> None:
        self._streams[stream_id] = stream
        if self._closing:
            stream.reset(Reason.REFUSED_STREAM)
        else:
            self._new.put_nowait(stream)

    def _met_stream(self, event: Received | Reset | Widened) -> None:
        if isinstance(event, Received):
            self._received_bytes += len(event.data)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.met(event)
            self._forget_if_gone(event.stream_id)
        elif isinstance(event, Received):
            self.consumed(event.stream_id, len(event.data))

    async def write_all(self) -> None:
        """Send whatever is to be sent, for ever. Raises ConnectionError."""
        while True:
            await self._output.wait()
            self._output.clear()
            await self._wire.write(self._connection.take_output())
            if self._connection.output_bytes < SEND_MAX_BYTES:
                self._may_send.set()

    async def ping_all(self) -> None:
        """Ask for signs of life, for ever."""
        while True:
            await asyncio.sleep(PING_S)
            if not self._connection.output_bytes:
                self._connection.ping()
                self._said()

    async def say_farewell(self, reason: Farewell) -> None:
        """Send what is left and the last words, if the wire still takes them."""
        self._connection.go_away(reason)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._wire.write(self._connection.take_output())


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def serve(wire: Wire, use: Callable[[Link], Awaitable[None]]) -> None:
    """Run `use` over the wire, until it has ended and the client has left, or until the client leaves; then close.

    Raises what `use` raises.
    """
    link = Link(wire)
    runs = (link.read_all, link.write_all, wire.lost, link.ping_all)
    reader, writer, lost, pinger = (asyncio.create_task(run()) for run in runs)
    user = asyncio.ensure_future(use(link))
    tasks = (user, reader, writer, lost, pinger)
    reason = Farewell.INTERNAL_ERROR
    try:
        await asyncio.wait({user, reader, writer, lost}, return_when=asyncio.FIRST_COMPLETED)
        if user.done() and user.exception() is None:
            link.ignore_all()
            reason = Farewell.OK
            await asyncio.wait({reader, writer, lost}, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        if reader.done() and isinstance(error := reader.exception(), SpdyError):
            _LOG.info("spdy_broken", error=str(error), error_type=type(error).__name__)
            reason = Farewell.PROTOCOL_ERROR
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.say_farewell(reason)
        await wire.close()
    _raise_of(*tasks)


def _raise_of(*tasks: asyncio.Future[None]) -> None:
    """Raise what has ended a task, unless it is what ends a connection or our own cancelling."""
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SpdyError | ConnectionError):
            raise error
