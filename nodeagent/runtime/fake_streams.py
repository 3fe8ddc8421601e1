"""Exec and attach of the in-memory runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nodeagent.runtime.errors import Deadline
from nodeagent.runtime.fake_process import Process
from nodeagent.runtime.fake_records import Frame, Record
from nodeagent.runtime.fake_shell import Leave, NotExecutable, Say, Step, compile_command
from nodeagent.runtime.values import ContainerSpec, ExecResult, Stream

_OUTPUT_MAX = 16 * 1024


def execute(record: Record, command: Sequence[str], *, tty: bool, env: Sequence[tuple[str, str]]) -> FakeSession:
    """Start a command in a running container."""
    assert record.process is not None
    output: asyncio.Queue[Frame | None] = asyncio.Queue()

    def emit(stream: Stream, data: bytes) -> None:
        output.put_nowait(("stdout", data.replace(b"\n", b"\r\n")) if tty else (stream, data))

    steps: Sequence[Step]
    try:
        steps = compile_command(command)
    except NotExecutable as error:
        steps = (Say(f"OCI runtime exec failed: {error}\n"), Leave(126))
    process = Process(
        steps,
        env={**record.process.env, **dict(env)},
        files=record.files,
        emit=emit,
        ended=lambda code: output.put_nowait(None),
    )
    process.start()
    return FakeSession(process, output)


async def execute_sync(record: Record, command: Sequence[str], timeout_s: float) -> ExecResult:
    """Run a command to its end."""
    session = execute(record, command, tty=False, env=())
    output = b""
    try:
        async with asyncio.timeout(timeout_s):
            while (frame := await session.read()) is not None:
                output += frame[1]
    except TimeoutError as error:
        session.process.signal("SIGKILL")
        raise Deadline(f"command timed out: {' '.join(command)} timed out after {timeout_s:g}s") from error
    return ExecResult(exit_code=await session.exit_code(), output=output[:_OUTPUT_MAX])


def attach(record: Record) -> FakeSession:
    """Join a running container's own input and output."""
    assert record.process is not None
    assert isinstance(record.spec, ContainerSpec)
    output: asyncio.Queue[Frame | None] = asyncio.Queue()
    record.listeners.append(output)
    return FakeSession(record.process, output, ends_input=record.spec.stdin_once)


class FakeSession:
    """An exec or attach of the in-memory runtime; see `port.Session`."""

    def __init__(self, process: Process, output: asyncio.Queue[Frame | None], *, ends_input: bool = True) -> None:
        self.process = process
        self._ends_input = ends_input
        self._output = output
        self._finished = False
        self.size = (0, 0)

    async def read(self) -> Frame | None:
        """The next piece of output."""
        if self._finished:
            return None
        frame = await self._output.get()
        self._finished = frame is None
        return frame

    async def write(self, data: bytes) -> None:
        """Send to the command."""
        await self.process.feed(data)

    async def close_stdin(self) -> None:
        """End the command's input."""
        if self._ends_input:
            await self.process.feed(b"")

    async def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal's size."""
        self.size = (rows, columns)

    async def exit_code(self) -> int:
        """The exit code, once the output has ended."""
        assert self.process.exit_code is not None, "read until the end first"
        return self.process.exit_code

    async def close(self) -> None:
        """Let go."""
        self._finished = True
