"""Asks the name servers outside the cluster, within bounds, and remembers their replies for a short while.

Every question goes out from a socket of its own, so its port is as hard to guess as its id. Servers are tried in the
order given. A reply kept is sent with the lifetimes it came with, which makes them up to half a minute too long.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections import OrderedDict
from collections.abc import Sequence

from nodeagent.network.message import Question, answers_query, lifetime_s

_TRY_S = 2.0
_TOTAL_S = 4.5
"""Less than the 5 s after which a client asks again."""
_AT_ONCE = 256
_KEPT_MOST = 4096
_KEPT_MOST_S = 30
_PORT = 53


class Upstream:
    """Name servers of the outside, each `address` or `address:port`."""

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = tuple(_endpoint(server) for server in servers)
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._asking = 0

    def remembered(self, query: bytes, *, tcp: bool) -> bytes | None:
        """A reply to the same question that is still good, with this query's id."""
        key = _key(query, tcp)
        entry = self._kept.get(key)
        if entry is None:
            return None
        good_until, reply = entry
        if good_until < asyncio.get_running_loop().time():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return query[:2] + reply[2:]

    async def ask(self, query: bytes, question: Question, *, tcp: bool) -> bytes | None:
        """The first server's reply that comes in time; None when none does or too many questions are under way."""
        if self._asking >= _AT_ONCE:
            return None
        self._asking += 1
        try:
            async with asyncio.timeout(_TOTAL_S):
                reply = await self._first_reply(query, question, tcp=tcp)
        except TimeoutError:
            return None
        finally:
            self._asking -= 1
        if reply is not None:
            self._keep(_key(query, tcp), reply)
        return reply

    async def _first_reply(self, query: bytes, question: Question, *, tcp: bool) -> bytes | None:
        own = secrets.token_bytes(2) + query[2:]
        exchange = _over_tcp if tcp else _over_udp
        for host, port in self._servers:
            try:
                async with asyncio.timeout(_TRY_S):
                    reply = await exchange(host, port, own, question)
            except (OSError, asyncio.IncompleteReadError):
                continue
            return query[:2] + reply[2:]
        return None

    def _keep(self, key: bytes, reply: bytes) -> None:
        seconds = lifetime_s(reply, _KEPT_MOST_S)
        if seconds <= 0:
            return
        self._kept[key] = (asyncio.get_running_loop().time() + seconds, reply)
        while len(self._kept) > _KEPT_MOST:
            self._kept.popitem(last=False)


class _Reply(asyncio.DatagramProtocol):
    """Waits for the datagram that answers one query; others are taken for forgeries and dropped."""

    def __init__(self, query: bytes, question: Question) -> None:
        self._query = query
        self._question = question
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and answers_query(data, self._query, self._question):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _over_udp(host: str, port: int, query: bytes, question: Question) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Reply(query, question), remote_addr=(host, port))
    try:
        transport.sendto(query)
        return await protocol.reply
    finally:
        transport.close()


async def _over_tcp(host: str, port: int, query: bytes, question: Question) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        reply = await reader.readexactly(length)
    finally:
        writer.close()
    if not answers_query(reply, query, question):
        raise ConnectionError(f"the name server {host} answered another question")
    return reply


def _endpoint(server: str) -> tuple[str, int]:
    if server.count(":") != 1:
        return server, _PORT  # An IPv4 address alone, or an IPv6 one.
    host, port = server.split(":")
    return host, int(port)


def _key(query: bytes, tcp: bool) -> bytes:
    # The name's spelling stays in the key: it must come back as it was sent.
    return (b"t" if tcp else b"u") + query[2:]
