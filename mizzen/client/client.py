"""The cluster's verbs for programs, over gRPC, with typed objects.

    async with Client(config.load()) as client:
        pods = await client.list(kinds.POD, "default", label_selector="app=web")

Errors are those of the API (`mizzen.api.errors`); a cluster that can't be reached is `ServiceUnavailable`. Every unary
call has a deadline.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import DecodeError

from mizzen.api import errors, kinds
from mizzen.api.kinds import Kind, Object
from mizzen.api.managed.entries import COMMAND_LINE
from mizzen.client.certificates import untimely
from mizzen.client.config import ClusterConfig
from mizzen.client.values import (
    Command,
    EndOfInput,
    Exit,
    Input,
    Output,
    Reason,
    Resize,
    Stderr,
    Stdin,
    Stdout,
)
from mizzen.engine.plans import Plan, PlanStep
from mizzen.engine.values import Key
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc

T = TypeVar("T", bound=Object)
DEADLINE_S = 30.0
DETAILS = "grpc-status-details-bin"
_FINAL = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
"""What gRPC itself says when another try would end in the same way."""
OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 64 << 20),
)


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A list at one version."""

    items: tuple[T, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One change: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`."""

    type: str
    object: T


class Client:
    """A connection to a cluster."""

    def __init__(self, config: ClusterConfig, *, deadline_s: float = DEADLINE_S) -> None:
        self.config = config
        self._deadline_s = deadline_s
        credentials = grpc.ssl_channel_credentials(config.ca_pem, config.key_pem, config.certificate_pem)
        self._channel = grpc.aio.secure_channel(config.grpc, credentials, options=OPTIONS)
        make_stub: Any = cluster_pb2_grpc.ClusterStub  # generated without types
        self._stub = make_stub(self._channel)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close(None)

    async def get(self, kind: Kind[T], namespace: str, name: str) -> T:
        """One object. Raises NotFound."""
        answer = await self._call("Get", pb.GetRequest(ref=_ref(kind, namespace, name)))
        return _object(kind, answer.object)

    async def list(
        self, kind: Kind[T], namespace: str = "", *, label_selector: str = "", field_selector: str = "", page: int = 500
    ) -> Listed[T]:
        """All objects that match, at one version, fetched in pages."""
        found: list[T] = []
        token = ""
        while True:
            request = pb.ListRequest(
                resource=kind.resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=page,
            )
            setattr(request, "continue", token)
            answer = await self._call("List", request)
            found += [_object(kind, item) for item in answer.items]
            token = getattr(answer, "continue")
            if not token:
                return Listed(tuple(found), answer.resource_version)

    async def watch(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[Event[T], None]:
        """Changes after a version (without one: the present objects first) until the connection ends."""
        request = pb.WatchRequest(
            resource=kind.resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            allow_bookmarks=True,
        )
        async with aclosing(self._stream("Watch", request)) as answers:
            async for answer in answers:
                for event in answer.events:
                    yield Event(event.type, _object(kind, event.object))

    async def create(self, obj: T, *, dry_run: bool = False) -> T:
        """Stores a new object. Raises AlreadyExists, Invalid."""
        request = pb.CreateRequest(object=convert.to_any(obj), dry_run=dry_run, field_manager=COMMAND_LINE)
        return _object(kinds.kind_of(obj), (await self._call("Create", request)).object)

    async def update(self, obj: T, *, subresource: str = "", dry_run: bool = False) -> T:
        """Replaces an object; with a resource version it must still be at that version. Raises Conflict."""
        request = pb.UpdateRequest(
            object=convert.to_any(obj), subresource=subresource, dry_run=dry_run, field_manager=COMMAND_LINE
        )
        return _object(kinds.kind_of(obj), (await self._call("Update", request)).object)

    async def patch(
        self, kind: Kind[T], namespace: str, name: str, patch: bytes, *, type_: str = "merge", dry_run: bool = False
    ) -> T:
        """Changes parts of an object; `type_` is `json`, `merge` or `strategic-merge`."""
        request = pb.PatchRequest(
            ref=_ref(kind, namespace, name),
            type=f"application/{type_}-patch+json",
            patch=patch,
            dry_run=dry_run,
            field_manager=COMMAND_LINE,
        )
        return _object(kind, (await self._call("Patch", request)).object)

    async def apply(
        self, obj: T, *, dry_run: bool = False, field_manager: str = COMMAND_LINE, force: bool = False
    ) -> T:
        """Makes the fields that are set in the object so; makes the object where there is none.

        What this manager applied before and is not in the object any more goes. Raises Conflict when others manage
        fields that would change, unless they are taken over by `force`.
        """
        request = pb.ApplyRequest(object=convert.to_any(obj), dry_run=dry_run, field_manager=field_manager, force=force)
        return _object(kinds.kind_of(obj), (await self._call("Apply", request)).object)

    async def delete(
        self,
        kind: Kind[T],
        namespace: str,
        name: str,
        *,
        grace_period_s: int | None = None,
        propagation: str = "Background",
    ) -> T:
        """Deletes an object; what comes back is its last state, or the one in which it waits to go."""
        request = pb.DeleteRequest(
            ref=_ref(kind, namespace, name), grace_period_seconds=grace_period_s, propagation_policy=propagation
        )
        return _object(kind, (await self._call("Delete", request)).object)

    async def delete_collection(
        self, kind: Kind[T], namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[T, ...]:
        """Deletes the objects of a namespace that match, all without selectors; returns their last states."""
        request = pb.DeleteCollectionRequest(
            resource=kind.resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        answer = await self._call("DeleteCollection", request)
        return tuple(_object(kind, item) for item in answer.items)

    async def scale(self, kind: Kind[Any], namespace: str, name: str, replicas: int | None = None) -> tuple[int, int]:
        """Sets (where given) and returns the number of replicas: (wanted, present)."""
        request = pb.ScaleRequest(ref=_ref(kind, namespace, name), replicas=replicas)
        answer = await self._call("Scale", request)
        return answer.desired, answer.current

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        timestamps: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """A container's output."""
        request = pb.LogsRequest(
            namespace=namespace,
            pod=pod,
            container=container,
            follow=follow,
            previous=previous,
            tail_lines=tail_lines,
            timestamps=timestamps,
        )
        async with aclosing(self._stream("Logs", request)) as answers:
            async for answer in answers:
                yield answer.data

    async def exec(
        self, command: Command, incoming: AsyncIterator[Input] | None = None
    ) -> AsyncGenerator[Output, None]:
        """Runs a command in a container; the last output is its `Exit`."""

        async def requests() -> AsyncIterator[pb.ExecRequest]:
            start = pb.ExecStart(
                namespace=command.namespace,
                pod=command.pod,
                container=command.container,
                command=command.command,
                stdin=command.stdin,
                tty=command.tty,
            )
            yield pb.ExecRequest(start=start)
            if incoming is not None:
                async for value in incoming:
                    yield _request(value)

        async with aclosing(self._stream("Exec", requests())) as answers:
            async for answer in answers:
                match answer.WhichOneof("body"):
                    case "stdout":
                        yield Stdout(answer.stdout)
                    case "stderr":
                        yield Stderr(answer.stderr)
                    case "exit_code":
                        yield Exit(answer.exit_code)

    async def port_forward(
        self, namespace: str, pod: str, port: int, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """A connection to a port of a pod: what is sent there, and what comes from there."""

        async def requests() -> AsyncIterator[pb.PortForwardRequest]:
            yield pb.PortForwardRequest(start=pb.PortForwardStart(namespace=namespace, pod=pod, port=port))
            async for data in incoming:
                yield pb.PortForwardRequest(data=data)

        async with aclosing(self._stream("PortForward", requests())) as answers:
            async for answer in answers:
                yield answer.data

    async def plan(self, apply: Iterable[Object] = (), *, lose_nodes: Iterable[str] = (), horizon_s: int = 0) -> Plan:
        """What a change, or the loss of nodes, would do."""
        request = pb.PlanRequest(
            apply=[convert.to_any(obj) for obj in apply], lose_nodes=list(lose_nodes), horizon_s=horizon_s
        )
        answer = await self._call("Plan", request)
        steps = tuple(
            PlanStep(s.at_ms, s.action, Key(s.object.resource, s.object.namespace, s.object.name), s.message)
            for s in answer.steps
        )
        return Plan(steps, tuple(answer.problems), answer.resource_version)

    async def why(self, kind: Kind[Any], namespace: str, name: str) -> tuple[Reason, ...]:
        """Why an object is as it is."""
        answer = await self._call("Why", pb.WhyRequest(ref=_ref(kind, namespace, name)))
        return tuple(Reason(r.reason, r.message, r.since) for r in answer.reasons)

    async def _call(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=self._deadline_s)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error

    async def _stream(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        call = getattr(self._stub, method)(request)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()

    def _failure(self, error: grpc.aio.AioRpcError) -> errors.ApiError:
        """What a failed call tells; an untimely certificate ends the connection before anybody can say why."""
        failure = api_error(error, self.config.grpc)
        if isinstance(failure, errors.ServiceUnavailable) and (reason := untimely(self.config.certificate_pem)):
            return errors.Unauthorized(reason)
        return failure


def api_error(error: grpc.aio.AioRpcError, target: str) -> errors.ApiError:
    """The API's error that a failed call tells of; without one, the server was not reached or is none of ours."""
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == DETAILS:
            try:
                details = pb.ErrorDetails.FromString(value if isinstance(value, bytes) else value.encode())
                return errors.ApiError.from_status(convert.from_any(details.details[0]))
            except (DecodeError, IndexError, convert.BadMessage):
                break
    code, said = error.code(), error.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.Timeout(f"{target} did not answer in time")
    if code in _FINAL:
        return errors.InternalError(f"{target} answered {code.name}: {said}")
    return errors.ServiceUnavailable(f"can't reach the cluster at {target}: {said}")


def _request(value: Input) -> pb.ExecRequest:
    match value:
        case Stdin():
            return pb.ExecRequest(stdin=value.data)
        case EndOfInput():
            return pb.ExecRequest(stdin_end=True)
        case Resize():
            return pb.ExecRequest(resize=pb.TerminalSize(width=value.width, height=value.height))


def _ref(kind: Kind[Any], namespace: str, name: str) -> pb.ObjectRef:
    return pb.ObjectRef(resource=kind.resource, namespace=namespace if kind.namespaced else "", name=name)


def _object(kind: Kind[T], packed: Any) -> T:
    obj = convert.from_any(packed)
    if not isinstance(obj, kind.type):
        raise errors.InternalError(f"the server answered with a {type(obj).__name__}, not a {kind.kind}")
    return obj
