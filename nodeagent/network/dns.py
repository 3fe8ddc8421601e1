"""The node's name server for its pods: the cluster's names from memory, all others by asking outside.

Answers about the cluster are packed once per question and zone. Before the first zone is known, questions stay without
an answer on purpose: "no such name" would be believed, while silence makes the client ask again.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from ipaddress import IPv4Network
from typing import cast

import dnslib
import structlog

from nodeagent.network import message
from nodeagent.network.answers import CNAME, SERVFAIL, Answer, ClusterNames
from nodeagent.network.message import Question
from nodeagent.network.port import NetworkConfig, NetworkError
from nodeagent.network.upstream import Upstream
from nodeagent.network.zone import DnsZone

_PORT = 53
_PREPARED_MOST = 8192
"""Packed answers that are kept: a few megabytes, and more names than the pods of a node ask for within seconds."""
_CONNECTIONS_MOST = 128
_IDLE_S = 10.0
_log = structlog.get_logger(__name__)


class DnsServer:
    """Serves one address over UDP and TCP from `start` to `stop`."""

    def __init__(self, config: NetworkConfig, port: int = _PORT) -> None:
        self._config = config
        self._port = port
        self._names: ClusterNames | None = None
        self._prepared: dict[tuple[str, int, bool], _Prepared] = {}
        servers = [server for server in config.upstreams if server.partition(":")[0] != config.cluster_dns]
        self._upstream = Upstream(servers)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; NetworkError when the port is taken."""
        host = self._config.cluster_dns
        loop = asyncio.get_running_loop()
        try:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, self._port))
            self._tcp = await asyncio.start_server(self._connected, host, self._port)
        except OSError as error:
            await self.stop()
            raise NetworkError(
                f"the cluster's DNS cannot listen on {host}:{self._port}: {error.strerror}; "
                "another name server may hold this port on all addresses: bind that one to its own address"
            ) from error

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        ending = (*self._tasks, *self._connections)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._tcp is not None:
            await self._tcp.wait_closed()
        self._udp = self._tcp = None

    def set_zone(self, zone: DnsZone) -> None:
        """Answer these names from now on."""
        config = self._config
        ranges = tuple(map(IPv4Network, (config.cluster_cidr, *config.service_cidrs)))
        self._names = ClusterNames(zone, config.cluster_domain, config.cluster_dns, ranges)
        self._prepared.clear()

    def at_once(self, query: bytes, *, tcp: bool) -> bytes | Question | None:
        """The reply if it is at hand, the question if others have to be asked, None if there is nothing to say."""
        if self._names is None or not message.is_query(query):
            return None
        question = message.read_question(query)
        if question is None:
            return message.refusal(query, None, message.FORMERR)
        if not question.internet:
            return message.refusal(query, question, message.NOTIMP)
        prepared = self._prepared.get((question.name, question.kind, question.edns)) or self._prepare(question)
        if prepared is not None:
            return message.personal(prepared.next(), query, question, limited=not tcp)
        return self._upstream.remembered(query, tcp=tcp) or question

    async def outside(self, query: bytes, question: Question, *, tcp: bool) -> bytes:
        """The reply to a question that needs the outside."""
        answer = self._names.answer(question.name, question.kind) if self._names is not None else None
        if answer is not None:
            reply = await self._chase(question, answer)
            if reply is not None:
                return message.personal(reply, query, question, limited=not tcp)
        else:
            reply = await self._upstream.ask(query, question, tcp=tcp)
        return reply if reply is not None else message.refusal(query, question, SERVFAIL)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run it beside the server, ending with it at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("dns_query_failed", exc_info=task.exception())

    def _prepare(self, question: Question) -> _Prepared | None:
        """Pack the answer from the zone; None when it takes the outside."""
        answer = self._names.answer(question.name, question.kind) if self._names is not None else None
        if answer is None or (answer.chase and question.kind != CNAME):
            return None
        if len(self._prepared) >= _PREPARED_MOST:
            self._prepared.clear()
        prepared = _Prepared(message.pack(question, answer, self._config.cluster_domain))
        self._prepared[question.name, question.kind, question.edns] = prepared
        return prepared

    async def _chase(self, question: Question, answer: Answer) -> bytes | None:
        """The records of the name that an ExternalName leads to, behind that name."""
        inside = self._names.answer(answer.chase, question.kind) if self._names is not None else None
        if inside is not None:
            both = Answer(inside.rcode, (*answer.records, *inside.records), inside.extra)
            return message.pack(question, both, self._config.cluster_domain)[0]
        query = message.question_of(answer.chase, question.kind)
        asked = message.read_question(query)
        if asked is None:
            return None
        reply = self._upstream.remembered(query, tcp=False) or await self._upstream.ask(query, asked, tcp=False)
        if reply is not None and message.is_truncated(reply):
            reply = await self._upstream.ask(query, asked, tcp=True)
        try:
            return message.merge(question, answer.records, reply) if reply is not None else None
        except dnslib.DNSError:
            return None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= _CONNECTIONS_MOST:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client left, or was silent for too long.
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = await reader.readexactly(length)
            reply = self.at_once(query, tcp=True)
            if isinstance(reply, Question):
                reply = await self.outside(query, reply, tcp=True)
            if reply is None:
                return
            writer.write(struct.pack("!H", len(reply)) + reply)
            async with asyncio.timeout(_IDLE_S):
                await writer.drain()


class _Prepared:
    """One packed answer in its orders, given by turns."""

    __slots__ = ("_packed", "_turn")

    def __init__(self, packed: tuple[bytes, ...]) -> None:
        self._packed = packed
        self._turn = 0

    def next(self) -> bytes:
        self._turn = (self._turn + 1) % len(self._packed)
        return self._packed[self._turn]


class _Datagrams(asyncio.DatagramProtocol):
    """Questions over UDP."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.at_once(data, tcp=False)
        if isinstance(reply, Question):
            self._server.spawn(self._forward(data, reply, addr))
        elif reply is not None:
            self._send(reply, addr)

    async def _forward(self, query: bytes, question: Question, addr: tuple[str, int]) -> None:
        self._send(await self._server.outside(query, question, tcp=False), addr)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(reply, addr)
