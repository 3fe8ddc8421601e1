"""Commands and ports over WebSocket, in the framings of `channel.k8s.io`.

A message's first byte is a channel: 0 to 4 as in `streams.Channel`. In v5 the channel 255 with one byte says that the
client has closed that channel. For ports, channel 2i is the data of the i-th port and 2i+1 its errors, and the first
message on each is the port's number in two bytes, low byte first.

In `base64` the channel is a digit and what follows is base64, for clients that know text alone. A client that names no
protocol gets the oldest one; in that, what is said last of a command that failed is words and no Status.

SPDY, which older clients upgrade to, stands in `rest_spdy`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import WSMsgType, web

from controlplane.server.audit import response_started
from controlplane.server.rest_log import refusal
from controlplane.server.streams import Channel, Piece, Session
from mizzen.api import codec
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.types import meta_v1 as meta

PROTOCOLS = (
    "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io",
)  # fmt: skip
_WITH_STATUS = PROTOCOLS[:3]
_BASE64 = "base64.channel.k8s.io"
_BEARER = "base64url.bearer.authorization.k8s.io."
_NOBODYS = "Bearer ?"
_CLOSE = 255
_ZERO = ord("0")
HEARTBEAT_S = 30.0
"""Time between the pings that find out whether the client is still there, in seconds."""

Open = Callable[[], Awaitable[Session]]
OpenPort = Callable[[int], Awaitable[Session]]


def offered(request: web.Request) -> list[str]:
    """The protocols that a request names, without the one that carries a token."""
    named = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return [word for word in map(str.strip, named) if word and not word.startswith(_BEARER)]


def authorization_of(request: web.Request) -> str:
    """The Authorization of a request; browsers can't send the header over WebSocket and name a protocol instead.

    A token in base64url without padding follows the protocol's name. One that can't be read is nobody's.
    """
    if (header := request.headers.get("Authorization", "")) or not asks_for_socket(request):
        return header
    named = map(str.strip, request.headers.get("Sec-WebSocket-Protocol", "").split(","))
    found = next((word for word in named if word.startswith(_BEARER)), "")
    if not found:
        return ""
    if not offered(request):
        # The answer must name a protocol, and this one would give the token away.
        return _NOBODYS
    sent = found.removeprefix(_BEARER)
    try:
        return f"Bearer {base64.urlsafe_b64decode(sent + '=' * (-len(sent) % 4)).decode()}"
    except ValueError:
        return _NOBODYS


def asks_for_socket(request: web.Request) -> bool:
    """Whether a request wants to go on over WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


class _Framed:
    """A socket whose messages have channels."""

    def __init__(self, request: web.Request) -> None:
        """Over what the request asks for. Raises BadRequest when it asks for something else."""
        if not asks_for_socket(request):
            raise BadRequest(
                "Upgrade request required: ask with `Connection: Upgrade` and `Upgrade: websocket` or `SPDY/3.1`"
            )
        named = offered(request)
        chosen = next((protocol for protocol in PROTOCOLS if protocol in named), "")
        if not chosen and named:
            raise BadRequest(f"unable to upgrade: this server speaks {', '.join(PROTOCOLS)}, not {named}")
        self._request = request
        self.has_status = chosen in _WITH_STATUS
        """Whether a command's end is told as a Status."""
        self._in_base64 = chosen.endswith(_BASE64)
        spoken = (chosen,) if chosen else ()
        self._socket = web.WebSocketResponse(protocols=spoken, heartbeat=HEARTBEAT_S, compress=False)

    async def open(self) -> None:
        """Answer the request."""
        await self._socket.prepare(self._request)
        response_started()

    async def send(self, channel: int, data: bytes) -> None:
        """Say something on a channel."""
        if self._in_base64:
            await self._socket.send_str(chr(_ZERO + channel) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)

    async def messages(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the client says and on which channel; ends when it leaves or says what can't be read."""
        async for message in self._socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT) or not message.data:
                continue
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            if not self._in_base64:
                yield data[0], data[1:]
                continue
            try:
                yield data[0] - _ZERO, base64.b64decode(data[1:], validate=True)
            except binascii.Error:
                return

    async def close(self) -> web.WebSocketResponse:
        """End it; gives the answer."""
        await self._socket.close()
        return self._socket


async def serve_command(request: web.Request, open_: Open) -> web.StreamResponse:
    """Carry a command's channels until it ends or the client leaves."""
    socket = _Framed(request)
    session = await open_()
    try:
        await socket.open()
        tasks = [asyncio.create_task(_receive(socket, session)), asyncio.create_task(_send(socket, session))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when the client is cut off, which cancels this handler: nothing else would end them.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await socket.close()
    finally:
        await session.close()


async def _send(socket: _Framed, session: Session) -> None:
    async for piece in session.pieces():
        if piece.channel is Channel.STATUS:
            return await _tell_end(socket, piece.data)
        if piece.data:
            await socket.send(piece.channel, piece.data)
    return await _tell_end(socket, codec.encode_json(_lost()))


async def _tell_end(socket: _Framed, status: bytes) -> None:
    if socket.has_status:
        await socket.send(Channel.STATUS, status)
    elif (error := refusal(status)) is not None:
        await socket.send(Channel.STATUS, error.message.encode())


def _lost() -> meta.Status:
    return meta.Status(
        status="Failure", reason="InternalError", message="the connection to the node was lost", code=500
    )


async def _receive(socket: _Framed, session: Session) -> None:
    """Passes input on; ends when the client leaves."""
    async for channel, data in socket.messages():
        if channel == _CLOSE:
            if data == b"\x00":
                await session.send(Piece(Channel.STDIN, b"", end=True))
        elif channel in (Channel.STDIN, Channel.RESIZE):
            await session.send(Piece(Channel(channel), data))


class _Ports:
    """The connections of one port-forward."""

    def __init__(self, socket: _Framed, ports: list[int], open_: OpenPort) -> None:
        self._socket = socket
        self._ports = ports
        self._open = open_
        self._sessions: dict[int, Session] = {}

    async def run(self) -> None:
        """Carry all of them until the client leaves."""
        for place, port in enumerate(self._ports):
            number = struct.pack("<H", port)
            await self._socket.send(2 * place, number)
            await self._socket.send(2 * place + 1, number)
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
                await self._socket.send(2 * place, piece.data)
            elif piece.channel is Channel.STATUS and (error := refusal(piece.data)) is not None:
                await self._refuse(place, error)

    async def _refuse(self, place: int, error: ApiError) -> None:
        await self._socket.send(2 * place + 1, error.message.encode())

    async def _receive(self) -> None:
        async for channel, data in self._socket.messages():
            place, is_error = divmod(channel, 2)
            session = self._sessions.get(place)
            if session is not None and not is_error:
                await session.send(Piece(Channel.STDIN, data))


async def serve_ports(request: web.Request, ports: list[int], open_: OpenPort) -> web.StreamResponse:
    """Carry connections to ports until the client leaves."""
    socket = _Framed(request)
    await socket.open()
    forward = _Ports(socket, ports, open_)
    try:
        await forward.run()
        return await socket.close()
    finally:
        await forward.close()
