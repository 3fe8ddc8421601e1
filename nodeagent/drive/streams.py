"""Logs, exec, attach, port-forward and plain connections: what the control plane asks for and the agent opens to it.

Each is one gRPC call of its own, so that a slow reader holds up nobody else. Both directions are bounded by gRPC's
flow control. The last frame that the agent sends says how it ended, as a Status.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import grpc
import msgspec
import structlog

from mizzen.api import times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Clock
from mizzen.wire.gen.mizzen.v1 import node_pb2
from nodeagent.drive.context import NodeContext
from nodeagent.drive.image_loads import ImageLoads, LoadBroken
from nodeagent.drive.netns import open_in_pod
from nodeagent.drive.observe import Watcher
from nodeagent.drive.pods import Pods, Slot
from nodeagent.drive.session import StreamCall, Stub
from nodeagent.lifecycle.logs import NoLogs, chosen_container, logs_of
from nodeagent.runtime.errors import ContainerNotFound, ContainerNotRunning, RuntimeFailure
from nodeagent.runtime.port import Runtime, Session
from nodeagent.runtime.values import ContainerState, LogQuery, Status

STREAMS_MAX = 256
FRAMES_MAX = 32
"""Frames of one stream that wait for their reader."""
PIECE_MAX_BYTES = 128 * 1024
TELL_BYTES = 1 << 20
"""How often it is told how much of an image archive was taken."""
CONNECT_DEADLINE_S = 10.0
DELIVERY_S = 5.0
"""How long what a user sent before leaving may take to be delivered."""

Frame = node_pb2.StreamFrame
Kind = node_pb2.OpenStream
_LOG = structlog.get_logger(__name__)


class Refused(Exception):
    """The stream can't be; carries the Status that says why."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = meta.Status(status="Failure", code=code, reason=reason, message=message)


class _Size(msgspec.Struct, frozen=True, rename="pascal"):
    width: int
    height: int


class _Address(msgspec.Struct, frozen=True):
    host: str
    port: int


class Streams:
    """Opens what is asked for."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        pods: Pods,
        watcher: Watcher,
        node: NodeContext,
        clock: Clock,
        page: Callable[[], tuple[str, int]],
        image_loads: ImageLoads,
    ) -> None:
        """`page`: where the agent's own page is served; port 0 where it is not."""
        self._page = page
        self._image_loads = image_loads
        self._runtime = runtime
        self._pods = pods
        self._watcher = watcher
        self._node = node
        self._clock = clock
        self._open: set[asyncio.Task[None]] = set()
        self.group: asyncio.TaskGroup | None = None
        """Where streams run; set before the first request."""

    def open(self, request: node_pb2.OpenStream, stub: Stub) -> None:
        """Serve a request in the background."""
        assert self.group is not None, "not started"
        task = self.group.create_task(self._serve(request, stub))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, request: node_pb2.OpenStream, stub: Stub) -> None:
        call = stub.Stream()
        wire = _Wire(call)
        try:
            await call.write(Frame(id=request.id))
            try:
                status = await self._run(request, wire)
            except Refused as refused:
                status = refused.status
            except RuntimeFailure as error:
                status = _failure(500, "InternalError", str(error))
            await wire.finish(status)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            _LOG.info("stream_broken", stream=request.id, error=str(error), error_type=type(error).__name__)
        except Exception:
            # One broken stream must not end the agent.
            _LOG.exception("stream_failed", stream=request.id, pod=f"{request.namespace}/{request.name}")
        finally:
            await wire.close()

    async def _run(self, request: node_pb2.OpenStream, wire: _Wire) -> meta.Status:
        if len(self._open) > STREAMS_MAX:
            raise Refused(429, "TooManyRequests", f"node {self._node.name} has {STREAMS_MAX} streams open already")
        if request.kind == Kind.DIAL:
            return await self._dial(msgspec.json.decode(request.options_json, type=_Address), wire)
        if request.kind == Kind.LOAD_IMAGE:
            return meta.Status(status="Success", message="\n".join(await self._image_loads.run(_archive(wire))))
        slot = self._pods.slot(request.uid)
        if slot is None:
            raise Refused(404, "NotFound", f'pods "{request.name}" not found on node {self._node.name}')
        match request.kind:
            case Kind.LOG:
                return await self._log(slot, msgspec.json.decode(request.options_json, type=core.PodLogOptions), wire)
            case Kind.EXEC:
                return await self._exec(slot, msgspec.json.decode(request.options_json, type=core.PodExecOptions), wire)
            case Kind.ATTACH:
                attach = msgspec.json.decode(request.options_json, type=core.PodAttachOptions)
                return await self._attach(slot, attach, wire)
            case Kind.PORT_FORWARD:
                ports = msgspec.json.decode(request.options_json, type=core.PodPortForwardOptions)
                return await self._forward(slot, ports, wire)
            case _:
                raise Refused(400, "BadRequest", f"unknown kind of stream {request.kind}")

    # ----------------------------------------------------------------------------------------------------- logs

    async def _log(self, slot: Slot, options: core.PodLogOptions, wire: _Wire) -> meta.Status:
        try:
            name = chosen_container(slot.pod, options.container)
            status = slot.memory.reported or slot.pod.status
            containers = self._watcher.of(slot.pod.metadata.uid).containers
            container_id = logs_of(slot.pod, status, containers, name, previous=options.previous)
        except NoLogs as error:
            raise Refused(400, "BadRequest", str(error)) from error
        pieces = self._runtime.logs(container_id, self._query(options))
        await _race(wire.until_left(), self._copy_log(pieces, options.limit_bytes, wire))
        return _SUCCESS

    async def _copy_log(self, pieces: AsyncIterator[tuple[str, bytes]], limit: int | None, wire: _Wire) -> None:
        left = limit
        async for channel, data in pieces:
            if left is not None:
                data, left = data[:left], left - len(data[:left])
            await wire.send(Frame.STDERR if channel == "stderr" else Frame.STDOUT, data)
            if left == 0:
                return

    def _query(self, options: core.PodLogOptions) -> LogQuery:
        since_ms = 0
        if options.since_seconds is not None:
            since_ms = self._clock.now() - options.since_seconds * 1000
        elif options.since_time:
            since_ms = times.parse(options.since_time)
        return LogQuery(
            follow=options.follow,
            tail=options.tail_lines,
            since_ms=since_ms,
            timestamps=options.timestamps,
            limit_bytes=options.limit_bytes,
            stdout=options.stream in (None, "", "All", "Stdout"),
            stderr=options.stream in (None, "", "All", "Stderr"),
        )

    # --------------------------------------------------------------------------------------------- exec and attach

    async def _exec(self, slot: Slot, options: core.PodExecOptions, wire: _Wire) -> meta.Status:
        state = self._running(slot, options.container)
        try:
            session = await self._runtime.exec(state.id, options.command, tty=options.tty, stdin=options.stdin)
        except (ContainerNotFound, ContainerNotRunning) as error:
            raise Refused(400, "BadRequest", str(error)) from error
        return await self._converse(session, wire)

    async def _attach(self, slot: Slot, options: core.PodAttachOptions, wire: _Wire) -> meta.Status:
        state = self._running(slot, options.container)
        try:
            session = await self._runtime.attach(state.id, stdin=options.stdin)
        except (ContainerNotFound, ContainerNotRunning) as error:
            raise Refused(400, "BadRequest", str(error)) from error
        # How the container ends is not the outcome of having looked at it.
        await self._converse(session, wire)
        return _SUCCESS

    def _running(self, slot: Slot, name: str) -> ContainerState:
        try:
            name = chosen_container(slot.pod, name)
        except NoLogs as error:
            raise Refused(400, "BadRequest", str(error)) from error
        for state in self._watcher.of(slot.pod.metadata.uid).containers:
            if state.name == name and state.status is Status.RUNNING:
                return state
        raise Refused(400, "BadRequest", f'container {name} of pod "{slot.pod.metadata.name}" is not running')

    async def _converse(self, session: Session, wire: _Wire) -> meta.Status:
        """Carry both directions until the command ends or the user leaves."""
        try:
            ended, *_ = await _race(_copy_output(session, wire), _copy_input(session, wire), wire.until_over())
            return _exit_status(await session.exit_code()) if ended else _SUCCESS
        finally:
            await session.close()

    # ------------------------------------------------------------------------------------------------ port-forward

    async def _forward(self, slot: Slot, options: core.PodPortForwardOptions, wire: _Wire) -> meta.Status:
        port = options.ports[0] if options.ports else 0
        sandboxes = self._watcher.of(slot.pod.metadata.uid).sandboxes
        pid = next((sandbox.pid for sandbox in sandboxes if sandbox.status is Status.RUNNING), 0)
        if not pid:
            raise Refused(400, "BadRequest", f'pod "{slot.pod.metadata.name}" is not running')
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                sock = await open_in_pod(0 if slot.pod.spec.host_network else pid, port)
                reader, writer = await asyncio.open_connection(sock=sock)
        except (OSError, TimeoutError) as error:
            name = slot.pod.metadata.name
            raise Refused(500, "InternalError", f"cannot reach port {port} of pod {name}: {error}") from error
        return await _carry(reader, writer, wire)

    # ------------------------------------------------------------------------------------------ plain connections

    async def _dial(self, wanted: _Address, wire: _Wire) -> meta.Status:
        host, port = (wanted.host, wanted.port) if wanted.host else self._page()
        where = f"dial tcp {host}:{port}"
        if not port:
            raise Refused(503, "ServiceUnavailable", f"the agent of node {self._node.name} serves no page")
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                reader, writer = await asyncio.open_connection(host, port)
        except TimeoutError as error:
            raise Refused(503, "ServiceUnavailable", f"{where}: i/o timeout") from error
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            raise Refused(503, "ServiceUnavailable", f"{where}: connect: {why}") from error
        await wire.send(Frame.STDOUT, b"")
        return await _carry(reader, writer, wire)


class _Wire:
    """One call in frames.

    One task reads the call from its first frame to its last: a read of grpc that is cancelled ends the whole call.
    """

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue(FRAMES_MAX)
        self._pump = asyncio.create_task(self._read_all())

    async def _read_all(self) -> None:
        try:
            while isinstance(frame := await self._call.read(), Frame):
                await self._frames.put(frame)
        except grpc.aio.AioRpcError:
            pass  # lost; for the reader that is the same as left
        await self._frames.put(None)

    async def close(self) -> None:
        """Let go of the call."""
        self._call.cancel()
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def send(self, channel: node_pb2.StreamFrame.Channel, data: bytes, *, end: bool = False) -> None:
        """Send bytes, in pieces of a bounded size; waits while the other side does not read."""
        for start in range(0, max(len(data), 1), PIECE_MAX_BYTES):
            piece = data[start : start + PIECE_MAX_BYTES]
            last = start + PIECE_MAX_BYTES >= len(data)
            await self._call.write(Frame(channel=channel, data=piece, end=end and last))

    async def read(self) -> Frame | None:
        """The next frame; None when the user has left."""
        return await self._frames.get()

    async def until_left(self) -> None:
        """Return when the user has left."""
        while await self.read() is not None:
            pass

    async def until_over(self) -> None:
        """Return a little after the call has ended: who takes no input would not notice by reading."""
        await self._call.code()
        await asyncio.sleep(DELIVERY_S)

    async def finish(self, status: meta.Status) -> None:
        """Say how it ended, and end the call."""
        await self.send(Frame.STATUS, msgspec.json.encode(status), end=True)
        await self._call.done_writing()
        await self._call.code()


async def _copy_output(session: Session, wire: _Wire) -> None:
    while (piece := await session.read()) is not None:
        stream, data = piece
        await wire.send(Frame.STDERR if stream == "stderr" else Frame.STDOUT, data)


async def _copy_input(session: Session, wire: _Wire) -> None:
    while (frame := await wire.read()) is not None:
        if frame.channel == Frame.RESIZE:
            with suppress(msgspec.DecodeError):
                size = msgspec.json.decode(frame.data, type=_Size)
                await session.resize(size.height, size.width)
        elif frame.channel == Frame.STDIN:
            if frame.data:
                await session.write(frame.data)
            if frame.end:
                await session.close_stdin()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: _Wire) -> meta.Status:
    """Carry both directions of a connection until one side ends it."""
    try:
        await _race(_copy_to_port(wire, writer), _copy_from_port(reader, wire), wire.until_over())
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return _SUCCESS


async def _copy_to_port(wire: _Wire, writer: asyncio.StreamWriter) -> None:
    """Until the user leaves; the end of what the user sends is only told to the port, which may still answer."""
    while (frame := await wire.read()) is not None:
        if frame.data:
            writer.write(frame.data)
            await writer.drain()
        if frame.end and writer.can_write_eof():
            writer.write_eof()


async def _copy_from_port(reader: asyncio.StreamReader, wire: _Wire) -> None:
    while data := await reader.read(PIECE_MAX_BYTES):
        await wire.send(Frame.STDOUT, data)
    await wire.send(Frame.STDOUT, b"", end=True)


async def _archive(wire: _Wire) -> AsyncIterator[bytes]:
    """The images that come down, telling how much was taken. Raises LoadBroken."""
    taken = told = 0
    while (frame := await wire.read()) is not None:
        if frame.channel != Frame.STDIN:
            continue
        if frame.data:
            yield frame.data
            taken += len(frame.data)
        if frame.end or taken - told >= TELL_BYTES:
            told = taken
            await wire.send(Frame.STDOUT, b"%d\n" % taken)
        if frame.end:
            return
    raise LoadBroken("the archive ended in the middle: whoever sent it has left")


async def _race(*runs: Coroutine[Any, Any, None]) -> tuple[bool, ...]:
    """Run all until one has ended, cancel the others; which have ended by themselves. Raises what they raise."""
    tasks = tuple(asyncio.create_task(run) for run in runs)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = tuple(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task, done in zip(tasks, ended, strict=True):
        if done:
            task.result()
    return ended


_SUCCESS = meta.Status(status="Success")


def _failure(code: int, reason: str, message: str) -> meta.Status:
    return meta.Status(status="Failure", code=code, reason=reason, message=message)


def _exit_status(code: int) -> meta.Status:
    """How a command ended, in the form that kubectl takes its own exit code from."""
    if code == 0:
        return _SUCCESS
    cause = meta.StatusCause(reason="ExitCode", message=str(code))
    return meta.Status(
        status="Failure",
        reason="NonZeroExitCode",
        message=f"command terminated with non-zero exit code: exit status {code}",
        details=meta.StatusDetails(causes=(cause,)),
    )
