"""A process of the in-memory runtime: plays the steps of its command in the event loop's time, takes signals, ends.

It is a process 1 in one respect that matters: signals it has not asked for do nothing, except SIGKILL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from nodeagent.runtime.fake_shell import (
    Echo,
    Leave,
    OnFile,
    Pause,
    Result,
    Say,
    Step,
    Tell,
    Trap,
)
from nodeagent.runtime.values import Stream

_KILLED = 137
_INPUT_MAX = 1024


class _Left(Exception):
    """The script has said `exit`."""


class Process:
    """One running command. `emit` receives its output; `ended` its exit code, once."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        env: Mapping[str, str],
        files: dict[str, bytes],
        emit: Callable[[Stream, bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self._steps = steps
        self.env = env
        self._files = files
        self._emit = emit
        self._ended = ended
        self._input: asyncio.Queue[bytes] = asyncio.Queue(_INPUT_MAX)
        self._traps: dict[str, tuple[Step, ...]] = {}
        self._code = 0
        self._task: asyncio.Task[None] | None = None
        self.exit_code: int | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._play(self._steps)

    def signal(self, name: str) -> None:
        """Take a signal, with or without its `SIG`."""
        name = name.removeprefix("SIG")
        if self.exit_code is not None:
            return
        if name in ("KILL", "9"):
            self.end(_KILLED)
        elif name in self._traps:
            self._stop()
            self._play(self._traps[name])

    def end(self, code: int) -> None:
        """End now with this exit code."""
        if self.exit_code is None:
            self._stop()
            self.exit_code = code
            self._ended(code)

    async def feed(self, data: bytes) -> None:
        """Give it input; nothing means that the input has ended."""
        if self.exit_code is None:
            await self._input.put(data)

    def _play(self, steps: Sequence[Step]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(steps))

    def _stop(self) -> None:
        if self._task is not None and self._task is not _current_task():
            self._task.cancel()

    async def _run(self, steps: Sequence[Step]) -> None:
        try:
            for step in steps:
                await self._do(step)
        except _Left:
            pass
        self.end(self._code)

    async def _do(self, step: Step) -> None:
        match step:
            case Say():
                self._emit(step.stream, step.text.encode())
            case Pause():
                await asyncio.sleep(step.ms / 1000)
            case Leave():
                self._code = self._code if step.code is None else step.code
                raise _Left
            case Result():
                self._code = step.code
            case Trap():
                self._traps[step.signal] = step.steps
            case Echo():
                while data := await self._input.get():
                    self._emit("stdout", data)
            case Tell():
                lines = [f"{name}={value}" for name, value in self.env.items()]
                text = self.env["HOSTNAME"] if step.what == "hostname" else "\n".join(lines)
                self._emit("stdout", text.encode() + b"\n")
            case OnFile():
                self._code = self._on_file(step)

    def _on_file(self, step: OnFile) -> int:
        match step.verb:
            case "touch":
                self._files.setdefault(step.path, b"")
            case "rm":
                self._files.pop(step.path, None)
            case "cat" if step.path in self._files:
                self._emit("stdout", self._files[step.path])
            case "cat":
                self._emit("stderr", f"cat: can't open '{step.path}': No such file or directory\n".encode())
                return 1
            case _:
                return 0 if step.path in self._files else 1
        return 0


def _current_task() -> asyncio.Task[None] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
