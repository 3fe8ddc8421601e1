"""Commands and ports over SPDY/3.1: what older kubectl upgrades to, and what all of them forward ports with.

kubectl up to 1.29 asks for a command with `POST` and `Upgrade: SPDY/3.1`; so do newer ones whose WebSocket is refused.
kubectl up to 1.30 forwards ports that way, newer ones with the same bytes in WebSocket messages (the *tunnel*).

What it is not: the protocol (`spdy`, `spdy_frames`), or who reads and writes the streams (`spdy_sessions`).

After `101 Switching Protocols` the connection is no HTTP any more, so the transport gets another protocol: asyncio's
own one for streams. That is asyncio's way, the same for plain and for TLS transports and for every event loop. aiohttp
is told of the connection's end when the handler is done; until then it would cancel the handler for it, and a client
that leaves is the usual end here.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import structlog
from aiohttp import WSMsgType, web

from controlplane.server.rest_websocket import Open, OpenPort
from controlplane.server.spdy_link import Wire, serve
from controlplane.server.spdy_sessions import Command, Forward
from mizzen.api.errors import BadRequest

_LOG = structlog.get_logger(__name__)

SPDY = "SPDY/3.1"
COMMAND_PROTOCOL = "v4.channel.k8s.io"
PORTS_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = f"{SPDY}+{PORTS_PROTOCOL}"
READ_BYTES = 64 * 1024
_VERSION = "X-Stream-Protocol-Version"
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""After how many seconds of silence a machine is asked for signs of life, how often, and how many times."""


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
            _keep_alive(request.transport)
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
    """Answer that the protocols are switched, and take the connection. Raises ConnectionResetError."""
    transport, task = request.transport, asyncio.current_task()
    if transport is None or task is None:
        raise ConnectionResetError("the client has left before the upgrade")
    answer = web.StreamResponse(status=101, headers={"Connection": "Upgrade", "Upgrade": SPDY, _VERSION: protocol})
    answer.force_close()
    _keep_alive(transport)
    reader = asyncio.StreamReader(READ_BYTES)
    taken = _Taken(reader, request.protocol)
    task.add_done_callback(taken.give_back)
    transport.set_protocol(taken)
    taken.connection_made(transport)
    await answer.prepare(request)
    return answer, _Connection(reader, asyncio.StreamWriter(transport, taken, reader, asyncio.get_running_loop()))


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the kernel find out that a machine has gone without a word."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Taken(asyncio.StreamReaderProtocol):
    """The protocol of a connection that HTTP has given away."""

    def __init__(self, reader: asyncio.StreamReader, http: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._http = http
        self._kept = True
        self._lost: tuple[Exception | None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost = (exc,)
        self._tell()

    def give_back(self, _: asyncio.Future[object]) -> None:
        """The handler is done; from now on aiohttp hears of the end of the connection."""
        self._kept = False
        self._tell()

    def _tell(self) -> None:
        if self._lost is not None and not self._kept:
            self._http.connection_lost(*self._lost)


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
