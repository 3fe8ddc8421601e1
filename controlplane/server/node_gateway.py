"""The service that node agents call: one session a node, and streams on demand.

A session is one call. Down go deltas (see `node_feed`), answers and requests to open streams; up come heartbeats and
reports, which are acknowledged once stored. The agent's certificate says which node it is. A node that comes again
replaces its older session: a half-dead connection must not keep it out.

Where several control planes run, an agent has its session with one and *attends* the others: a session that carries
nothing but requests for streams, what the node measures and how far its rules are, so that logs, exec and usage work
wherever they are asked for, and pods of all nodes end in order (see `reaching`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from controlplane.server import pki
from controlplane.server.grpc_call import certified_user
from controlplane.server.grpc_errors import refuse
from controlplane.server.metric_apis.wishes import Wishes
from controlplane.server.node_feed import NodeFeed
from controlplane.server.node_reports import Reports
from controlplane.server.node_streams import NodeStreams
from controlplane.server.policy_peers import PolicyPeers
from controlplane.server.reaching import Reaching
from controlplane.server.tokens import PodToken, Tokens
from controlplane.server.usage import Usages
from controlplane.store.registry import Registry
from controlplane.store.values import StoreError
from mizzen.api import codec, errors, kinds
from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1
from mizzen.engine.entry import Change
from mizzen.engine.values import Clock, Ids
from mizzen.wire.gen.mizzen.v1 import node_pb2, node_pb2_grpc

SILENCE_INTERVALS = 3
"""A session without a word for this many heartbeat intervals is ended."""
HELLO_DEADLINE_S = 10.0
"""How long an agent may take to say who it is."""
ANSWERS_MAX = 1024
"""Answers and requests that wait for an agent to read them."""
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

    def __init__(self, node: str, feed: NodeFeed | None, *, resumed: bool) -> None:
        self.node = node
        self.feed = feed
        """None where the agent only attends."""
        self.resumed = resumed
        self.wake = asyncio.Event()
        self.answers: list[node_pb2.ServerMessage] = []
        self.over = asyncio.Event()
        self.why: tuple[grpc.StatusCode, str] | None = None
        """Why it was ended from this side."""

    def tell(self, message: node_pb2.ServerMessage) -> None:
        """Queues an answer; an agent that asks and never reads loses its session."""
        if len(self.answers) >= ANSWERS_MAX:
            self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{ANSWERS_MAX} answers wait and are not read")
            return
        self.answers.append(message)
        self.wake.set()

    def end(self, code: grpc.StatusCode, why: str) -> None:
        """Ends the session, telling the agent why."""
        self.why = self.why or (code, why)
        self.over.set()


class NodeGateway(node_pb2_grpc.NodeControlServicer):
    """The servicer."""

    def __init__(
        self,
        registry: Registry,
        authority: pki.Pki,
        reports: Reports,
        facts: ClusterFacts,
        clock: Clock,
        ids: Ids,
        tokens: Tokens | None = None,
        usages: Usages | None = None,
    ) -> None:
        self._registry = registry
        self._policies = PolicyPeers(registry)
        self._wishes = Wishes(registry.cache)
        self._pki = authority
        self._reports = reports
        self._facts = facts
        self._clock = clock
        self._tokens = tokens
        self._usages = usages
        self._sessions: dict[str, _Session] = {}
        self._attending: dict[str, _Session] = {}
        self._reaching = Reaching(self._ready)
        self.streams = NodeStreams(self._ask, ids)
        registry.subscribe(self._changed)

    def connected(self) -> Sequence[str]:
        """The nodes whose agents are connected, be it with a session or attending, by name."""
        return sorted({*self._sessions, *self._attending})

    def _changed(self, changes: Sequence[Change], version: int) -> None:
        policies = self._policies.follow(changes)
        if self._wishes.follow(changes):
            for session in self._sessions.values():
                session.tell(self._wanted())
        for session in self._sessions.values():
            if session.feed is not None and session.feed.follow(changes, version, policies):
                session.wake.set()

    def _ready(self) -> Iterator[str]:
        for node in self._registry.view.list(kinds.NODE):
            if any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions):
                yield node.metadata.name

    def _reached(self, node: str, reach: node_pb2.Reach) -> None:
        for answer in self._reaching.told(node, reach.version, reach.asked):
            if (session := self._sessions.get(answer.node)) is not None:
                session.tell(node_pb2.ServerMessage(reached=node_pb2.Reached(version=answer.version)))

    def _ask(self, node: str, request: node_pb2.OpenStream) -> bool:
        session = self._sessions.get(node) or self._attending.get(node)
        if session is None:
            return False
        session.tell(node_pb2.ServerMessage(open_stream=request))
        return True

    async def Session(self, request_iterator: AsyncIterator[node_pb2.AgentMessage], context: Context) -> None:  # noqa: N802
        """One agent's session, until either side ends it."""
        node = await self._identity(context)
        try:
            hello = await _hello(node, request_iterator)
            if hello.streams_only:
                session, pod_cidr, table = _Session(node, None, resumed=False), "", self._attending
            else:
                wanted, _ = codec.decode_json(hello.node_json, core_v1.Node, validation="Ignore")
                registered = await self._reports.register(node, wanted)
                await self._registry.fresh()
                session, pod_cidr, table = self._begin(node, hello.position), registered.spec.pod_cidr, self._sessions
            _LOG.info(
                "node_connected",
                node=node,
                agent_version=hello.agent_version,
                resumed=session.resumed,
                streams_only=hello.streams_only,
            )
            await self._hold(session, table, pod_cidr, request_iterator, context)
        except errors.BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except (StoreError, errors.ApiError) as error:
            _LOG.warning("session_failed", node=node, error=str(error))
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        if session.why is not None:
            await context.abort(*session.why)

    async def _hold(
        self,
        session: _Session,
        table: dict[str, _Session],
        pod_cidr: str,
        incoming: AsyncIterator[node_pb2.AgentMessage],
        context: Context,
    ) -> None:
        # At once after `_begin`: a change in between would be missed.
        older = table.get(session.node)
        if older is not None:
            older.end(grpc.StatusCode.ABORTED, CLOSING_REASON)
        table[session.node] = session
        session.wake.set()
        if session.feed is not None:
            session.tell(self._wanted())
        try:
            await context.write(node_pb2.ServerMessage(welcome=self._welcome(session, pod_cidr)))
            await self._run(session, incoming, context)
        finally:
            if table.get(session.node) is session:
                del table[session.node]
            if session.node not in self._sessions and session.node not in self._attending:
                self._reaching.left(session.node)
            _LOG.info("node_disconnected", node=session.node, why=session.why[1] if session.why else "")

    def _begin(self, node: str, position: node_pb2.Position) -> _Session:
        """Opens the session with the node's first deltas; from here on it follows every change."""
        feed = NodeFeed(node, self._registry, self._policies)
        # A version from the future is one of a history that is no more: the store was restored from a backup.
        known = position.epoch == self._facts.epoch and 0 < position.version <= self._registry.revision
        resumed = known and feed.resume(position.version)
        if not resumed:
            feed = NodeFeed(node, self._registry, self._policies)
            feed.begin()
        return _Session(node, feed, resumed=resumed)

    def _wanted(self) -> node_pb2.ServerMessage:
        """The metrics of pods that an agent shall tell."""
        found = self._wishes.now.items()
        namespaces = [node_pb2.WantedInNamespace(namespace=namespace, names=names) for namespace, names in found]
        return node_pb2.ServerMessage(wanted_metrics=node_pb2.WantedMetrics(namespaces=namespaces))

    def _welcome(self, session: _Session, pod_cidr: str) -> node_pb2.Welcome:
        facts = self._facts
        return node_pb2.Welcome(
            node=session.node,
            pod_cidr=pod_cidr,
            cluster_cidr=facts.cluster_cidr,
            service_cidr=facts.service_cidr,
            cluster_dns=facts.cluster_dns,
            cluster_domain=facts.cluster_domain,
            heartbeat_interval_ms=facts.heartbeat_interval_ms,
            epoch=facts.epoch,
            resumed=session.resumed,
        )

    async def _run(self, session: _Session, incoming: AsyncIterator[node_pb2.AgentMessage], context: Context) -> None:
        """Reads and writes until the agent leaves or the session is ended from this side."""
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._read(session, incoming)),
            asyncio.create_task(self._write(session, context)),
            asyncio.create_task(session.over.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, session: _Session, incoming: AsyncIterator[node_pb2.AgentMessage]) -> None:
        silence_s = self._facts.heartbeat_interval_ms * SILENCE_INTERVALS / 1000
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    message = await anext(incoming, None)
            except TimeoutError:
                session.end(grpc.StatusCode.DEADLINE_EXCEEDED, f"nothing was heard of the agent for {silence_s:g} s")
                return
            if message is None:
                return
            match message.WhichOneof("body"):
                case "heartbeat":
                    if session.feed is not None:
                        await self._reports.heartbeat(session.node)
                    session.tell(node_pb2.ServerMessage(heartbeat=message.heartbeat))
                case "usage":
                    if self._usages is not None:
                        self._usages.told(session.node, message.usage)
                case "reach":
                    self._reached(session.node, message.reach)
                case "reports":
                    await self._reports.store(session.node, message.reports.items)
                    ack = node_pb2.Ack(sequence=message.reports.sequence)
                    session.tell(node_pb2.ServerMessage(ack=ack))

    async def _write(self, session: _Session, context: Context) -> None:
        while True:
            await session.wake.wait()
            session.wake.clear()
            answers, session.answers = session.answers, []
            for answer in answers:
                await context.write(answer)
            for deltas in session.feed.take() if session.feed is not None else ():
                if deltas.items or deltas.synced:
                    await context.write(node_pb2.ServerMessage(deltas=deltas))

    async def Stream(self, request_iterator: AsyncIterator[node_pb2.StreamFrame], context: Context) -> None:  # noqa: N802
        """One log, exec, attach or port-forward."""
        node = await self._identity(context)
        try:
            await self.streams.serve(node, request_iterator, context.write)
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

    async def Token(self, request: node_pb2.TokenRequest, context: Context) -> node_pb2.TokenResponse:  # noqa: N802
        """A token for a pod of the node."""
        node = await self._identity(context)
        wish = TokenWish(request.audience, request.expiration_seconds)
        try:
            if self._tokens is None:
                raise errors.ServiceUnavailable("this server makes no tokens")
            token, lifetime_ms = self._tokens.for_pod(node, PodToken(request.namespace, request.pod, request.uid, wish))
        except errors.ApiError as error:
            await refuse(context, error)
            raise
        return node_pb2.TokenResponse(token=token, lifetime_ms=lifetime_ms)

    async def _identity(self, context: Context) -> str:
        """The node that the peer's certificate names; ends the call for anybody else."""
        try:
            user = certified_user(context)
        except errors.Unauthorized as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        if not user.name.startswith(pki.NODE_PREFIX) or pki.NODES_GROUP not in user.groups:
            why = f"only nodes may call this; the certificate names {user.name!r}"
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, why)
        return user.name.removeprefix(pki.NODE_PREFIX)


async def _hello(node: str, incoming: AsyncIterator[node_pb2.AgentMessage]) -> node_pb2.Hello:
    """The first message. Raises BadRequest when it is another, or does not come."""
    try:
        async with asyncio.timeout(HELLO_DEADLINE_S):
            first = await anext(incoming, None)
    except TimeoutError:
        first = None
    if first is None or not first.HasField("hello") or first.hello.node != node:
        raise errors.BadRequest(f"the first message must be Hello from node {node!r}")
    return first.hello
