"""A thin typed client of etcd's gRPC API: deadlines on everything, fail-over, errors of our own kind.

Why not a library's high-level client: it hides watch errors and costs half as much again per call. The message classes
are those that ship in `aetcd`. What it is not: it knows nothing of versions, batches or object keys.

Vocabulary: an *attempt* is one call to one member. `NoAnswer` ends an attempt whose outcome is not known; reads are
then tried again at the next member until their deadline, transactions are left to the caller, who can resolve them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
import msgspec
from aetcd.rpc import rpc_pb2 as pb
from prometheus_client import Histogram

from controlplane.store.metrics import REQUEST_SECONDS
from controlplane.store.values import Closed, Compacted, FutureVersion, Refused, StoreError, TooLarge, Unavailable

ATTEMPT_S = 3.0
"""How long one call to one member may take, in seconds."""

_PAUSE_S = 0.02
_PAUSE_MAX_S = 0.5

# A member that lost its quorum must end such a stream instead of keeping silent.
_WITH_LEADER = (("hasleader", "true"),)

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),  # a page or a batch of events may be large; etcd bounds what we send
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # whether a call may be repeated is decided here
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A silent peer is noticed after 8 s. etcd disconnects clients that ping more often than every 5 s.
    ("grpc.keepalive_time_ms", 5500),
    ("grpc.keepalive_timeout_ms", 2500),
    ("grpc.http2.ping_timeout_ms", 2500),
    ("grpc.http2.max_pings_without_data", 0),
)

_END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing from the stubs

_UNCERTAIN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
    }
)


class NoAnswer(StoreError):
    """An attempt ended without an answer. With `sent` false the request certainly never left this process."""

    retryable = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        """Say what happened and whether the request may have arrived."""
        super().__init__(message)
        self.sent = sent


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files for talking to etcd: the authority that signed its certificate, and our own certificate if it asks."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises `Refused` naming the one that cannot be read."""
        try:
            chain = [path.read_bytes() if path else None for path in (self.ca, self.key, self.certificate)]
        except OSError as error:
            raise Refused(f"cannot read the TLS file {error.filename} for etcd: {error.strerror}") from error
        return grpc.ssl_channel_credentials(*chain)


class _Member:
    """One etcd member: a channel that connects when first used, and its methods."""

    def __init__(self, endpoint: str, tls: TlsFiles | None) -> None:
        self.endpoint = endpoint
        self.channel = _channel(endpoint, tls)
        self.txn = self._unary("KV/Txn", None, pb.TxnResponse)
        self.range = self._unary("KV/Range", pb.RangeRequest, pb.RangeResponse)
        self.compact = self._unary("KV/Compact", pb.CompactionRequest, pb.CompactionResponse)
        self.grant = self._unary("Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse)
        self.revoke = self._unary("Lease/LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse)
        self.renew = self._stream("Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse)
        self.status = self._unary("Maintenance/Status", pb.StatusRequest, pb.StatusResponse)
        self.watch = self._stream("Watch/Watch", pb.WatchRequest, pb.WatchResponse)

    def _unary(self, method: str, request: Any, response: Any) -> Any:
        return self.channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=request.SerializeToString if request else None,
            response_deserializer=response.FromString,
        )

    def _stream(self, method: str, request: Any, response: Any) -> Any:
        return self.channel.stream_stream(
            f"/etcdserverpb.{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )


class EtcdClient:
    """Calls to an etcd cluster. `revision` is the highest revision that any answer has shown."""

    def __init__(self, endpoints: Sequence[str], tls: TlsFiles | None = None) -> None:
        """Prepare to talk to `endpoints`: ``https://host:port``, ``http://host:port`` or ``unix:/path``.

        Connects when first used. Raises ValueError for an endpoint that cannot be understood.
        """
        if not endpoints:
            raise ValueError("no etcd endpoint was given; name at least one, such as https://10.0.0.1:2379")
        self._members = [_Member(endpoint, tls) for endpoint in endpoints]
        self._at = 0
        self._closed = False
        self.revision = 0

    async def txn(self, request: bytes, timeout_s: float = ATTEMPT_S) -> Any:
        """Send an encoded transaction once. Raises `NoAnswer` or `Refused`."""
        return await self._attempt("txn", lambda member: member.txn, request, timeout_s)

    async def range(self, request: Any, deadline_s: float) -> Any:
        """Read, linearised, at any member that answers. Raises `Unavailable`, `Compacted` or `FutureVersion`."""
        return await self._repeat("range", lambda member: member.range, request, deadline_s)

    async def compact(self, revision: int, deadline_s: float) -> None:
        """Compact at `revision`. Raises `Compacted` if that was done already, `FutureVersion` or `Unavailable`."""
        request = pb.CompactionRequest(revision=revision)
        await self._repeat("compact", lambda member: member.compact, request, deadline_s)

    async def grant_lease(self, ttl_s: int, deadline_s: float) -> tuple[int, int]:
        """Create a lease; return its number and the seconds it really lives. Raises `Unavailable`."""
        request = pb.LeaseGrantRequest(TTL=ttl_s)
        answer = await self._repeat("lease_grant", lambda member: member.grant, request, deadline_s)
        return int(answer.ID), int(answer.TTL)

    async def revoke_lease(self, lease: int, deadline_s: float) -> None:
        """End a lease and delete its keys. Raises `Unavailable`, or `Refused` when there is no such lease."""
        request = pb.LeaseRevokeRequest(ID=lease)
        await self._repeat("lease_revoke", lambda member: member.revoke, request, deadline_s)

    async def renew_lease(self, lease: int, timeout_s: float) -> int:
        """Renew a lease once and return the seconds it now has, 0 when it is gone. Raises `NoAnswer`."""
        answers = self._stream(lambda member: member.renew, pb.LeaseKeepAliveRequest(ID=lease), timeout_s)
        async with aclosing(answers):
            async for answer in answers:
                return int(answer.TTL)
        raise NoAnswer("etcd ended a lease renewal without an answer")

    async def status(self, deadline_s: float) -> Any:
        """Return version, database size and leader as a member sees them. Raises `Unavailable`."""
        return await self._repeat("status", lambda member: member.status, pb.StatusRequest(), deadline_s)

    async def watch(self, create: Any) -> AsyncGenerator[Any, None]:
        """Yield what etcd says to a watch, from the confirmation on, until the connection breaks: `NoAnswer`."""
        answers = self._stream(lambda member: member.watch, pb.WatchRequest(create_request=create), ATTEMPT_S)
        async with aclosing(answers):
            async for answer in answers:
                self.revision = max(self.revision, answer.header.revision)
                yield answer

    async def close(self) -> None:
        """Close the connections; calls under way and later ones end with `Closed`."""
        self._closed = True
        for member in self._members:
            await member.channel.close(None)

    async def _repeat(self, operation: str, method: Callable[[_Member], Any], request: Any, deadline_s: float) -> Any:
        """Attempt until answered or refused, at one member after the other. For what may be done twice."""
        pause_s = _PAUSE_S
        last: Exception | None = None
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    try:
                        return await self._attempt(operation, method, request, min(ATTEMPT_S, deadline_s))
                    except NoAnswer as error:
                        last = error
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _PAUSE_MAX_S)
        except TimeoutError as error:
            reason = f": {last}" if last else ""
            raise Unavailable(f"etcd did not answer a {operation} within {deadline_s} s{reason}") from error

    async def _attempt(self, operation: str, method: Callable[[_Member], Any], request: Any, timeout_s: float) -> Any:
        member = self._member()
        begun = perf_counter()
        try:
            answer = await method(member)(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._failure(member, error) from error
        except asyncio.CancelledError as error:
            self._check_cancelled(error)
            raise
        finally:
            _seconds(operation).observe(perf_counter() - begun)
        self.revision = max(self.revision, answer.header.revision)
        return answer

    async def _stream(
        self, method: Callable[[_Member], Any], request: Any, first_s: float
    ) -> AsyncGenerator[Any, None]:
        """Send one request and yield the answers, the first of which must come within `first_s` seconds."""
        member = self._member()
        call = method(member)(metadata=_WITH_LEADER)
        try:
            async with asyncio.timeout(first_s):
                await call.write(request)
                answer = await call.read()
            while answer is not _END:
                yield answer
                answer = await call.read()
            self._leave(member)
            raise NoAnswer(f"etcd at {member.endpoint} ended the stream")
        except grpc.aio.AioRpcError as error:
            raise self._failure(member, error) from error
        except (TimeoutError, asyncio.InvalidStateError) as error:
            self._leave(member)
            raise NoAnswer(f"etcd at {member.endpoint} did not answer a stream within {first_s} s") from error
        except asyncio.CancelledError as error:
            self._check_cancelled(error)
            raise
        finally:
            call.cancel()

    def _failure(self, member: _Member, error: grpc.aio.AioRpcError) -> StoreError:
        """Translate an error of gRPC, and turn to the next member if this one is the reason."""
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.OUT_OF_RANGE:
            return FutureVersion(details) if "future" in details else Compacted(0)
        if code in _UNCERTAIN or "too many requests" in details:
            self._leave(member)
            sent = "failed to connect to all addresses" not in details
            return NoAnswer(f"etcd at {member.endpoint}: {details or code.name}", sent=sent)
        refused = TooLarge if _is_too_large(details) else Refused
        return refused(f"etcd at {member.endpoint} refused: {details or code.name}{_advice(details)}")

    def _member(self) -> _Member:
        if self._closed:
            raise Closed("the connection to etcd is closed")
        return self._members[self._at]

    def _check_cancelled(self, error: asyncio.CancelledError) -> None:
        """Tell a call that ended because the channel was closed from one whose task is being cancelled."""
        task = asyncio.current_task()
        if self._closed and not (task and task.cancelling()):
            raise Closed("the connection to etcd was closed") from error

    def _leave(self, member: _Member) -> None:
        if self._members[self._at] is member:
            self._at = (self._at + 1) % len(self._members)


@cache
def _seconds(operation: str) -> Histogram:
    """Return the histogram of one operation; looking it up each time would cost more than observing."""
    return REQUEST_SECONDS.labels(operation, "")


def _advice(details: str) -> str:
    if "space exceeded" in details:
        return "; compact and defragment it, raise its quota, then disarm the alarm (etcdctl alarm disarm)"
    if _is_too_large(details):
        return "; the object does not fit into one request (etcd --max-request-bytes)"
    return ""


def _is_too_large(details: str) -> bool:
    return "too large" in details or "larger than max" in details


def _channel(endpoint: str, tls: TlsFiles | None) -> grpc.aio.Channel:
    scheme, separator, address = endpoint.partition("://")
    if endpoint.startswith("unix:"):
        return grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
    if not separator or scheme not in ("http", "https") or ":" not in address:
        raise ValueError(f"etcd endpoint {endpoint!r} is not https://host:port, http://host:port or unix:/path")
    if scheme == "http":
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = tls.credentials() if tls else grpc.ssl_channel_credentials()
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
