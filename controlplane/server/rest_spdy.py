"""Commands and ports over SPDY/3.1: what older kubectl upgrades to, and what all of them forward ports with.

kubectl up to 1.29 asks for a command with `POST` and `Upgrade: SPDY/3.1`; so do newer ones whose WebSocket is refused.
kubectl up to 1.30 forwards ports that way, newer ones with the same bytes in WebSocket messages (the *tunnel*).

What it is not: the protocol (`spdy`, `spdy_frames`), or who reads and writes the streams (`spdy_sessions`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiohttp import WSMsgType, web

from controlplane.server.rest_takeover import READ_BYTES, keep_alive, take_over
from controlplane.server.rest_websocket import Open, OpenPort
from controlplane.server.spdy_link import Wire, serve
from controlplane.server.spdy_sessions import Command, Forward
from mizzen.api.errors import BadRequest

_LOG = structlog.get_logger(__name__)

SPDY = "SPDY/3.1"
COMMAND_PROTOCOL = "v4.channel.k8s.io"
PORTS_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = f"{SPDY}+{PORTS_PROTOCOL}"
_VERSION = "X-Stream-Protocol-Version"


def asks_for_spdy(request: web.Request) -> bool:
    """Whether the request wants to upgrade to SPDY."""
    return request.headers.get("Upgrade", "").lower() == SPDY.lower()


def asks_for_tunnel(request: web.Request) -> bool:
    """Whether the request wants SPDY in WebSocket messages."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return TUNNEL_PROTOCOL in (name.strip() for name in offered)


async def serve_command(request: web.Request, open_: Open, ends: frozenset[str]) -> web.StreamResponse:
    """Carry a command's channels until it ends or the client leaves. Raises BadRequest, and what `open_` raises."""
    _check(request, COMMAND_PROTOCOL)
    session = await open_()
    try:
        answer, wire = await _take_over(request, COMMAND_PROTOCOL)
        await _run(wire, Command(session, ends))
    finally:
        await session.close()
    return answer


async def serve_ports(request: web.Request, open_: OpenPort) -> web.StreamResponse:
    """Carry connections to ports until the client leaves. Raises BadRequest."""
    if asks_for_tunnel(request):
        # No pings of WebSocket: they are not answered while the client is held up, SPDY's own need no answer.
        messages = web.WebSocketResponse(protocols=(TUNNEL_PROTOCOL,), compress=False)
        await messages.prepare(request)
        if request.transport is not None:
            keep_alive(request.transport)
        await _run(_Tunnel(messages), Forward(open_))
        return messages
    _check(request, PORTS_PROTOCOL)
    answer, wire = await _take_over(request, PORTS_PROTOCOL)
    await _run(wire, Forward(open_))
    return answer


def _check(request: web.Request, protocol: str) -> None:
    """Raise BadRequest unless the client speaks the protocol that is spoken inside SPDY."""
    offered = [name.strip() for line in request.headers.getall(_VERSION, ()) for name in line.split(",")]
    if protocol not in offered:
        raise BadRequest(f"unable to upgrade: {_VERSION} offers {offered}, this server speaks {protocol}")


async def _run(wire: Wire, user: Command | Forward) -> None:
    """Serve until the end. Raises nothing but cancelling: there is no way any more to answer with an error."""
    try:
        await serve(wire, user.run)
    except TimeoutError as error:
        _LOG.info("spdy_incomplete", error=str(error), hint="the client has not opened its streams in time")
    except Exception:
        _LOG.exception("spdy_failed")


async def _take_over(request: web.Request, protocol: str) -> tuple[web.StreamResponse, Wire]:
    headers = {"Connection": "Upgrade", "Upgrade": SPDY, _VERSION: protocol}
    answer, reader, writer = await take_over(request, headers)
    return answer, _Connection(reader, writer)


class _Connection:
    """The connection itself as a wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def lost(self) -> None:
        with suppress(OSError):
            await self._writer.wait_closed()

    async def close(self) -> None:
        self._writer.close()


class _Tunnel:
    """WebSocket messages as a wire; where one ends and the next begins means nothing."""

    def __init__(self, messages: web.WebSocketResponse) -> None:
        self._messages = messages

    async def read(self) -> bytes:
        while (message := await self._messages.receive()).type is WSMsgType.BINARY:
            if message.data:
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        await self._messages.send_bytes(data)

    async def lost(self) -> None:
        await asyncio.Event().wait()  # aiohttp cancels the handler.

    async def close(self) -> None:
        await self._messages.close()
