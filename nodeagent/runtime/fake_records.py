"""What the in-memory runtime keeps of its containers: the record, and its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from mizzen.api import times
from nodeagent.runtime.fake_process import Process
from nodeagent.runtime.values import ContainerSpec, ContainerState, LogQuery, SandboxSpec, SandboxState, Status, Stream

Frame = tuple[Stream, bytes]


@dataclass(slots=True, kw_only=True)
class Record:
    """One sandbox or container and all that happens to it."""

    id: str
    spec: SandboxSpec | ContainerSpec
    created_at_ms: int
    image_id: str = ""
    status: Status = Status.CREATED
    pid: int = 0
    started_at_ms: int = 0
    finished_at_ms: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    process: Process | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[int, Stream, bytes]] = field(default_factory=list)
    """Lines, with the time of each."""
    listeners: list[asyncio.Queue[Frame | None]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def state(self) -> SandboxState | ContainerState:
        """The record as the port tells it."""
        spec = self.spec
        if isinstance(spec, SandboxSpec):
            return SandboxState(
                id=self.id,
                pod=spec.pod,
                attempt=spec.attempt,
                status=self.status,
                pid=self.pid,
                created_at_ms=self.created_at_ms,
                started_at_ms=self.started_at_ms,
                network=spec.network,
            )
        return ContainerState(
            id=self.id,
            pod=spec.pod,
            name=spec.name,
            attempt=spec.attempt,
            status=self.status,
            sandbox_id=spec.sandbox_id,
            spec_hash=spec.spec_hash,
            image=spec.image,
            image_id=self.image_id,
            pid=self.pid,
            created_at_ms=self.created_at_ms,
            started_at_ms=self.started_at_ms,
            finished_at_ms=self.finished_at_ms,
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            error=self.error,
            tty=spec.tty,
            labels=spec.labels,
        )

    def say(self, now_ms: int, stream: Stream, data: bytes) -> None:
        """Take output of the process: into the log, and to those who listen."""
        if isinstance(self.spec, ContainerSpec) and self.spec.tty:
            stream, data = "stdout", data.replace(b"\n", b"\r\n")
        self.log += [(now_ms, stream, line) for line in data.splitlines(keepends=True)]
        for listener in self.listeners:
            listener.put_nowait((stream, data))

    def end(self, now_ms: int, exit_code: int) -> None:
        """The process has ended, or never could begin."""
        self.status, self.pid = Status.EXITED, 0
        self.finished_at_ms, self.exit_code = now_ms, exit_code
        for listener in self.listeners:
            listener.put_nowait(None)
        self.listeners.clear()
        self.ended.set()

    async def read_log(self, query: LogQuery) -> AsyncGenerator[Frame, None]:
        """The part of the log that was asked for, and with `follow` what comes after."""
        wanted = [stream for stream, on in (("stdout", query.stdout), ("stderr", query.stderr)) if on]
        lines = [entry for entry in self.log if entry[1] in wanted and entry[0] >= query.since_ms]
        if query.tail is not None:
            lines = lines[len(lines) - query.tail :] if query.tail < len(lines) else lines
        left = query.limit_bytes
        seen = len(self.log)
        while True:
            for at_ms, stream, line in lines:
                piece = _stamp(at_ms) + line if query.timestamps else line
                piece = piece if left is None else piece[:left]
                left = None if left is None else left - len(piece)
                yield stream, piece
                if left == 0:
                    return
            if not query.follow or (self.status is not Status.RUNNING and seen == len(self.log)):
                return
            await self._more(seen)
            lines, seen = [entry for entry in self.log[seen:] if entry[1] in wanted], len(self.log)

    async def _more(self, seen: int) -> None:
        """Wait for output beyond what was seen, or for the end."""
        if len(self.log) > seen or self.status is not Status.RUNNING:
            return
        queue: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.listeners.append(queue)
        try:
            await queue.get()
        finally:
            if queue in self.listeners:
                self.listeners.remove(queue)


def _stamp(at_ms: int) -> bytes:
    return f"{times.render(at_ms)[:-1]}.{at_ms % 1000:03d}000000Z ".encode()
