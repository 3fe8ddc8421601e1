"""Passes one HTTP request on and its answer back, both as they come: nothing is kept but what is on its way.

An answer that switches protocols turns both connections into plain bytes, whatever the protocol is.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from controlplane.server.outward import headers, links
from controlplane.server.rest_takeover import take_over
from mizzen.api.errors import InternalError, ServiceUnavailable

WRITE_S = 60.0
"""How long a client may take to read one piece, in seconds."""
PAGE_MAX_BYTES = 4 * 1024 * 1024
"""Larger pages are passed back with the links that they have."""
_READ_BYTES = 64 * 1024
_SWITCHED = 101
_GZIP_OR_ZLIB = 47

Answer = Callable[[aiohttp.ClientResponse], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True, slots=True)
class Passed:
    """How a request is passed on."""

    url: URL
    headers: CIMultiDict[str]
    mount: links.Mount | None = None
    """Where the answer's links have to lead; None leaves them as they are."""
    redirects: bool = True
    """Whether the answer may send the client elsewhere."""
    begins_s: float | None = None
    """How long the answer may take to begin, in seconds; None for as long as it likes."""


async def pass_on(request: web.Request, client: aiohttp.ClientSession, how: Passed) -> web.StreamResponse:
    """Answer a request with what the other side answers. Raises ServiceUnavailable where that cannot be had."""
    body = request.content if request.can_read_body else None
    try:
        async with asyncio.timeout(how.begins_s):
            answer = await client.request(
                request.method, how.url, headers=how.headers, data=body, allow_redirects=False
            )  # fmt: skip
    except TimeoutError as error:
        why = "net/http: timeout awaiting response headers"
        raise ServiceUnavailable(f"error trying to reach service: {why}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ServiceUnavailable(f"error trying to reach service: {error}") from error
    except ServiceUnavailable as error:
        raise ServiceUnavailable(f"error trying to reach service: {error.message}") from error
    try:
        if answer.status == _SWITCHED:
            return await _switch(request, answer)
        return await _pass_back(request, answer, how)
    finally:
        answer.close()


async def _pass_back(request: web.Request, answer: aiohttp.ClientResponse, how: Passed) -> web.StreamResponse:
    passed = headers.answer_headers(answer.headers, sharing=how.mount is None)
    location = passed.get("Location", "")
    if location and not how.redirects and answer.status // 100 == 3:
        message = "the backend attempted to redirect this request, which is not permitted"
        return web.Response(status=502, text=message)
    if location and how.mount is not None:
        passed["Location"] = how.mount.moved(location)
    elif how.mount is not None and answer.content_type == "text/html" and request.method != "HEAD":
        return await _page(request, answer, passed, how.mount)
    return await _stream(request, answer, passed, b"")


async def _stream(
    request: web.Request, answer: aiohttp.ClientResponse, passed: CIMultiDict[str], begun: bytes
) -> web.StreamResponse:
    back = web.StreamResponse(status=answer.status, reason=answer.reason, headers=passed)
    await back.prepare(request)
    try:
        if begun:
            await _write(back, begun)
        async for piece in answer.content.iter_any():
            await _write(back, piece)
        await back.write_eof()
    except (aiohttp.ClientError, OSError, TimeoutError):
        # The client learns from the broken connection that something is missing.
        if request.transport is not None:
            request.transport.abort()
    return back


async def _write(back: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await back.write(piece)


async def _page(
    request: web.Request, answer: aiohttp.ClientResponse, passed: CIMultiDict[str], mount: links.Mount
) -> web.StreamResponse:
    """A page with its links moved, unless it is too large or packed in a way that is not known here."""
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        return await _stream(request, answer, passed, b"")
    taken = bytearray()
    try:
        async for piece in answer.content.iter_any():
            taken += piece
            if len(taken) > PAGE_MAX_BYTES:
                return await _stream(request, answer, passed, bytes(taken))
    except (aiohttp.ClientError, OSError) as error:
        raise ServiceUnavailable(f"error trying to reach service: {error}") from error
    page = bytes(taken) if encoding == "identity" else _unpacked(bytes(taken))
    if page is None:
        return web.Response(body=bytes(taken), status=answer.status, reason=answer.reason, headers=passed)
    for name in ("Content-Length", "Content-Encoding"):
        passed.popall(name, None)
    moved = await asyncio.to_thread(mount.moved_in_html, page)
    return web.Response(body=moved, status=answer.status, reason=answer.reason, headers=passed)


def _unpacked(packed: bytes) -> bytes | None:
    """What was packed; None where it is too large or cannot be unpacked."""
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    with suppress(zlib.error):
        page = unpacker.decompress(packed, PAGE_MAX_BYTES)
        return page if unpacker.eof else None
    return None


# -- other protocols ---------------------------------------------------------------------------------------------------


class _Raw:
    """Stands for a parser in aiohttp's connection and hands everything on unread."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if data:
            self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def _switch(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    connection = answer.connection
    if connection is None or connection.transport is None or connection.protocol is None:
        raise InternalError("the connection was lost while the protocol was switched")
    reader = asyncio.StreamReader(_READ_BYTES)
    reader.set_transport(connection.transport)
    connection.protocol.set_parser(_Raw(reader), reader)
    writer = asyncio.StreamWriter(connection.transport, connection.protocol, reader, asyncio.get_running_loop())
    back, client_reader, client_writer = await take_over(request, headers.switched_headers(answer.headers))
    tasks = [asyncio.create_task(_copy(reader, client_writer)), asyncio.create_task(_copy(client_reader, writer))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client_writer.close()
    return back


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
