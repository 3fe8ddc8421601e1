"""Output and input of containers: logs, exec and attach.

Docker wraps output in frames of eight bytes of head (stream, length) unless the container or command has a terminal;
then everything is one plain stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from nodeagent.runtime.docker_engine import Engine, EngineError
from nodeagent.runtime.errors import ContainerNotFound, ContainerNotRunning, Deadline, RuntimeFailure
from nodeagent.runtime.values import ContainerState, ExecResult, LogQuery, Status, Stream

_PIECE = 32 * 1024
_OUTPUT_MAX = 16 * 1024
_END_POLL_S = 0.02


class _Source(Protocol):
    """What both an HTTP answer and a hijacked connection are."""

    async def readexactly(self, n: int) -> bytes: ...

    async def read(self, n: int = -1) -> bytes: ...


class Frames:
    """Takes output out of a source, piece by piece."""

    def __init__(self, source: _Source, *, plain: bool) -> None:
        self._source = source
        self._plain = plain
        self._left = 0
        self._stream: Stream = "stdout"

    async def next(self) -> tuple[Stream, bytes] | None:
        """The next piece, of at most 32 KiB; None at the end, also when it is in the middle of a frame."""
        try:
            if not self._plain and self._left == 0:
                await self._head()
            size = _PIECE if self._plain else min(self._left, _PIECE)
            piece = await self._source.read(size)
        except (EOFError, ConnectionError):
            return None
        self._left -= len(piece)
        return (self._stream, piece) if piece else None

    async def _head(self) -> None:
        while self._left == 0:
            head = await self._source.readexactly(8)
            self._stream = "stderr" if head[0] == 2 else "stdout"
            self._left = int.from_bytes(head[4:], "big")


class HijackSession:
    """An exec or attach over a hijacked connection; see `port.Session`."""

    def __init__(
        self,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        tty: bool,
        ends_input: bool = True,
        resize: Callable[[int, int], Awaitable[None]],
        exit_code: Callable[[], Awaitable[int]],
    ) -> None:
        reader, self._writer = connection
        self._frames = Frames(reader, plain=tty)
        self._tty = tty
        self._ends_input = ends_input
        self._resize = resize
        self._exit_code = exit_code

    async def read(self) -> tuple[Stream, bytes] | None:
        """The next piece of output."""
        return await self._frames.next()

    async def write(self, data: bytes) -> None:
        """Send to the command; what it no longer reads is dropped."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        """End the command's input, where it does not outlive this session: then Docker would end the output, too."""
        with contextlib.suppress(OSError):
            if self._ends_input and self._writer.can_write_eof():
                self._writer.write_eof()

    async def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal's size."""
        if self._tty:
            with contextlib.suppress(RuntimeFailure):
                await self._resize(rows, columns)

    async def exit_code(self) -> int:
        """The exit code, once the output has ended."""
        return await self._exit_code()

    async def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class DockerStreams:
    """The streams part of the port; see `port.Runtime` for the contract of each method."""

    def __init__(self, engine: Engine, look: Callable[[str], Awaitable[ContainerState]]) -> None:
        self._engine = engine
        self._look = look

    async def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[tuple[Stream, bytes], None]:
        """A container's output."""
        parameters = {
            "follow": str(int(query.follow)),
            "stdout": str(int(query.stdout)),
            "stderr": str(int(query.stderr)),
            "timestamps": str(int(query.timestamps)),
            "tail": "all" if query.tail is None else str(query.tail),
            "since": f"{query.since_ms // 1000}.{query.since_ms % 1000:03d}000000",
        }
        plain = (await self._look(container_id)).tty
        left = query.limit_bytes
        idle_s = None if query.follow else self._engine.settings.idle_deadline_s
        async with (
            _typed(container_id),
            self._engine.stream("GET", f"/containers/{container_id}/logs", query=parameters, idle_s=idle_s) as response,
        ):
            frames = Frames(response.content, plain=plain)
            while left is None or left > 0:
                found = await frames.next()
                if found is None:
                    return
                stream, piece = found
                if left is not None:
                    piece = piece[:left]
                    left -= len(piece)
                yield stream, piece

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, env: Sequence[tuple[str, str]]
    ) -> HijackSession:
        """Run a command in a container."""
        exec_id = await self._create_exec(container_id, command, tty=tty, stdin=stdin, env=env)
        async with _typed(container_id):
            connection = await self._engine.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty})

        async def resize(rows: int, columns: int) -> None:
            await self._engine.call("POST", f"/exec/{exec_id}/resize", query={"h": str(rows), "w": str(columns)})

        async def exit_code() -> int:
            return await self._exec_exit_code(exec_id)

        return HijackSession(connection, tty=tty, resize=resize, exit_code=exit_code)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run a command to its end."""
        exec_id = await self._create_exec(container_id, command, tty=False, stdin=False, env=())
        try:
            async with asyncio.timeout(timeout_s):
                return await self._run(container_id, exec_id)
        except TimeoutError as error:
            await self._kill_exec(container_id, exec_id)
            raise Deadline(f"command timed out: {' '.join(command)} timed out after {timeout_s:g}s") from error

    async def _run(self, container_id: str, exec_id: str) -> ExecResult:
        async with _typed(container_id):
            reader, writer = await self._engine.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})
        try:
            frames = Frames(reader, plain=False)
            output = bytearray()
            while (found := await frames.next()) is not None:
                output += found[1][: _OUTPUT_MAX - len(output)]
            return ExecResult(exit_code=await self._exec_exit_code(exec_id), output=bytes(output))
        finally:
            writer.close()

    async def attach(self, container_id: str, *, stdin: bool) -> HijackSession:
        """Join a container's own input and output."""
        state = await self._look(container_id)
        if state.status is not Status.RUNNING:  # Docker would give a pipe in which nothing ever comes
            raise _not_running(container_id)
        tty = state.tty
        options = f"stream=1&stdout=1&stderr=1&stdin={int(stdin)}"
        async with _typed(container_id):
            connection = await self._engine.hijack(f"/containers/{container_id}/attach?{options}", None)

        async def resize(rows: int, columns: int) -> None:
            query = {"h": str(rows), "w": str(columns)}
            await self._engine.call("POST", f"/containers/{container_id}/resize", query=query)

        async def exit_code() -> int:
            async with (
                _typed(container_id),
                self._engine.stream("POST", f"/containers/{container_id}/wait") as response,
            ):
                return int(json.loads(await response.read())["StatusCode"])

        ends_input = state.stdin_once and not tty
        return HijackSession(connection, tty=tty, ends_input=ends_input, resize=resize, exit_code=exit_code)

    async def _create_exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, env: Sequence[tuple[str, str]]
    ) -> str:
        body = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": tty,
            "Cmd": list(command),
            "Env": [f"{name}={value}" for name, value in env],
        }
        async with _typed(container_id):
            answer = await self._engine.call("POST", f"/containers/{container_id}/exec", body=body)
        return str(json.loads(answer)["Id"])

    async def _exec_exit_code(self, exec_id: str) -> int:
        """Output may end a moment before the command does."""
        limit_s = self._engine.settings.call_deadline_s
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    seen = json.loads(await self._engine.call("GET", f"/exec/{exec_id}/json"))
                    if not seen["Running"]:
                        return int(seen["ExitCode"])
                    await asyncio.sleep(_END_POLL_S)
        except TimeoutError as error:
            raise Deadline(f"the command has closed its output but did not end within {limit_s:g} s") from error

    async def _kill_exec(self, container_id: str, exec_id: str) -> None:
        """Docker cannot end a command of an exec; its process is on this machine, though, and in our reach."""
        with contextlib.suppress(RuntimeFailure, OSError):
            seen = json.loads(await self._engine.call("GET", f"/exec/{exec_id}/json"))
            pid = int(seen["Pid"])
            groups = await asyncio.to_thread(Path(f"/proc/{pid}/cgroup").read_text)
            if seen["Running"] and container_id in groups:
                os.kill(pid, 9)


@contextlib.asynccontextmanager
async def _typed(container_id: str) -> AsyncIterator[None]:
    """Failures of a call about one container."""
    try:
        yield
    except EngineError as error:
        if error.status == 404:
            raise ContainerNotFound(f"container {container_id} not found") from error
        if error.status == 409:
            raise _not_running(container_id) from error
        raise


def _not_running(container_id: str) -> ContainerNotRunning:
    return ContainerNotRunning(f"container {container_id} is not running")
