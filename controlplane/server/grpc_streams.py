"""Logs, exec and port-forward for gRPC clients, over the node streams that REST uses too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec

from controlplane.server.containers import container_for_log, container_to_enter
from controlplane.server.grpc_objects import place_of
from controlplane.server.streams import ALL, STREAMS, Channel, Piece, Session, Streams
from controlplane.server.verbs import Verbs
from mizzen.api import errors, kinds, times
from mizzen.api.types import core_v1, meta_v1
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

NON_ZERO = "NonZeroExitCode"
LOST_EXIT_CODE = 255
"""What is told when the connection to the node was lost before the command ended."""
LOST = "the connection to the node was lost"


class StreamCalls:
    """What the streaming calls of the service do once it is known who asks."""

    def __init__(self, verbs: Verbs, streams: Streams) -> None:
        self._verbs = verbs
        self._streams = streams

    async def _pod(self, namespace: str, name: str) -> core_v1.Pod:
        ref = cluster_pb2.ObjectRef(resource=kinds.POD.resource, namespace=namespace, name=name)
        kind, namespace, name = place_of(ref)
        pod: core_v1.Pod = (await self._verbs.reads.get(kind, namespace, name)).object()
        return pod

    async def logs(self, request: cluster_pb2.LogsRequest) -> AsyncGenerator[cluster_pb2.LogsResponse, None]:
        """A container's output until it ends, or for ever with `follow`."""
        options = core_v1.PodLogOptions(
            follow=request.follow,
            previous=request.previous,
            timestamps=request.timestamps,
            tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
            since_seconds=request.since_seconds if request.HasField("since_seconds") else None,
            since_time=request.since_time or None,
            limit_bytes=request.limit_bytes if request.HasField("limit_bytes") else None,
            stream=request.stream or ALL,
        )
        _check_log(options)
        pod = await self._pod(request.namespace, request.pod)
        container = container_for_log(pod, request.container, previous=options.previous)
        if not pod.spec.node_name:
            return  # nothing has run, and nothing been written
        session = await self._streams.open_log(pod, msgspec.structs.replace(options, container=container))
        try:
            async for piece in session.pieces():
                if piece.channel is Channel.STATUS:
                    _raise_failure(piece.data)
                    return
                if piece.data:
                    yield cluster_pb2.LogsResponse(data=piece.data)
            raise errors.ServiceUnavailable(LOST)
        finally:
            await session.close()

    async def exec(
        self, start: cluster_pb2.ExecStart, incoming: AsyncIterator[cluster_pb2.ExecRequest]
    ) -> AsyncGenerator[cluster_pb2.ExecResponse, None]:
        """A command: its output, then its exit code."""
        if not start.command:
            raise errors.BadRequest("you must specify at least one command for the container")
        pod = await self._pod(start.namespace, start.pod)
        options = core_v1.PodExecOptions(
            container=container_to_enter(pod, start.container),
            command=tuple(start.command),
            stdin=start.stdin,
            stdout=True,
            stderr=not start.tty,
            tty=start.tty,
        )
        session = await self._streams.open_exec(pod, options)
        async with aclosing(_command(session, incoming)) as answers:
            async for answer in answers:
                yield answer

    async def attach(
        self, start: cluster_pb2.AttachStart, incoming: AsyncIterator[cluster_pb2.AttachRequest]
    ) -> AsyncGenerator[cluster_pb2.ExecResponse, None]:
        """A running container: its output, then how it ended."""
        pod = await self._pod(start.namespace, start.pod)
        options = core_v1.PodAttachOptions(
            container=container_to_enter(pod, start.container),
            stdin=start.stdin,
            stdout=True,
            stderr=not start.tty,
            tty=start.tty,
        )
        session = await self._streams.open_attach(pod, options)
        async with aclosing(_command(session, incoming)) as answers:
            async for answer in answers:
                yield answer

    async def forward(
        self, start: cluster_pb2.PortForwardStart, incoming: AsyncIterator[cluster_pb2.PortForwardRequest]
    ) -> AsyncGenerator[cluster_pb2.PortForwardResponse, None]:
        """Bytes to and from a port."""
        if not 0 < start.port < 65536:
            raise errors.BadRequest("port: must be between 1 and 65535")
        pod = await self._pod(start.namespace, start.pod)
        container_to_enter(pod, pod.spec.containers[0].name)
        session = await self._streams.open_port(pod, core_v1.PodPortForwardOptions(ports=(start.port,)))
        sender = asyncio.create_task(_send_bytes(session, incoming))
        try:
            async for piece in session.pieces():
                if piece.channel is Channel.STATUS:
                    _raise_failure(piece.data)
                    return
                if piece.data:
                    yield cluster_pb2.PortForwardResponse(data=piece.data)
            raise errors.ServiceUnavailable(LOST)
        finally:
            await _stop(sender, session)


def _check_log(options: core_v1.PodLogOptions) -> None:
    """Raise BadRequest for what no log can be asked for."""
    if (options.tail_lines or 0) < 0:
        raise errors.BadRequest("tail_lines: must not be negative")
    if options.since_seconds is not None and options.since_seconds < 1:
        raise errors.BadRequest("since_seconds: must be greater than 0")
    if options.limit_bytes is not None and options.limit_bytes < 1:
        raise errors.BadRequest("limit_bytes: must be greater than 0")
    if options.stream not in STREAMS:
        raise errors.BadRequest(f"stream: must be one of {', '.join(STREAMS)}")
    if options.stream != ALL and options.tail_lines is not None:
        raise errors.BadRequest("stream: one stream alone can't be had with tail_lines; unset one of them")
    if options.since_time is None:
        return
    if options.since_seconds is not None:
        raise errors.BadRequest("since_time: at most one of since_time and since_seconds may be set")
    try:
        times.parse(options.since_time)
    except ValueError as error:
        raise errors.BadRequest(f"since_time: {error}") from error


async def _command(
    session: Session, incoming: AsyncIterator[cluster_pb2.ExecRequest] | AsyncIterator[cluster_pb2.AttachRequest]
) -> AsyncGenerator[cluster_pb2.ExecResponse, None]:
    """What a command writes, while it is given its input, and its exit code."""
    sender = asyncio.create_task(_send_input(session, incoming))
    try:
        async for piece in session.pieces():
            match piece.channel:
                case Channel.STDOUT:
                    if piece.data:
                        yield cluster_pb2.ExecResponse(stdout=piece.data)
                case Channel.STDERR:
                    if piece.data:
                        yield cluster_pb2.ExecResponse(stderr=piece.data)
                case Channel.STATUS:
                    yield cluster_pb2.ExecResponse(exit_code=exit_code_of(piece.data))
                    return
        yield cluster_pb2.ExecResponse(exit_code=LOST_EXIT_CODE)
    finally:
        await _stop(sender, session)


def exit_code_of(status_json: bytes) -> int:
    """The exit code in the Status that ends a command. Raises the error that the Status tells of otherwise."""
    status = _status(status_json)
    if status.status == "Success":
        return 0
    if status.reason == NON_ZERO and status.details is not None:
        for cause in status.details.causes:
            if cause.reason == "ExitCode" and cause.message.isdigit():
                return int(cause.message)
    raise errors.ApiError.from_status(status)


def _raise_failure(status_json: bytes) -> None:
    status = _status(status_json)
    if status.status != "Success":
        raise errors.ApiError.from_status(status)


def _status(status_json: bytes) -> meta_v1.Status:
    """How a node says that a stream has ended. Raises InternalError for what nobody can read."""
    try:
        return msgspec.json.decode(status_json, type=meta_v1.Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InternalError(f"the node ended the stream with something unknown: {error}") from error


async def _stop(sender: asyncio.Task[None], session: Session) -> None:
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    await session.close()


async def _send_input(
    session: Session, incoming: AsyncIterator[cluster_pb2.ExecRequest] | AsyncIterator[cluster_pb2.AttachRequest]
) -> None:
    """Passes input on; the end of the call's own requests is the end of input, too."""
    ended = False
    async for message in incoming:
        match message.WhichOneof("body"):
            case "stdin":
                await session.send(Piece(Channel.STDIN, message.stdin))
            case "stdin_end":
                ended = True
                await session.send(Piece(Channel.STDIN, b"", end=True))
            case "resize":
                size = {"Width": message.resize.width, "Height": message.resize.height}
                await session.send(Piece(Channel.RESIZE, msgspec.json.encode(size)))
    if not ended:
        await session.send(Piece(Channel.STDIN, b"", end=True))


async def _send_bytes(session: Session, incoming: AsyncIterator[cluster_pb2.PortForwardRequest]) -> None:
    async for message in incoming:
        await session.send(Piece(Channel.STDIN, message.data))
    await session.send(Piece(Channel.STDIN, b"", end=True))
