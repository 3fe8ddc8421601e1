"""Makes connections to targets: from here over TCP, or through the session of the agent whose node can reach them.

What comes out is a connected socket in both cases, so that TLS, HTTP and anything else that speaks over sockets need
not know. Behind one that an agent carries stands a pair of sockets; the kernel's buffers between them are all that
waits, and a reader who is slow slows the sender down.

Closing ends both directions: who needs one direction ended and the other open says so in its own protocol.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import structlog

from controlplane.server.outward.targets import Target
from controlplane.server.rest_log import refusal
from controlplane.server.streams import Channel, Piece, Session, Streams
from mizzen.api.errors import ServiceUnavailable

_LOG = structlog.get_logger(__name__)

CONNECT_S = 15.0
"""How long a connection may take to be made, in seconds."""
_READ_BYTES = 64 * 1024


class Dialer:
    """Makes connections; one per process."""

    def __init__(self, streams: Streams | None = None) -> None:
        """Reach what nodes reach through `streams`."""
        self._streams = streams
        self._carried: set[asyncio.Task[None]] = set()

    def carry(self, streams: Streams) -> None:
        """From now on reach what nodes reach through `streams`."""
        self._streams = streams

    async def connect(self, target: Target) -> socket.socket:
        """A connected socket that does not block. Raises ServiceUnavailable, or Timeout for a silent agent."""
        try:
            async with asyncio.timeout(CONNECT_S):
                return await (self._through(target) if target.node else _plain(target))
        except TimeoutError as error:
            raise ServiceUnavailable(f"dial tcp {target.address}: i/o timeout") from error
        except OSError as error:
            raise ServiceUnavailable(f"dial tcp {target.address}: {error}") from error

    async def dial(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The same for who reads and writes bytes."""
        return await asyncio.open_connection(sock=await self.connect(target))

    async def close(self) -> None:
        """End what agents carry."""
        for task in self._carried:
            task.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)

    async def _through(self, target: Target) -> socket.socket:
        if self._streams is None:
            raise ServiceUnavailable(f"node {target.node!r} cannot be reached before the server is up")
        session = await self._streams.open_connection(target.node, target.host, target.port)
        carrier = _Carrier(session)
        try:
            ours = await carrier.begin()
        except BaseException:
            await session.close()
            raise
        task = asyncio.create_task(carrier.run())
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)
        return ours


async def _plain(target: Target) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    last: OSError = OSError("no addresses")
    for family, kind, number, _, address in found:
        sock = socket.socket(family, kind, number)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever state it is in."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class _Carrier:
    """Carries bytes between one of a pair of sockets and a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pieces = session.pieces()

    async def begin(self) -> socket.socket:
        """The other of the pair, once the node has made the connection. Raises ServiceUnavailable."""
        first = await anext(self._pieces, None)
        if first is None:
            raise ServiceUnavailable("the connection to the node was lost")
        if first.channel is Channel.STATUS:
            error = refusal(first.data)
            raise ServiceUnavailable(error.message if error else "the node ended the connection")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return ours

    async def run(self) -> None:
        """Carry until one side ends."""
        tasks = [asyncio.create_task(self._down()), asyncio.create_task(self._up())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self._session.close()
            await hang_up(self._writer)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, OSError):
                _LOG.error("connection_through_node_failed", exc_info=error)

    async def _down(self) -> None:
        while data := await self._reader.read(_READ_BYTES):
            await self._session.send(Piece(Channel.STDIN, data))

    async def _up(self) -> None:
        async for piece in self._pieces:
            if piece.channel is Channel.STATUS:
                return
            if piece.data:
                self._writer.write(piece.data)
                await self._writer.drain()
            if piece.end:
                with suppress(OSError):
                    self._writer.write_eof()
