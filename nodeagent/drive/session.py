"""The agent's session with a control plane: dialled from here, kept alive, begun again whenever it breaks.

    agent --Hello, heartbeats, reports-->  control plane
    agent <--Welcome, deltas, acknowledgements, requests for streams--  control plane

Reports go in batches, one on the way at a time: while one is being stored the next fills up, so a quiet node tells
news at once and a busy one tells much at a time. A connection without a word for three heartbeats is given up,
whatever TCP believes.

Where several control planes run, the next attempt goes to the next of them. See `attend` for what joins the node to
those that the session is not with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol, TypeAlias

import grpc
import msgspec
import structlog

from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock, Key
from mizzen.wire.gen.mizzen.v1 import node_pb2, node_pb2_grpc
from nodeagent.drive.checkpoint import ClusterFacts
from nodeagent.drive.credentials import Credentials
from nodeagent.drive.lost import SessionLost, SessionReplaced, lost
from nodeagent.drive.objects import Told
from nodeagent.drive.outbox import CLAIM_GROWN, CSI_NODE, EVENT, GONE, NODE, STATUS, VOLUME_GONE, Item, Outbox
from nodeagent.drive.reach import Reach, Telling
from nodeagent.drive.samples import Sample
from nodeagent.drive.tokens import Away, Issued, Refused
from nodeagent.drive.usage import Measurement, Meter, Used

MESSAGE_MAX_BYTES = 64 << 20
WELCOME_DEADLINE_S = 20.0
TOKEN_DEADLINE_S = 10.0
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
GATHER_S = 0.1
"""A report leaves at once after a quiet moment; those that follow closely are gathered for this long.

Every batch costs a transaction, and its echo to all who watch.
"""
SILENCE_INTERVALS = 3
HEARTBEAT_DEFAULT_MS = 10_000
PAUSE_FIRST_S, PAUSE_MAX_S = 0.2, 5.0
REPLACED_PAUSE_S = 10.0
STEADY_S = 30.0
OPTIONS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.enable_retries", 0),
    # How long a connection is tried; the next attempt is this agent's own, and may go elsewhere.
    ("grpc.min_reconnect_backoff_ms", 5_000),
)

_KINDS = {
    STATUS: node_pb2.Report.POD_STATUS,
    GONE: node_pb2.Report.POD_GONE,
    NODE: node_pb2.Report.NODE_STATUS,
    EVENT: node_pb2.Report.EVENT,
    VOLUME_GONE: node_pb2.Report.VOLUME_GONE,
    CSI_NODE: node_pb2.Report.CSI_NODE,
    CLAIM_GROWN: node_pb2.Report.CLAIM_GROWN,
}
_LOG = structlog.get_logger(__name__)

Call: TypeAlias = "grpc.aio.StreamStreamCall[node_pb2.AgentMessage, node_pb2.ServerMessage]"
StreamCall: TypeAlias = "grpc.aio.StreamStreamCall[node_pb2.StreamFrame, node_pb2.StreamFrame]"


class Stub(Protocol):
    """The generated stub, which comes without types."""

    def Session(self) -> Call:  # noqa: N802
        """The session."""
        ...

    def Stream(self) -> StreamCall:  # noqa: N802
        """One log, exec, attach or port-forward."""
        ...

    async def Token(self, request: node_pb2.TokenRequest, timeout: float) -> node_pb2.TokenResponse:  # noqa: N802, ASYNC109
        """A token for a pod."""
        ...

    async def Renew(self, request: node_pb2.RenewRequest, timeout: float) -> node_pb2.RenewResponse:  # noqa: N802, ASYNC109
        """A new certificate."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """How far the agent's objects are in the control plane's history."""

    epoch: str
    version: int


class Receiver(Protocol):
    """Who is told what the control plane says."""

    def hello(self) -> tuple[core.Node, Place]:
        """The Node object as the agent wants it, and how far its objects are."""
        ...

    def welcomed(self, facts: ClusterFacts, epoch: str, *, resumed: bool) -> None:
        """A session has begun; the first round of deltas follows."""
        ...

    def told(self, items: list[Told], version: int, *, synced: bool) -> None:
        """A batch of deltas."""
        ...

    def wanted(self, metrics: Mapping[str, frozenset[str]]) -> None:
        """Which metrics of pods are wanted, by namespace."""
        ...

    def parted(self) -> None:
        """The session is over."""
        ...


OpenStream = Callable[[node_pb2.OpenStream, Stub], None]


class Session:
    """Connects, and connects again."""

    def __init__(
        self,
        *,
        credentials: Callable[[], Credentials],
        endpoints: Callable[[], Sequence[str]],
        receiver: Receiver,
        outbox: Outbox,
        open_stream: OpenStream,
        clock: Clock,
        rng: Random,
        changed: Callable[[], None],
        agent_version: str,
        boot_id: str,
        meter: Meter,
        reach: Reach,
        streams_only: bool = False,
    ) -> None:
        """`endpoints` are those of the control planes, at least one; `changed` is called when a session begins or ends.

        With `streams_only` nothing comes over it but requests for streams; `meter` and `reach` are told in any case.
        """
        self._credentials = credentials
        self._endpoints = endpoints
        self._endpoint = ""
        self._receiver = receiver
        self._outbox = outbox
        self._open_stream = open_stream
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._version = agent_version
        self._boot_id = boot_id
        self.streams_only = streams_only
        self._meter = meter
        self.reach = reach
        self._reconnect = asyncio.Event()
        self._stub: Stub | None = None
        self.connected = False

    @property
    def endpoint(self) -> str:
        """Where the session is; without one, where it is tried next."""
        known = self._endpoints()
        return self._endpoint if self._endpoint in known or self.connected else known[0]

    def _turn(self) -> None:
        """Go on to the next control plane."""
        known = self._endpoints()
        at = known.index(self._endpoint) if self._endpoint in known else -1
        self._endpoint = known[(at + 1) % len(known)]

    def reconnect(self) -> None:
        """Begin anew with other credentials."""
        self._reconnect.set()

    async def run(self) -> None:
        """Keep a session until cancelled."""
        pause_s = PAUSE_FIRST_S
        while True:
            began_ms = self._clock.monotonic_ms()
            try:
                await self._connect()
            except SessionReplaced as error:
                _LOG.error("session_replaced", error=str(error), hint="does another agent have this node's name?")
                pause_s = REPLACED_PAUSE_S
            except SessionLost as error:
                _LOG.warning("session_lost", error=str(error), pause_s=round(pause_s, 1))
            if self._clock.monotonic_ms() - began_ms > STEADY_S * 1000:
                pause_s = PAUSE_FIRST_S
            await asyncio.sleep(pause_s * (0.5 + self._rng.random()))
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _connect(self) -> None:
        """One session from its first to its last message. Raises SessionLost."""
        self._reconnect.clear()
        self._endpoint = self.endpoint
        credentials = replace(self._credentials(), endpoint=self._endpoint)
        secure = grpc.ssl_channel_credentials(
            root_certificates=credentials.ca_pem,
            private_key=credentials.key_pem,
            certificate_chain=credentials.certificate_pem,
        )
        async with grpc.aio.secure_channel(credentials.endpoint, secure, options=OPTIONS) as channel:
            stub: Stub = node_pb2_grpc.NodeControlStub(channel)  # type: ignore[no-untyped-call]  # generated
            call = stub.Session()
            self._stub = stub
            try:
                await _Talk(self, call, stub, self._reconnect).hold()
            except grpc.aio.AioRpcError as error:
                raise lost(error, credentials, self._clock.now()) from error
            finally:
                self.connected, self._stub = False, None
                self._receiver.parted()
                self._outbox.lost()
                call.cancel()
                self._turn()
                self._changed()

    async def token(self, pod: core.Pod, wish: TokenWish) -> Issued:
        """A token of a pod's service account, over the present connection. Raises Away or Refused."""
        if self._stub is None:
            raise Away
        return await token_over(self._stub, pod, wish)

    # What a talk needs of its session.

    def first_message(self) -> node_pb2.AgentMessage:
        """The Hello."""
        node, place = self._receiver.hello()
        return node_pb2.AgentMessage(
            hello=node_pb2.Hello(
                node=node.metadata.name,
                node_json=msgspec.json.encode(node),
                agent_version=self._version,
                boot_id=self._boot_id,
                position=node_pb2.Position(epoch=place.epoch, version=place.version),
                streams_only=self.streams_only,
            )
        )

    def begun(self, welcome: node_pb2.Welcome) -> None:
        """The Welcome has come."""
        facts = ClusterFacts(
            pod_cidr=welcome.pod_cidr,
            cluster_cidr=welcome.cluster_cidr,
            service_cidr=welcome.service_cidr,
            cluster_dns=welcome.cluster_dns,
            cluster_domain=welcome.cluster_domain or "cluster.local",
        )
        self.connected = True
        self._changed()
        what = {"streams_only": True} if self.streams_only else {"epoch": welcome.epoch, "resumed": welcome.resumed}
        _LOG.info("session_begun", endpoint=self._endpoint, **what)
        self._receiver.welcomed(facts, welcome.epoch, resumed=welcome.resumed)

    def deltas(self, deltas: node_pb2.Deltas) -> None:
        """Deltas have come."""
        items = [Told(Key(d.resource, d.namespace, d.name), d.version, d.json) for d in deltas.items]
        self._receiver.told(items, deltas.version, synced=deltas.synced)

    def wanted(self, message: node_pb2.WantedMetrics) -> None:
        """It is said which metrics are wanted."""
        self._receiver.wanted({one.namespace: frozenset(one.names) for one in message.namespaces})

    def asked(self, request: node_pb2.OpenStream, stub: Stub) -> None:
        """The control plane wants a stream."""
        self._open_stream(request, stub)

    @property
    def outbox(self) -> Outbox:
        """Where reports come from."""
        return self._outbox

    @property
    def meter(self) -> Meter:
        """Where measurements come from."""
        return self._meter

    @property
    def clock(self) -> Clock:
        """The clock."""
        return self._clock


class _Talk:
    """One session's tasks: reading, heartbeats, reports."""

    def __init__(self, session: Session, call: Call, stub: Stub, reconnect: asyncio.Event) -> None:
        self._session = session
        self._call = call
        self._stub = stub
        self._reconnect = reconnect
        self._writing = asyncio.Lock()
        self._stored = asyncio.Event()
        self._sequence = 0
        self._heard_ms = session.clock.monotonic_ms()
        self._interval_s = HEARTBEAT_DEFAULT_MS / 1000

    async def hold(self) -> None:
        """Until it breaks. Raises SessionLost or AioRpcError."""
        await self._send(self._session.first_message())
        try:
            async with asyncio.timeout(WELCOME_DEADLINE_S):
                first = await self._call.read()
        except TimeoutError as error:
            raise SessionLost(f"no welcome within {WELCOME_DEADLINE_S:.0f} s") from error
        if not isinstance(first, node_pb2.ServerMessage) or first.WhichOneof("body") != "welcome":
            raise await self._ended() if not isinstance(first, node_pb2.ServerMessage) else SessionLost("no welcome")
        self._session.begun(first.welcome)
        self._interval_s = (first.welcome.heartbeat_interval_ms or HEARTBEAT_DEFAULT_MS) / 1000
        tasks = [
            asyncio.create_task(body, name=f"session-{name}")
            for name, body in (
                ("read", self._read()),
                ("heartbeat", self._beat()),
                ("report", self._report()),
                ("usage", self._tell_usage()),
                ("reach", self._tell_reach()),
                ("reconnect", self._leave()),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ended(self) -> Exception:
        """Why the control plane has ended the call."""
        code, details = await self._call.code(), await self._call.details()
        if code is grpc.StatusCode.ABORTED:
            return SessionReplaced(details or "aborted")
        return SessionLost(f"ended by the control plane: {code.name} {details or ''}".strip())

    async def _read(self) -> None:
        while True:
            message = await self._call.read()
            if not isinstance(message, node_pb2.ServerMessage):
                raise await self._ended()
            self._heard_ms = self._session.clock.monotonic_ms()
            match message.WhichOneof("body"):
                case "deltas":
                    self._session.deltas(message.deltas)
                case "ack":
                    if message.ack.sequence == self._sequence:
                        self._stored.set()
                case "reached":
                    self._session.reach.answered(message.reached.version)
                case "wanted_metrics":
                    self._session.wanted(message.wanted_metrics)
                case "open_stream":
                    self._session.asked(message.open_stream, self._stub)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            now_ms = self._session.clock.monotonic_ms()
            silent_s = (now_ms - self._heard_ms) / 1000
            if silent_s > self._interval_s * SILENCE_INTERVALS:
                raise SessionLost(f"the control plane has been silent for {silent_s:.0f} s")
            await self._send(node_pb2.AgentMessage(heartbeat=node_pb2.Heartbeat(sent_at_ms=now_ms)))

    async def _report(self) -> None:
        outbox = self._session.outbox
        while True:
            await outbox.filled.wait()
            items = outbox.take()
            if not items:
                continue
            self._sequence += 1
            self._stored.clear()
            reports = node_pb2.Reports(sequence=self._sequence, items=[_report_of(item) for item in items])
            await self._send(node_pb2.AgentMessage(reports=reports))
            # Not bounded here: a control plane that is silent for too long ends the whole session.
            await self._stored.wait()
            outbox.stored()
            await asyncio.sleep(GATHER_S)

    async def _tell_usage(self) -> None:
        seen: Measurement | None = None
        while True:
            seen = await self._session.meter.after(seen)
            await self._send(node_pb2.AgentMessage(usage=_usage_of(seen, self._session.meter.shown)))

    async def _tell_reach(self) -> None:
        seen: Telling | None = None
        while True:
            seen = await self._session.reach.after(seen)
            asked = () if self._session.streams_only else seen.asked
            await self._send(node_pb2.AgentMessage(reach=node_pb2.Reach(version=seen.version, asked=asked)))

    async def _leave(self) -> None:
        await self._reconnect.wait()
        raise SessionLost("reconnecting with a new certificate")

    async def _send(self, message: node_pb2.AgentMessage) -> None:
        async with self._writing:
            try:
                await self._call.write(message)
            except asyncio.InvalidStateError as error:
                raise await self._ended() from error


def _report_of(item: Item) -> node_pb2.Report:
    return node_pb2.Report(
        kind=_KINDS[item.kind], namespace=item.namespace, name=item.name, uid=item.uid, json=item.json()
    )


def _usage_of(measurement: Measurement, shown: Callable[[str], str]) -> node_pb2.Usage:
    pods = [
        node_pb2.PodUsage(
            namespace=pod.namespace,
            name=pod.name,
            uid=shown(pod.uid),
            containers={name: _used(used) for name, used in containers.items()},
        )
        for pod, containers in measurement.pods.items()
    ]
    scraped = [
        node_pb2.ScrapedPod(uid=one.uid, age_ms=one.age_ms, series=map(_series, one.samples))
        for one in measurement.scraped
    ]
    return node_pb2.Usage(window_ms=measurement.window_ms, node=_used(measurement.node), pods=pods, scraped=scraped)


def _series(sample: Sample) -> node_pb2.Series:
    labels = dict(sample.labels)
    return node_pb2.Series(metric=sample.metric, labels=labels, value=sample.value, window_ms=sample.window_ms)


def _used(used: Used) -> node_pb2.Used:
    return node_pb2.Used(cpu_nano=used.cpu_nano, memory_bytes=used.memory_bytes)


async def token_over(stub: Stub, pod: core.Pod, wish: TokenWish) -> Issued:
    """A token of a pod's service account, over a connection that may end meanwhile. Raises Away or Refused."""
    metadata = pod.metadata
    request = node_pb2.TokenRequest(
        namespace=metadata.namespace,
        pod=metadata.name,
        uid=metadata.uid,
        audience=wish.audience,
        expiration_seconds=wish.seconds,
    )
    try:
        answer = await stub.Token(request, timeout=TOKEN_DEADLINE_S)
    except asyncio.CancelledError as error:
        # gRPC says so, too, when the connection was closed under the call.
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        raise Away from error
    except grpc.aio.AioRpcError as error:
        if error.code() in _AWAY:
            raise Away from error
        raise Refused(error.details() or error.code().name) from error
    return Issued(answer.token, answer.lifetime_ms)
