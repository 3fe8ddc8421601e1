"""Takes the connection of a request that has switched protocols.

After `101 Switching Protocols` the connection is no HTTP any more, so the transport gets another protocol: asyncio's
own one for streams. That is asyncio's way, the same for plain and for TLS transports and for every event loop. aiohttp
is told of the connection's end when the handler is done; until then it would cancel the handler for it, and a client
that leaves is the usual end here.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web
from multidict import CIMultiDict

from controlplane.server.audit import response_started

READ_BYTES = 64 * 1024
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""After how many seconds of silence a machine is asked for signs of life, how often, and how many times."""

Taken = tuple[web.StreamResponse, asyncio.StreamReader, asyncio.StreamWriter]


async def take_over(request: web.Request, headers: CIMultiDict[str] | dict[str, str]) -> Taken:
    """Answer that the protocols are switched, and take the connection. Raises ConnectionResetError."""
    transport, task = request.transport, asyncio.current_task()
    if transport is None or task is None:
        raise ConnectionResetError("the client has left before the upgrade")
    answer = web.StreamResponse(status=101, headers=headers)
    answer.force_close()
    keep_alive(transport)
    reader = asyncio.StreamReader(READ_BYTES)
    taken = _Taken(reader, request.protocol)
    task.add_done_callback(taken.give_back)
    transport.set_protocol(taken)
    taken.connection_made(transport)
    await answer.prepare(request)
    response_started()
    return answer, reader, asyncio.StreamWriter(transport, taken, reader, asyncio.get_running_loop())


def keep_alive(transport: asyncio.Transport) -> None:
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
