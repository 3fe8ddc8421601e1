"""What SPDY streams are for: one command in a container, or connections to ports of a pod.

A command has a stream for each of its ends, told apart by the header `streamtype`: `error`, `stdin`, `stdout`,
`stderr`, `resize`. The last word on `error` is a Status (this is `v4.channel.k8s.io`).

Each connection to a port is a pair of streams, told apart by `streamtype` (`error`, `data`) and held together by
`requestid`; `port` is the port. What is said on `error` is an error message.

What it is not: the upgrade (`rest_spdy`), or the carrying of bytes (`spdy_link`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from controlplane.server.rest_log import refusal
from controlplane.server.spdy_frames import Reason
from controlplane.server.spdy_link import Link, Stream, StreamReset
from controlplane.server.streams import Channel, Piece, Session
from mizzen.api import codec
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.types import meta_v1 as meta

_LOG = structlog.get_logger(__name__)

CREATE_S = 30.0
"""How long a client may take to open the streams that belong together, in seconds."""
RESIZE_MAX_BYTES = 1024
"""How long a message of a terminal's size may be."""
LOST = "the connection to the node was lost"
OpenPort = Callable[[int], Awaitable[Session]]


class Command:
    """One command: a session whose channels are streams."""

    def __init__(self, session: Session, ends: frozenset[str]) -> None:
        """`ends` are the types of the streams that the client has announced."""
        self._session = session
        self._ends = ends | {"error"}
        self._streams: dict[str, Stream] = {}

    async def run(self, link: Link) -> None:
        """Carry the channels until the command has ended. Raises TimeoutError if the streams do not come."""
        async with asyncio.timeout(CREATE_S):
            await self._collect(link)
        async with asyncio.TaskGroup() as group:
            inputs = [group.create_task(_refuse_more(link))]
            if stdin := self._streams.get("stdin"):
                inputs.append(group.create_task(_copy_stdin(stdin, self._session)))
            if resize := self._streams.get("resize"):
                inputs.append(group.create_task(_copy_sizes(resize, self._session)))
            await self._copy_output()
            for task in inputs:
                task.cancel()

    async def _collect(self, link: Link) -> None:
        while len(self._streams) < len(self._ends):
            stream = await link.accept()
            if stream is None:
                await asyncio.Event().wait()  # The client is leaving; the end of the link ends this.
                return
            kind = stream.headers.get("streamtype", "")
            if kind in self._ends and kind not in self._streams:
                self._streams[kind] = stream
            else:
                stream.reset(Reason.PROTOCOL_ERROR)

    async def _copy_output(self) -> None:
        outputs = {Channel.STDOUT: self._streams.get("stdout"), Channel.STDERR: self._streams.get("stderr")}
        status = codec.encode_json(meta.Status(status="Failure", reason="InternalError", message=LOST, code=500))
        async for piece in self._session.pieces():
            if piece.channel is Channel.STATUS:
                status = piece.data
                break
            if stream := outputs.get(piece.channel):
                await _say(stream, piece.data)
        for output in outputs.values():
            if output is not None:
                output.finish()
        await _say(self._streams["error"], status)
        self._streams["error"].finish()


async def _say(stream: Stream, data: bytes) -> None:
    """Write to a stream; what the client no longer wants is dropped."""
    with suppress(StreamReset):
        await stream.write(data)


async def _refuse_more(link: Link) -> None:
    while (stream := await link.accept()) is not None:
        stream.reset(Reason.REFUSED_STREAM)


async def _copy_stdin(stream: Stream, session: Session) -> None:
    with suppress(StreamReset):
        while data := await stream.read():
            await session.send(Piece(Channel.STDIN, data))
    await session.send(Piece(Channel.STDIN, b"", end=True))


async def _copy_sizes(stream: Stream, session: Session) -> None:
    """One JSON object a line; a line need not come in one piece, nor alone."""
    rest = b""
    with suppress(StreamReset):
        while data := await stream.read():
            *lines, rest = (rest + data).split(b"\n")
            for line in filter(None, lines):
                await session.send(Piece(Channel.RESIZE, line))
            if len(rest) > RESIZE_MAX_BYTES:
                stream.reset(Reason.PROTOCOL_ERROR)


class _Pair:
    """The two streams of one connection to a port."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.complete = asyncio.Event()

    def add(self, kind: str, stream: Stream) -> None:
        if kind in self.streams:
            stream.reset(Reason.PROTOCOL_ERROR)
            return
        self.streams[kind] = stream
        if len(self.streams) == 2:
            self.complete.set()


class Forward:
    """The connections of one port-forward."""

    def __init__(self, open_: OpenPort) -> None:
        """`open_` opens a session to a port; it may raise ApiError."""
        self._open = open_
        self._pairs: dict[str, _Pair] = {}

    async def run(self, link: Link) -> None:
        """Carry the connections until the client opens no more and all have ended."""
        async with asyncio.TaskGroup() as group:
            while (stream := await link.accept()) is not None:
                kind, name = stream.headers.get("streamtype", ""), stream.headers.get("requestid", "")
                if kind not in ("data", "error") or not name:
                    stream.reset(Reason.PROTOCOL_ERROR)
                    continue
                pair = self._pairs.get(name)
                if pair is None:
                    pair = self._pairs[name] = _Pair()
                    group.create_task(self._serve(name, pair))
                pair.add(kind, stream)

    async def _serve(self, name: str, pair: _Pair) -> None:
        try:
            async with asyncio.timeout(CREATE_S):
                await pair.complete.wait()
            await self._carry(pair.streams["data"], pair.streams["error"])
        except TimeoutError:
            for stream in pair.streams.values():
                stream.reset(Reason.CANCEL)
        finally:
            del self._pairs[name]

    async def _carry(self, data: Stream, error: Stream) -> None:
        message = ""
        try:
            session = await self._open(_port(data))
            try:
                message = await _copy_both_ways(data, session)
            finally:
                await session.close()
        except ApiError as refused:
            message = refused.message
        except StreamReset:
            pass  # The client has left this connection.
        except Exception:
            # One connection must not end the others.
            _LOG.exception("port_forward_failed")
            message = "the connection could not be carried; see the server's log"
        data.ignore()
        data.finish()
        error.ignore()
        await _say(error, message.encode())
        error.finish()


def _port(stream: Stream) -> int:
    """The port that a stream is for. Raises BadRequest."""
    text = stream.headers.get("port", "")
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise BadRequest(f"header `port` must be a number between 1 and 65535, not {text!r}")
    return int(text)


async def _copy_both_ways(stream: Stream, session: Session) -> str:
    """Carry one connection until the pod's side has ended or the client leaves; what went wrong, if anything."""
    upload = asyncio.create_task(_upload(stream, session))
    download = asyncio.create_task(_download(stream, session))
    try:
        await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
        if download.done():
            return download.result()
        upload.result()
        return ""
    finally:
        for task in (upload, download):
            task.cancel()
        await asyncio.gather(upload, download, return_exceptions=True)


async def _upload(stream: Stream, session: Session) -> None:
    """Pass on what the client sends, and the end of it; returns when the client leaves."""
    with suppress(StreamReset):
        while data := await stream.read():
            await session.send(Piece(Channel.STDIN, data))
        await session.send(Piece(Channel.STDIN, b"", end=True))
        await stream.until_reset()


async def _download(stream: Stream, session: Session) -> str:
    """Pass on what the pod sends, and the end of it; the error that it ended with, if any. Raises StreamReset."""
    async for piece in session.pieces():
        if piece.channel is Channel.STATUS:
            error = refusal(piece.data)
            return error.message if error is not None else ""
        if piece.channel is Channel.STDOUT:
            await stream.write(piece.data)
            if piece.end:
                stream.finish()
    return LOST
