"""The runtime port over Docker Engine: sandboxes, containers, and what there is of them.

Everything is made idempotent by name: a creation whose outcome was lost meets its own result as a name conflict and
takes that over. Nothing is remembered that matters: the cache of inspections only saves calls.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nodeagent.runtime import archive, docker_events, naming
from nodeagent.runtime.docker_engine import DockerSettings, Engine, EngineError
from nodeagent.runtime.docker_images import DockerImages
from nodeagent.runtime.docker_specs import Body, container_body, limits_body, sandbox_body
from nodeagent.runtime.docker_states import architecture_of, info_of, memory_used, rows, state_of, written
from nodeagent.runtime.docker_streams import DockerStreams
from nodeagent.runtime.errors import (
    ContainerNotFound,
    Deadline,
    ImageNotFound,
    LimitRefused,
    RuntimeFailure,
    StartFailed,
    refuse_below_use,
)
from nodeagent.runtime.port import Session
from nodeagent.runtime.values import (
    ContainerSpec,
    ContainerState,
    Event,
    ExecResult,
    ImageInfo,
    Limits,
    LogQuery,
    PullProgress,
    RegistryAuth,
    RuntimeInfo,
    SandboxSpec,
    SandboxState,
    Snapshot,
    Status,
    Stream,
)

_STOP_SIGNAL_API = (1, 42)  # older engines cannot be told the signal of a stop
_CAP_SYS_RESOURCE = 24
_STOP_MARGIN_S = 15.0
_IN_USE = re.compile(r"current usage: (\d+)")
_LISTED = {"all": "1", "filters": json.dumps({"label": [naming.TYPE]})}

State = SandboxState | ContainerState


class DockerRuntime:
    """`port.Runtime` over Docker Engine; its docstrings are the contract of these methods."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._engine = Engine(settings)
        self._images = DockerImages(self._engine)
        self._streams = DockerStreams(self._engine, self._look)
        self._oom_floor = _oom_floor()
        self._starts = asyncio.Semaphore(settings.starts_at_once)
        self._seen: dict[str, tuple[str, State]] = {}
        """By id: Docker's word for the state, and the inspection made then."""

    async def close(self) -> None:
        """Let go of all connections."""
        await self._engine.close()

    async def version(self) -> RuntimeInfo:
        """What the engine is."""
        return info_of(await self._engine.call("GET", "/version"), await self._engine.call("GET", "/info"))

    # ------------------------------------------------------------------------------------------------- sandboxes

    async def create_sandbox(self, spec: SandboxSpec) -> SandboxState:
        """A new running sandbox."""
        name = naming.sandbox_name(spec.pod, spec.attempt)
        async with self._starts:
            try:
                return await self._new_sandbox(name, spec)
            except EngineError as error:
                if error.status != 409:
                    raise _sandbox_failure(error) from error
            existing = await self._find(name)
            if isinstance(existing, SandboxState) and existing.status is Status.RUNNING:
                return existing
            try:
                await self._remove(name, force=True)
                return await self._new_sandbox(name, spec)
            except EngineError as error:
                raise _sandbox_failure(error) from error

    async def _new_sandbox(self, name: str, spec: SandboxSpec) -> SandboxState:
        body = sandbox_body(spec, self._oom_floor)
        try:
            sandbox_id = await self._create(name, body)
        except EngineError as error:
            if error.status != 404:
                raise
            architecture = architecture_of(await self._engine.call("GET", "/version"))
            await self._images.load(archive.pause_image(architecture)[1])
            sandbox_id = await self._create(name, body)
        await self._start(sandbox_id)
        state = await self._find(sandbox_id)
        if not isinstance(state, SandboxState) or state.status is not Status.RUNNING:
            raise StartFailed("CreatePodSandboxError", f"sandbox {name} ended as soon as it was started")
        return state

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """End and remove a sandbox."""
        await self.remove_container(sandbox_id, force=True)

    # ------------------------------------------------------------------------------------------------ containers

    async def create_container(self, spec: ContainerSpec) -> str:
        """Make a container."""
        name = naming.container_name(spec.pod, spec.name, spec.attempt)
        body = container_body(spec, self._oom_floor)
        async with self._starts:
            try:
                return await self._create(name, body)
            except EngineError as error:
                if error.status != 409:
                    raise _create_failure(spec, error) from error
            existing = await self._find(name)
            if isinstance(existing, ContainerState):
                if existing.started_at_ms:
                    raise StartFailed("CreateContainerError", f"attempt {spec.attempt} of {spec.name} has already run")
                same = (existing.spec_hash, existing.sandbox_id) == (spec.spec_hash, spec.sandbox_id)
                if same and existing.status is Status.CREATED:
                    return existing.id
            try:
                await self._remove(name, force=False)
                return await self._create(name, body)
            except EngineError as error:
                raise _create_failure(spec, error) from error

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        async with self._starts:
            try:
                await self._start(container_id)
            except EngineError as error:
                if error.status == 404 and container_id in error.message:
                    raise _not_found(container_id) from error
                # 400 is Docker's answer when the program is missing or cannot be executed.
                reason = "ContainerCannotRun" if error.status == 400 else "RunContainerError"
                raise StartFailed(reason, f"failed to start container {container_id}: {error.message}") from error

    async def update_container(self, container_id: str, limits: Limits) -> None:
        """Change the bounds of a container."""
        path = f"/containers/{container_id}"
        try:
            if limits.memory_bytes:
                query = {"stream": "false", "one-shot": "true"}
                used = memory_used(await self._engine.call("GET", f"{path}/stats", query=query))
                refuse_below_use((await self._look(container_id)).name, limits, used)
            await self._engine.call("POST", f"{path}/update", body=limits_body(limits))
        except EngineError as error:
            if error.status == 404:
                raise _not_found(container_id) from error
            # Where the engine does not tell what is in use, the kernel may refuse and say it (cgroup version 1).
            if told := _IN_USE.search(error.message):
                refuse_below_use((await self._look(container_id)).name, limits, int(told[1]))
            raise LimitRefused(f"failed to update container {container_id}: {error.message}") from error

    async def stop_container(self, container_id: str, grace_s: int, signal: str = "") -> None:
        """Ask, wait, kill."""
        if signal and await self._engine.api() < _STOP_SIGNAL_API:
            await self._stop_by_signal(container_id, grace_s, signal)
            return
        query = {"t": str(grace_s)} | ({"signal": signal} if signal else {})
        await self._wait_for(container_id, "stop", query, grace_s + _STOP_MARGIN_S)

    async def _stop_by_signal(self, container_id: str, grace_s: int, signal: str) -> None:
        await self.kill_container(container_id, signal)
        with suppress(Deadline):
            await self._wait_for(container_id, "wait", {}, max(grace_s, 0.001))
            return
        await self.kill_container(container_id)
        await self._wait_for(container_id, "wait", {}, _STOP_MARGIN_S)

    async def _wait_for(self, container_id: str, verb: str, query: Mapping[str, str], limit_s: float) -> None:
        try:
            async with self._engine.stream(
                "POST", f"/containers/{container_id}/{verb}", query=query, idle_s=limit_s
            ) as response:
                await response.read()
        except EngineError as error:
            raise _about(container_id, error) from error

    async def kill_container(self, container_id: str, signal: str = "SIGKILL") -> None:
        """Send a signal."""
        try:
            await self._engine.call("POST", f"/containers/{container_id}/kill", query={"signal": signal})
        except EngineError as error:
            if error.status != 409:  # not running
                raise _about(container_id, error) from error

    async def remove_container(self, container_id: str, force: bool = False) -> None:
        """Remove a container."""
        async with self._starts:
            await self._remove(container_id, force=force)
        self._seen.pop(container_id, None)

    # ------------------------------------------------------------------------------------------------- what there is

    async def list(self) -> Snapshot:
        """Everything of ours."""
        found: dict[str, State] = {}
        listed = rows(await self._engine.call("GET", "/containers/json", query=_LISTED))
        for row in listed:
            word, state = self._seen.get(row.id, ("", None))
            # A start that fails leaves Docker's word at `created`, so that one is always looked at.
            if state is None or word != row.state or word == "created":
                state = await self._find(row.id)
            if state is not None:
                found[row.id] = state
        words = {row.id: row.state for row in listed}
        self._seen = {id_: (words[id_], state) for id_, state in found.items()}
        states = sorted(found.values(), key=_order)
        return Snapshot(
            sandboxes=tuple(state for state in states if isinstance(state, SandboxState)),
            containers=tuple(state for state in states if isinstance(state, ContainerState)),
        )

    async def disk_used(self) -> Mapping[str, int]:
        """What containers have written."""
        limit_s = self._settings.start_deadline_s
        listed = await self._engine.call("GET", "/containers/json", query={**_LISTED, "size": "1"}, deadline_s=limit_s)
        return written(listed)

    def events(self) -> AsyncGenerator[Event, None]:
        """Hints of changes."""
        return docker_events.follow(self._engine)

    # ---------------------------------------------------------------------------------------------------- images

    async def image_status(self, ref: str) -> ImageInfo | None:
        """The image a reference names."""
        return await self._images.status(ref)

    async def list_images(self) -> tuple[ImageInfo, ...]:
        """All images."""
        return await self._images.list()

    async def pull_image(
        self, ref: str, auth: RegistryAuth | None = None, progress: Callable[[PullProgress], None] | None = None
    ) -> ImageInfo:
        """Fetch an image."""
        return await self._images.pull(ref, auth, progress)

    async def remove_image(self, image_id: str) -> None:
        """Remove an image."""
        await self._images.remove(image_id)

    async def load_image(self, archive: bytes | AsyncIterable[bytes]) -> tuple[str, ...]:
        """Take images out of an archive."""
        return await self._images.load(archive)

    async def image_files(self, image_id: str, folder: str) -> None:
        """Put an image's files into a folder."""
        await self._images.files(image_id, folder)

    # --------------------------------------------------------------------------------------------------- streams

    def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[tuple[Stream, bytes], None]:
        """A container's output."""
        return self._streams.logs(container_id, query)

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        env: Sequence[tuple[str, str]] = (),
    ) -> Session:
        """Run a command in a container."""
        return await self._streams.exec(container_id, command, tty=tty, stdin=stdin, env=env)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run a command to its end."""
        return await self._streams.exec_sync(container_id, command, timeout_s)

    async def attach(self, container_id: str, *, stdin: bool = False) -> Session:
        """Join a container's own input and output."""
        return await self._streams.attach(container_id, stdin=stdin)

    # --------------------------------------------------------------------------------------------------- helpers

    async def _create(self, name: str, body: Body) -> str:
        answer = await self._engine.call(
            "POST",
            "/containers/create",
            query={"name": name},
            body=body,
            deadline_s=self._settings.start_deadline_s,
        )
        return str(json.loads(answer)["Id"])

    async def _start(self, container_id: str) -> None:
        limit_s = self._settings.start_deadline_s
        await self._engine.call("POST", f"/containers/{container_id}/start", deadline_s=limit_s)

    async def _remove(self, container: str, *, force: bool) -> None:
        query = {"v": "1", "force": str(int(force))}
        try:
            await self._engine.call(
                "DELETE", f"/containers/{container}", query=query, deadline_s=self._settings.start_deadline_s
            )
        except EngineError as error:
            if error.status != 404 and "already in progress" not in error.message:
                raise

    async def _find(self, container: str) -> State | None:
        """Inspect by id or name; None when there is none."""
        try:
            return state_of(await self._engine.call("GET", f"/containers/{container}/json"))
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    async def _look(self, container_id: str) -> ContainerState:
        state = await self._find(container_id)
        if not isinstance(state, ContainerState):
            raise _not_found(container_id)
        return state


def _oom_floor() -> int:
    """The lowest OOM score adjustment that root may give here: without the right to it, none below its own."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if int(facts["CapEff"], 16) >> _CAP_SYS_RESOURCE & 1:
        return -1000
    return int(Path("/proc/self/oom_score_adj").read_text())


def _order(state: State) -> tuple[str, str, str, str, int]:
    name = state.name if isinstance(state, ContainerState) else ""
    return (state.pod.namespace, state.pod.name, state.pod.uid, name, state.attempt)


def _not_found(container_id: str) -> ContainerNotFound:
    return ContainerNotFound(f"container {container_id} not found")


def _about(container_id: str, error: EngineError) -> RuntimeFailure:
    return _not_found(container_id) if error.status == 404 else error


def _sandbox_failure(error: EngineError) -> StartFailed:
    return StartFailed("CreatePodSandboxError", f"failed to create pod sandbox: {error.message}")


def _create_failure(spec: ContainerSpec, error: EngineError) -> RuntimeFailure:
    if error.status == 404 and "no such image" in error.message.lower():
        return ImageNotFound(f'image "{spec.image}" is not on the node')
    return StartFailed("CreateContainerError", f"failed to create container {spec.name}: {error.message}")
