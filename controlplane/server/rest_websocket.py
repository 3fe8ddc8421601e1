"""Commands and ports over WebSocket, in the framing `v4.channel.k8s.io` and `v5.channel.k8s.io`.

A message's first byte is a channel: 0 to 4 as in `streams.Channel`. In v5 the channel 255 with one byte says that the
client has closed that channel. For ports, channel 2i is the data of the i-th port and 2i+1 its errors, and the first
message on each is the port's number in two bytes, low byte first.

SPDY, which older clients upgrade to, stands in `rest_spdy`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from controlplane.server.rest_log import refusal
from controlplane.server.streams import Channel, Piece, Session
from mizzen.api import codec
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.types import meta_v1 as meta

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_CLOSE = 255
HEARTBEAT_S = 30.0
"""Time between the pings that find out whether the client is still there, in seconds."""

Open = Callable[[], Awaitable[Session]]
OpenPort = Callable[[int], Awaitable[Session]]


def _socket(request: web.Request) -> web.WebSocketResponse:
    """The socket that the request asks for. Raises BadRequest when it asks for something else."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadRequest(
            "Upgrade request required: ask with `Connection: Upgrade` and `Upgrade: websocket` or `SPDY/3.1`"
        )
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if not any(protocol in offered for protocol in PROTOCOLS):
        raise BadRequest(f"unable to upgrade: this server speaks {' and '.join(PROTOCOLS)}, not {offered}")
    return web.WebSocketResponse(protocols=PROTOCOLS, heartbeat=HEARTBEAT_S, compress=False)


async def serve_command(request: web.Request, open_: Open) -> web.StreamResponse:
    """Carry a command's channels until it ends or the client leaves."""
    socket = _socket(request)
    session = await open_()
    try:
        await socket.prepare(request)
        tasks = [asyncio.create_task(_receive(socket, session)), asyncio.create_task(_send(socket, session))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when the client is cut off, which cancels this handler: nothing else would end them.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()
    finally:
        await session.close()
    return socket


async def _send(socket: web.WebSocketResponse, session: Session) -> None:
    async for piece in session.pieces():
        if piece.channel is Channel.STATUS:
            await socket.send_bytes(b"\x03" + piece.data)
            return
        if piece.data:
            await socket.send_bytes(bytes((piece.channel,)) + piece.data)
    await socket.send_bytes(b"\x03" + codec.encode_json(_lost()))


def _lost() -> meta.Status:
    return meta.Status(
        status="Failure", reason="InternalError", message="the connection to the node was lost", code=500
    )


async def _receive(socket: web.WebSocketResponse, session: Session) -> None:
    """Passes input on; ends when the client leaves."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _CLOSE:
            if data == b"\x00":
                await session.send(Piece(Channel.STDIN, b"", end=True))
        elif channel in (Channel.STDIN, Channel.RESIZE):
            await session.send(Piece(Channel(channel), data))


class _Ports:
    """The connections of one port-forward."""

    def __init__(self, socket: web.WebSocketResponse, ports: list[int], open_: OpenPort) -> None:
        self._socket = socket
        self._ports = ports
        self._open = open_
        self._sessions: dict[int, Session] = {}

    async def run(self) -> None:
        """Carry all of them until the client leaves."""
        for place, port in enumerate(self._ports):
            number = struct.pack("<H", port)
            await self._socket.send_bytes(bytes((2 * place,)) + number)
            await self._socket.send_bytes(bytes((2 * place + 1,)) + number)
            try:
                self._sessions[place] = await self._open(port)
            except ApiError as error:
                await self._refuse(place, error)
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(self._send(place, session)) for place, session in self._sessions.items()]
            await self._receive()
            for sender in senders:
                sender.cancel()

    async def close(self) -> None:
        """Leave every connection."""
        for session in self._sessions.values():
            await session.close()

    async def _send(self, place: int, session: Session) -> None:
        async for piece in session.pieces():
            if piece.channel is Channel.STDOUT and piece.data:
                await self._socket.send_bytes(bytes((2 * place,)) + piece.data)
            elif piece.channel is Channel.STATUS and (error := refusal(piece.data)) is not None:
                await self._refuse(place, error)

    async def _refuse(self, place: int, error: ApiError) -> None:
        await self._socket.send_bytes(bytes((2 * place + 1,)) + error.message.encode())

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            place, is_error = divmod(message.data[0], 2)
            session = self._sessions.get(place)
            if session is not None and not is_error:
                await session.send(Piece(Channel.STDIN, message.data[1:]))


async def serve_ports(request: web.Request, ports: list[int], open_: OpenPort) -> web.StreamResponse:
    """Carry connections to ports until the client leaves."""
    socket = _socket(request)
    await socket.prepare(request)
    forward = _Ports(socket, ports, open_)
    try:
        await forward.run()
        await socket.close()
    finally:
        await forward.close()
    return socket
