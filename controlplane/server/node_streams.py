"""Logs, exec, attach and port-forward of pods, and connections from nodes, carried by streams that node agents open.

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
from mizzen.base.tasks import unless
from mizzen.engine.values import Ids
from mizzen.wire.gen.mizzen.v1 import node_pb2

FRAMES_MAX = 32
"""Frames that wait in one direction of one stream."""
LOAD_FRAMES_MAX = 4
"""The same for images on their way to nodes, which may be many at once."""
OPEN_DEADLINE_S = 10.0
"""How long an agent may take to open a stream that it was asked for."""
DRAIN_S = 5.0
"""How long an agent may take to read what a user sent before leaving."""

Frame = node_pb2.StreamFrame
Asked = node_pb2.OpenStream
AskNode = Callable[[str, Asked], bool]
"""Sends a request down a node's session; False when the node has none."""


class NodeStream:
    """One open stream, as its user sees it."""

    def __init__(self, name: str, node: str, down_max: int = FRAMES_MAX) -> None:
        self.name = name
        self.node = node
        self.opened = asyncio.Event()
        self.up: asyncio.Queue[Frame | None] = asyncio.Queue(FRAMES_MAX)
        self.down: asyncio.Queue[Frame | None] = asyncio.Queue(down_max)
        self.left = asyncio.Event()
        """The user has left: nobody reads `up`, and what is in `down` is the last."""
        self.gone = asyncio.Event()
        """The agent has gone: nobody reads `down`, and what is in `up` is the last."""

    async def pieces(self) -> AsyncIterator[Piece]:
        """What comes from the node; the last is on the STATUS channel, unless the connection was lost."""
        while not (self.gone.is_set() and self.up.empty()):
            frame = await self.up.get()
            if frame is None:
                return
            yield Piece(Channel(frame.channel), frame.data, frame.end)
            if frame.channel == Frame.STATUS:
                return

    async def send(self, piece: Piece) -> None:
        """Sends to the node; waits while too much is on the way. What comes after the end is dropped."""
        await _offer(self.down, Frame(channel=piece.channel.name, data=piece.data, end=piece.end), self.gone)

    async def close(self) -> None:
        """Ends the stream from this side, once what was sent has gone down; the agent stops what belongs to it."""
        self.leave()

    def leave(self) -> None:
        """The same at once, without waiting."""
        self.left.set()
        _wake(self.down)

    def lose(self) -> None:
        """The agent has gone."""
        self.gone.set()
        _wake(self.up)


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

    async def open_connection(self, node: str, host: str, port: int) -> NodeStream:
        """A connection that a node makes."""
        address = msgspec.json.encode({"host": host, "port": port})
        return await self._ask_for(node, Asked(kind=Asked.DIAL, options_json=address))

    async def open_image_load(self, node: str) -> NodeStream:
        """The way of an image archive into a node's engine."""
        return await self._ask_for(node, Asked(kind=Asked.LOAD_IMAGE), LOAD_FRAMES_MAX)

    async def _open(self, pod: core_v1.Pod, kind: Asked.Kind, options: object) -> NodeStream:
        request = Asked(
            kind=kind,
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
            options_json=msgspec.json.encode(options),
        )
        return await self._ask_for(pod.spec.node_name, request)

    async def _ask_for(self, node: str, request: Asked, down_max: int = FRAMES_MAX) -> NodeStream:
        """Raises ServiceUnavailable or Timeout when the node does not answer."""
        stream = NodeStream(self._ids.uid("stream"), node, down_max)
        request.id = stream.name
        self._waiting[stream.name] = stream
        try:
            if not node or not self._ask(node, request):
                raise errors.ServiceUnavailable(f"node {node!r} is not connected to this control plane; see its agent")
            async with asyncio.timeout(OPEN_DEADLINE_S):
                await stream.opened.wait()
        except BaseException as error:
            # It may have been opened in the same moment, and nobody is here for it.
            stream.leave()
            if isinstance(error, TimeoutError):
                why = f"node {node!r} did not open the stream within {OPEN_DEADLINE_S:.0f} s"
                raise errors.Timeout(why) from error
            raise
        finally:
            self._waiting.pop(stream.name, None)
        return stream

    async def serve(self, node: str, frames: AsyncIterator[Frame], write: Callable[[Frame], Awaitable[None]]) -> None:
        """Carries one call of `Stream` until it ends. Raises LookupError for a stream that this node was not asked for.

        What the agent has sent is all read before its end is told, also when nothing can be written to it any more.
        """
        first = await anext(frames, None)
        stream = self._waiting.get(first.id) if first is not None else None
        if first is None or stream is None or stream.node != node:
            raise LookupError("nobody waits for this stream")
        del self._waiting[first.id]
        stream.opened.set()
        reader = asyncio.create_task(_read_all(stream, first, frames))
        sender = asyncio.create_task(_send_all(stream, write))
        try:
            # The user's end of the stream ends the call; so does the agent's.
            await unless(stream.left, _ended(reader))
            if stream.left.is_set():
                await asyncio.wait((reader, sender), timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sender, reader):
                task.cancel()
            await asyncio.gather(sender, reader, return_exceptions=True)
            stream.lose()


async def _ended(task: asyncio.Task[None]) -> None:
    """Waits for a task whatever becomes of it; being cancelled here does not cancel it."""
    await asyncio.wait((task,))


async def _read_all(stream: NodeStream, first: Frame, frames: AsyncIterator[Frame]) -> None:
    if first.data or first.end or first.channel == Frame.STATUS:
        await _offer(stream.up, first, stream.left)
    async for frame in frames:
        await _offer(stream.up, frame, stream.left)


async def _send_all(stream: NodeStream, write: Callable[[Frame], Awaitable[None]]) -> None:
    while not (stream.left.is_set() and stream.down.empty()):
        frame = await stream.down.get()
        if frame is None:
            return
        await write(frame)


def _wake(queue: asyncio.Queue[Frame | None]) -> None:
    """Lets go who waits for more; in a full queue nobody waits, and its end is noticed when it is empty."""
    if not queue.full():
        queue.put_nowait(None)


async def _offer(queue: asyncio.Queue[Frame | None], frame: Frame, deaf: asyncio.Event) -> None:
    """Puts a frame, waiting for room, unless nobody reads any more."""
    if deaf.is_set():
        return
    if queue.full():
        await unless(deaf, queue.put(frame))
    else:
        queue.put_nowait(frame)
