"""A container's output as the body of an answer, for as long as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from controlplane.server.audit import response_started
from controlplane.server.streams import Channel, Piece, Session
from mizzen.api import codec
from mizzen.api.errors import ApiError
from mizzen.api.types import meta_v1 as meta

FIRST_S = 1.0
"""How long the answer waits for the node's first word, which may be a refusal, in seconds."""
WRITE_S = 60.0
"""How long a client may not read before its log ends, in seconds."""
_HEADERS = {"Content-Type": "text/plain", "Cache-Control": "no-cache, private"}


def refusal(status_json: bytes) -> ApiError | None:
    """The error that a closing Status tells of; None when all went well."""
    status = codec.decode_stored(status_json, meta.Status) if status_json else meta.Status(status="Success")
    return ApiError.from_status(status) if status.status == "Failure" else None


async def serve_log(request: web.Request, session: Session) -> web.StreamResponse:
    """Answer with what the session brings. Raises the node's error if that is the first thing that comes."""
    try:
        pieces = session.pieces()
        first = asyncio.ensure_future(anext(pieces, None))
        try:
            await asyncio.wait({first}, timeout=FIRST_S)
            if first.done():
                _check(first.result())
            answer = web.StreamResponse(headers=_HEADERS)
            await answer.prepare(request)
            response_started()
            await _copy(await first, pieces, answer)
        finally:
            first.cancel()
        await answer.write_eof()
        return answer
    finally:
        await session.close()


def _check(piece: Piece | None) -> None:
    if piece is not None and piece.channel is Channel.STATUS and (error := refusal(piece.data)) is not None:
        raise error


async def _copy(piece: Piece | None, rest: AsyncIterator[Piece], answer: web.StreamResponse) -> None:
    while piece is not None and piece.channel is not Channel.STATUS:
        if piece.data:
            async with asyncio.timeout(WRITE_S):
                await answer.write(piece.data)
        piece = await anext(rest, None)
    if piece is not None:
        try:
            error = refusal(piece.data)
        except msgspec.DecodeError:
            return
        if error is not None:
            # The answer's code has long been sent; the reader of the text is told in the text.
            await answer.write(f"{error.message}\n".encode())
