"""Logs, exec, attach and port-forward of pods, carried by streams that the pods' node agents open.

Nodes only dial out. Whoever wants a stream registers it here, the agent is asked on its session to open it, and its
call of `Stream` is matched by the stream's name. Both directions are bounded, so a slow reader slows the container
down and not the control plane's memory up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from controlplane.server.streams import Channel, Piece
from mizzen.api import errors
from mizzen.api.types import core_v1
from mizzen.engine.values import Ids
from mizzen.wire.gen.mizzen.v1 import node_pb2

FRAMES_MAX = 32
"""Frames that wait in one direction of one stream."""
OPEN_DEADLINE_S = 10.0
"""How long an agent may take to open a stream that it was asked for."""

Frame = node_pb2.StreamFrame
Asked = node_pb2.OpenStream
AskNode = Callable[[str, Asked], bool]
"""Sends a request down a node's session; False when the node has none."""


class NodeStream:
    """One open stream, as its user sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opened = asyncio.Event()
        self.up: asyncio.Queue[Frame | None] = asyncio.Queue(FRAMES_MAX)
        self.down: asyncio.Queue[Frame | None] = asyncio.Queue(FRAMES_MAX)
        self.left = asyncio.Event()
        """The user has left; nobody reads `up`."""
        self.gone = asyncio.Event()
        """The agent has gone; nobody reads `down`."""

    async def pieces(self) -> AsyncIterator[Piece]:
        """What comes from the node; the last is on the STATUS channel, unless the connection was lost."""
        while (frame := await self.up.get()) is not None:
            yield Piece(Channel(frame.channel), frame.data, frame.end)
            if frame.channel == Frame.STATUS:
                return

    async def send(self, piece: Piece) -> None:
        """Sends to the node; waits while too much is on the way. What comes after the end is dropped."""
        await _offer(self.down, Frame(channel=piece.channel.name, data=piece.data, end=piece.end), self.gone)

    async def close(self) -> None:
        """Ends the stream from this side; the agent stops what belongs to it."""
        self.left.set()
        await _offer(self.down, None, self.gone)


class NodeStreams:
    """The streams that are open or asked for."""

    def __init__(self, ask: AskNode, ids: Ids) -> None:
        self._ask = ask
        self._ids = ids
        self._waiting: dict[str, NodeStream] = {}

    async def open_log(self, pod: core_v1.Pod, options: core_v1.PodLogOptions) -> NodeStream:
        """A container's output."""
        return await self._open(pod, Asked.LOG, options)

    async def open_exec(self, pod: core_v1.Pod, options: core_v1.PodExecOptions) -> NodeStream:
        """A new command in a container."""
        return await self._open(pod, Asked.EXEC, options)

    async def open_attach(self, pod: core_v1.Pod, options: core_v1.PodAttachOptions) -> NodeStream:
        """The input and output of a running container."""
        return await self._open(pod, Asked.ATTACH, options)

    async def open_port(self, pod: core_v1.Pod, options: core_v1.PodPortForwardOptions) -> NodeStream:
        """A connection to a port of the pod."""
        return await self._open(pod, Asked.PORT_FORWARD, options)

    async def _open(self, pod: core_v1.Pod, kind: Asked.Kind, options: object) -> NodeStream:
        """Raises ServiceUnavailable or Timeout when the node does not answer."""
        node = pod.spec.node_name
        stream = NodeStream(self._ids.uid("stream"))
        request = Asked(
            id=stream.name,
            kind=kind,
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
            options_json=msgspec.json.encode(options),
        )
        self._waiting[stream.name] = stream
        try:
            if not node or not self._ask(node, request):
                raise errors.ServiceUnavailable(f"node {node!r} is not connected to this control plane; see its agent")
            async with asyncio.timeout(OPEN_DEADLINE_S):
                await stream.opened.wait()
        except TimeoutError as error:
            raise errors.Timeout(f"node {node!r} did not open the stream within {OPEN_DEADLINE_S:.0f} s") from error
        finally:
            self._waiting.pop(stream.name, None)
        return stream

    async def serve(self, frames: AsyncIterator[Frame], write: Callable[[Frame], Awaitable[None]]) -> None:
        """Carries one call of `Stream` until it ends. Raises LookupError for a stream that nobody asked for."""
        first = await anext(frames, None)
        stream = self._waiting.get(first.id) if first is not None else None
        if first is None or stream is None:
            raise LookupError("nobody waits for this stream")
        stream.opened.set()
        sender = asyncio.create_task(_send_all(stream, write))
        reader = asyncio.create_task(_read_all(stream, first, frames))
        try:
            # The user's end of the stream ends the call; so does the agent's.
            await asyncio.wait({sender, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.gone.set()
            for task in (sender, reader):
                task.cancel()
            await asyncio.gather(sender, reader, return_exceptions=True)
            await _offer(stream.up, None, stream.left)


async def _read_all(stream: NodeStream, first: Frame, frames: AsyncIterator[Frame]) -> None:
    if first.data or first.channel == Frame.STATUS:
        await _offer(stream.up, first, stream.left)
    async for frame in frames:
        await _offer(stream.up, frame, stream.left)


async def _send_all(stream: NodeStream, write: Callable[[Frame], Awaitable[None]]) -> None:
    while (frame := await stream.down.get()) is not None:
        await write(frame)


async def _offer(queue: asyncio.Queue[Frame | None], frame: Frame | None, deaf: asyncio.Event) -> None:
    """Puts a frame, waiting for room, unless nobody reads any more."""
    if deaf.is_set():
        return
    if not queue.full():
        queue.put_nowait(frame)
        return
    put, over = asyncio.create_task(queue.put(frame)), asyncio.create_task(deaf.wait())
    try:
        await asyncio.wait({put, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        put.cancel()
        over.cancel()
