"""Logs, exec and port-forward for gRPC clients, over the node streams that REST uses too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from controlplane.server.streams import Channel, Piece, Session, Streams
from controlplane.server.verbs import Verbs
from mizzen.api import errors, kinds
from mizzen.api.types import core_v1, meta_v1
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

NON_ZERO = "NonZeroExitCode"
LOST_EXIT_CODE = 255
"""What is told when the connection to the node was lost before the command ended."""


class StreamCalls:
    """What the streaming calls of the service do once it is known who asks."""

    def __init__(self, verbs: Verbs, streams: Streams) -> None:
        self._verbs = verbs
        self._streams = streams

    async def _pod(self, namespace: str, name: str) -> core_v1.Pod:
        entry = await self._verbs.reads.get(kinds.POD, namespace, name)
        pod: core_v1.Pod = entry.object()
        if not pod.spec.node_name:
            raise errors.BadRequest(f"pod {name} does not have a host assigned")
        return pod

    async def logs(self, request: cluster_pb2.LogsRequest) -> AsyncIterator[cluster_pb2.LogsResponse]:
        """A container's output until it ends, or for ever with `follow`."""
        pod = await self._pod(request.namespace, request.pod)
        options = core_v1.PodLogOptions(
            container=container_of(pod, request.container),
            follow=request.follow,
            previous=request.previous,
            timestamps=request.timestamps,
            tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
            since_seconds=request.since_seconds if request.HasField("since_seconds") else None,
        )
        session = await self._streams.open_log(pod, options)
        try:
            async for piece in session.pieces():
                if piece.channel is Channel.STATUS:
                    _raise_failure(piece.data)
                elif piece.data:
                    yield cluster_pb2.LogsResponse(data=piece.data)
        finally:
            await session.close()

    async def exec(
        self, start: cluster_pb2.ExecStart, incoming: AsyncIterator[cluster_pb2.ExecRequest]
    ) -> AsyncIterator[cluster_pb2.ExecResponse]:
        """A command: its output, then its exit code."""
        pod = await self._pod(start.namespace, start.pod)
        if not start.command:
            raise errors.BadRequest("you must specify at least one command for the container")
        options = core_v1.PodExecOptions(
            container=container_of(pod, start.container),
            command=tuple(start.command),
            stdin=start.stdin,
            stdout=True,
            stderr=not start.tty,
            tty=start.tty,
        )
        session = await self._streams.open_exec(pod, options)
        sender = asyncio.create_task(_send_input(session, incoming))
        try:
            async for piece in session.pieces():
                match piece.channel:
                    case Channel.STDOUT:
                        yield cluster_pb2.ExecResponse(stdout=piece.data)
                    case Channel.STDERR:
                        yield cluster_pb2.ExecResponse(stderr=piece.data)
                    case Channel.STATUS:
                        yield cluster_pb2.ExecResponse(exit_code=exit_code_of(piece.data))
                        return
            yield cluster_pb2.ExecResponse(exit_code=LOST_EXIT_CODE)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            await session.close()

    async def forward(
        self, start: cluster_pb2.PortForwardStart, incoming: AsyncIterator[cluster_pb2.PortForwardRequest]
    ) -> AsyncIterator[cluster_pb2.PortForwardResponse]:
        """Bytes to and from a port."""
        pod = await self._pod(start.namespace, start.pod)
        session = await self._streams.open_port(pod, core_v1.PodPortForwardOptions(ports=(start.port,)))
        sender = asyncio.create_task(_send_bytes(session, incoming))
        try:
            async for piece in session.pieces():
                if piece.channel is Channel.STATUS:
                    _raise_failure(piece.data)
                elif piece.data:
                    yield cluster_pb2.PortForwardResponse(data=piece.data)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            await session.close()


def container_of(pod: core_v1.Pod, name: str) -> str:
    """The container that is meant. Raises BadRequest when several are there and none is named, or it is not there."""
    names = [c.name for c in (*pod.spec.containers, *pod.spec.init_containers)]
    if name:
        if name not in names:
            raise errors.BadRequest(f"container {name} is not valid for pod {pod.metadata.name}")
        return name
    if len(pod.spec.containers) > 1:
        choice = " ".join(names)
        raise errors.BadRequest(
            f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{choice}]"
        )
    return names[0]


def exit_code_of(status_json: bytes) -> int:
    """The exit code in the Status that ends a command. Raises the error that the Status tells of otherwise."""
    status = msgspec.json.decode(status_json, type=meta_v1.Status)
    if status.status == "Success":
        return 0
    if status.reason == NON_ZERO and status.details is not None:
        for cause in status.details.causes:
            if cause.reason == "ExitCode":
                return int(cause.message)
    raise errors.ApiError.from_status(status)


def _raise_failure(status_json: bytes) -> None:
    status = msgspec.json.decode(status_json, type=meta_v1.Status) if status_json else None
    if status is not None and status.status == "Failure":
        raise errors.ApiError.from_status(status)


async def _send_input(session: Session, incoming: AsyncIterator[cluster_pb2.ExecRequest]) -> None:
    async for message in incoming:
        match message.WhichOneof("body"):
            case "stdin":
                await session.send(Piece(Channel.STDIN, message.stdin))
            case "stdin_end":
                await session.send(Piece(Channel.STDIN, b"", end=True))
            case "resize":
                size = {"Width": message.resize.width, "Height": message.resize.height}
                await session.send(Piece(Channel.RESIZE, msgspec.json.encode(size)))


async def _send_bytes(session: Session, incoming: AsyncIterator[cluster_pb2.PortForwardRequest]) -> None:
    async for message in incoming:
        await session.send(Piece(Channel.STDIN, message.data))
    await session.send(Piece(Channel.STDIN, b"", end=True))
