"""The service that node agents call: one session a node, and streams on demand.

A session is one call. Down go deltas (see `node_feed`), answers and requests to open streams; up come heartbeats and
reports, which are acknowledged once stored. The agent's certificate says which node it is. A node that comes again
replaces its older session: a half-dead connection must not keep it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import msgspec
import structlog

from controlplane.server import pki
from controlplane.server.node_feed import NodeFeed
from controlplane.server.node_reports import Reports
from controlplane.server.node_streams import NodeStreams
from controlplane.store.registry import Registry
from mizzen.api.types import core_v1
from mizzen.engine.entry import Change
from mizzen.engine.values import Clock, Ids
from mizzen.wire.gen.mizzen.v1 import node_pb2, node_pb2_grpc

SILENCE_INTERVALS = 3
"""A session without a word for this many heartbeat intervals is ended."""
REPORTS_AT_ONCE = 64
"""Reports of one batch that are stored at the same time; the store groups them."""
CLOSING_REASON = "another session of this node has begun"

_LOG = structlog.get_logger(__name__)
Context = Any
"""grpc.aio's servicer context; its stubs leave it generic over both message types."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What a node must know of its cluster."""

    epoch: str
    """Names the history of versions; the same for all control planes of a cluster."""
    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    heartbeat_interval_ms: int


class _Session:
    """One node's connection."""

    def __init__(self, node: str, feed: NodeFeed, *, resumed: bool) -> None:
        self.node = node
        self.feed = feed
        self.resumed = resumed
        self.wake = asyncio.Event()
        self.answers: list[node_pb2.ServerMessage] = []
        self.replaced = False

    def tell(self, message: node_pb2.ServerMessage) -> None:
        """Queues an answer; there are never more of them than the agent has asked for."""
        self.answers.append(message)
        self.wake.set()


class NodeGateway(node_pb2_grpc.NodeControlServicer):
    """The servicer."""

    def __init__(
        self, registry: Registry, authority: pki.Pki, reports: Reports, facts: ClusterFacts, clock: Clock, ids: Ids
    ) -> None:
        self._registry = registry
        self._pki = authority
        self._reports = reports
        self._facts = facts
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self.streams = NodeStreams(self._ask, ids)
        registry.subscribe(self._changed)

    def connected(self) -> Sequence[str]:
        """The nodes with a session, by name."""
        return sorted(self._sessions)

    def _changed(self, changes: Sequence[Change], version: int) -> None:
        for session in self._sessions.values():
            if session.feed.follow(changes, version):
                session.wake.set()

    def _ask(self, node: str, request: node_pb2.OpenStream) -> bool:
        session = self._sessions.get(node)
        if session is None:
            return False
        session.tell(node_pb2.ServerMessage(open_stream=request))
        return True

    async def Session(self, request_iterator: AsyncIterator[node_pb2.AgentMessage], context: Context) -> None:  # noqa: N802
        """One agent's session, until either side ends it."""
        node = await self._identity(context)
        first = await anext(request_iterator, None)
        if first is None or not first.HasField("hello") or first.hello.node != node:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the first message must be Hello from node {node!r}")
        assert first is not None
        wanted = msgspec.json.decode(first.hello.node_json, type=core_v1.Node)
        registered = await self._reports.register(node, wanted)
        await self._reports.heartbeat(node)
        await self._registry.fresh()
        session = self._begin(node, first.hello.position)
        _LOG.info("node connected", node=node, agent_version=first.hello.agent_version)
        try:
            await context.write(node_pb2.ServerMessage(welcome=self._welcome(registered, session)))
            await self._run(session, request_iterator, context)
        finally:
            if self._sessions.get(node) is session:
                del self._sessions[node]
            _LOG.info("node disconnected", node=node, replaced=session.replaced)
        if session.replaced:
            await context.abort(grpc.StatusCode.ABORTED, CLOSING_REASON)

    def _begin(self, node: str, position: node_pb2.Position) -> _Session:
        """Opens the session with the node's first deltas; from here on it follows every change."""
        feed = NodeFeed(node, self._registry)
        known = position.epoch == self._facts.epoch and position.version > 0
        resumed = known and feed.resume(position.version)
        if not resumed:
            feed = NodeFeed(node, self._registry)
            feed.begin()
        session = _Session(node, feed, resumed=resumed)
        older = self._sessions.get(node)
        if older is not None:
            older.replaced = True
            older.wake.set()
        self._sessions[node] = session
        session.wake.set()
        return session

    def _welcome(self, node: core_v1.Node, session: _Session) -> node_pb2.Welcome:
        facts = self._facts
        return node_pb2.Welcome(
            node=node.metadata.name,
            pod_cidr=node.spec.pod_cidr,
            cluster_cidr=facts.cluster_cidr,
            service_cidr=facts.service_cidr,
            cluster_dns=facts.cluster_dns,
            cluster_domain=facts.cluster_domain,
            heartbeat_interval_ms=facts.heartbeat_interval_ms,
            epoch=facts.epoch,
            resumed=session.resumed,
        )

    async def _run(self, session: _Session, incoming: AsyncIterator[node_pb2.AgentMessage], context: Context) -> None:
        """Reads and writes until the agent leaves, falls silent, or another session replaces this one."""
        reader = asyncio.create_task(self._read(session, incoming))
        writer = asyncio.create_task(self._write(session, context))
        try:
            done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self, session: _Session, incoming: AsyncIterator[node_pb2.AgentMessage]) -> None:
        silence_s = self._facts.heartbeat_interval_ms * SILENCE_INTERVALS / 1000
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    message = await anext(incoming, None)
            except TimeoutError:
                _LOG.warning("node fell silent", node=session.node, silence_s=silence_s)
                return
            if message is None:
                return
            match message.WhichOneof("body"):
                case "heartbeat":
                    await self._reports.heartbeat(session.node)
                    session.tell(node_pb2.ServerMessage(heartbeat=message.heartbeat))
                case "reports":
                    await self._store(session.node, message.reports.items)
                    ack = node_pb2.Ack(sequence=message.reports.sequence)
                    session.tell(node_pb2.ServerMessage(ack=ack))

    async def _store(self, node: str, items: Sequence[node_pb2.Report]) -> None:
        """Stores a batch; reports on one pod keep their order, because a batch has at most one of each kind."""
        for start in range(0, len(items), REPORTS_AT_ONCE):
            chunk = items[start : start + REPORTS_AT_ONCE]
            statuses = [r for r in chunk if r.kind != node_pb2.Report.POD_GONE]
            await asyncio.gather(*(self._reports.apply(node, report) for report in statuses))
            gone = [r for r in chunk if r.kind == node_pb2.Report.POD_GONE]
            await asyncio.gather(*(self._reports.apply(node, report) for report in gone))

    async def _write(self, session: _Session, context: Context) -> None:
        while not session.replaced:
            await session.wake.wait()
            session.wake.clear()
            answers, session.answers = session.answers, []
            for answer in answers:
                await context.write(answer)
            for deltas in session.feed.take():
                if deltas.items or deltas.synced:
                    await context.write(node_pb2.ServerMessage(deltas=deltas))

    async def Stream(self, request_iterator: AsyncIterator[node_pb2.StreamFrame], context: Context) -> None:  # noqa: N802
        """One log, exec, attach or port-forward."""
        await self._identity(context)
        try:
            await self.streams.serve(request_iterator, context.write)
        except LookupError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))

    async def Renew(self, request: node_pb2.RenewRequest, context: Context) -> node_pb2.RenewResponse:  # noqa: N802
        """A new certificate for the node that the present one names."""
        node = await self._identity(context)
        try:
            certificate = self._pki.sign_node(request.csr_pem, node, self._clock.now())
        except pki.BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return node_pb2.RenewResponse(certificate_pem=certificate, ca_pem=self._pki.ca_pem)

    async def _identity(self, context: Context) -> str:
        """The node that the peer's certificate names; ends the call for anybody else."""
        names = context.auth_context().get("x509_common_name", ())
        name = names[0].decode() if names else ""
        if not name.startswith(pki.NODE_PREFIX):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"only nodes may call this; the certificate names {name!r}"
            )
        return str(name.removeprefix(pki.NODE_PREFIX))
