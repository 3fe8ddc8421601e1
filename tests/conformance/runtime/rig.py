"""Short ways to say in a test what pods do, on any runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from nodeagent.runtime.port import Runtime, Session
from nodeagent.runtime.values import (
    ContainerSpec,
    ContainerState,
    LogQuery,
    PodRef,
    SandboxSpec,
    SandboxState,
    Status,
    Stream,
)

IMAGE = "mizzen.test/busybox:1"
UNTIL_TERM = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
"""A program that waits to be asked to end, and then ends with 7."""

_DEADLINE_S = 20.0
T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Look again until there is something; fails after a while."""
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            if (found := await look()) is not None:
                return found
            await asyncio.sleep(0.01)
    raise AssertionError(what)


class Rig:
    """One pod on one runtime."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.runtime = runtime
        self.pod = PodRef(uid=f"uid-{name}", namespace="default", name=name)
        self.sandbox_spec = SandboxSpec(pod=self.pod, hostname=name)

    async def sandbox(self, **changes: Any) -> SandboxState:
        """The pod's sandbox, running."""
        return await self.runtime.create_sandbox(replace(self.sandbox_spec, **changes))

    def spec(self, sandbox: SandboxState, script: str = "", **changes: Any) -> ContainerSpec:
        """A container of the pod that runs a line of shell, or what its image says."""
        base = ContainerSpec(pod=self.pod, name="main", attempt=0, sandbox_id=sandbox.id, image=IMAGE)
        return replace(base, **({"command": ("sh", "-c", script)} if script else {}) | changes)

    async def started(self, script: str = "", **changes: Any) -> str:
        """A sandbox and a container in it that has been started."""
        container_id = await self.runtime.create_container(self.spec(await self.sandbox(), script, **changes))
        await self.runtime.start_container(container_id)
        return container_id

    async def state(self, container_id: str) -> ContainerState | None:
        """The container as it is listed now."""
        return next((c for c in (await self.runtime.list()).containers if c.id == container_id), None)

    async def exited(self, container_id: str) -> ContainerState:
        """The container once it has ended."""

        async def look() -> ContainerState | None:
            state = await self.state(container_id)
            return state if state is not None and state.status is Status.EXITED else None

        return await eventually(look, "the container never ended")

    async def output(self, container_id: str, **query: Any) -> str:
        """The container's log as one text."""
        return "".join([piece.decode() async for _, piece in self.runtime.logs(container_id, LogQuery(**query))])

    async def says(self, container_id: str, text: str) -> None:
        """Wait until the text is in the container's log."""

        async def look() -> bool | None:
            return text in await self.output(container_id) or None

        await eventually(look, f"the container never said {text!r}")


@asynccontextmanager
async def closing(session: Session) -> AsyncIterator[Session]:
    """Close the session at the end."""
    try:
        yield session
    finally:
        await session.close()


async def read_all(session: Session) -> dict[Stream, bytes]:
    """All output of the session by stream, to its end."""
    found: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(_DEADLINE_S):
        while (frame := await session.read()) is not None:
            found[frame[0]] += frame[1]
    return found


async def read_until(session: Session, text: bytes) -> bytes:
    """Output of the session up to and with the text."""
    found = b""
    async with asyncio.timeout(_DEADLINE_S):
        while text not in found:
            frame = await session.read()
            assert frame is not None, f"ended after {found!r}"
            found += frame[1]
    return found
