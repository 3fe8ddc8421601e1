"""The runtime port in memory: for tests of the agent and for nothing else.

It passes the same conformance suite as Docker. Programs are those of `fake_shell`; they run in the event loop's time,
so that a virtual loop makes days pass at once, while the instants in states come from the clock that is passed in.
Beside the port it has what a test needs to make trouble: `fail_next`, `latency_ms`, `unavailable`, `power_off`,
`oom_kill`, `add_remote_image`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mizzen.engine.values import Clock
from nodeagent.runtime import fake_streams
from nodeagent.runtime.errors import (
    ContainerNotFound,
    ContainerNotRunning,
    ImageInUse,
    ImageNotFound,
    RuntimeFailure,
    RuntimeUnavailable,
    StartFailed,
    refuse_below_use,
)
from nodeagent.runtime.fake_images import FakeImage, FakeImages
from nodeagent.runtime.fake_process import Process
from nodeagent.runtime.fake_records import Record
from nodeagent.runtime.fake_shell import NotExecutable, compile_command
from nodeagent.runtime.values import (
    ContainerSpec,
    ContainerState,
    Event,
    ExecResult,
    ImageInfo,
    Limits,
    LogQuery,
    PodRef,
    PullProgress,
    RegistryAuth,
    RuntimeInfo,
    SandboxSpec,
    SandboxState,
    Snapshot,
    Status,
    Stream,
)

_EVENTS_MAX = 4096
_POWER_LOSS = 255

_INFO = RuntimeInfo(
    name="fake",
    version="1",
    api_version="1",
    cgroup_version=2,
    cgroup_driver="cgroupfs",
    os="Memory",
    architecture="amd64",
    kernel="0",
    cpus=4,
    memory_bytes=8 << 30,
    root_dir="/nowhere",
)


class FakeRuntime:
    """`port.Runtime` in memory; the port's docstrings are the contract of these methods."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._images = FakeImages()
        self.written: dict[str, int] = {}
        """What containers have written into their layers, in bytes by id."""
        self._records: dict[str, Record] = {}
        self._listeners: list[asyncio.Queue[Event]] = []
        self._failures: defaultdict[str, deque[RuntimeFailure]] = defaultdict(deque)
        self._last_pid = 1
        self._last_id = 0
        self.unavailable = False
        """While set, every call raises RuntimeUnavailable, as with an engine that is not running."""
        self.latency_ms: dict[str, int] = {}
        """How long calls of a method take before they do anything, in the event loop's time."""
        self.memory_used: dict[str, int] = {}
        """Bytes that containers use, by id."""
        self.calls: list[tuple[str, str]] = []
        """Every call that changed something: method, and id or name of its object."""

    # --------------------------------------------------------------------------------------------- making trouble

    def fail_next(self, method: str, error: RuntimeFailure) -> None:
        """Let the next call of the method raise this; more than one wait in line."""
        self._failures[method].append(error)

    def add_remote_image(self, ref: str, *, command: tuple[str, ...] = ("sleep", "1000000"), pull_ms: int = 0) -> None:
        """Let the registry have an image that runs the command."""
        self._images.add_remote(ref, command=command, pull_ms=pull_ms)

    def oom_kill(self, container_id: str) -> None:
        """End a container as the kernel does when it is out of memory."""
        record = self._record(container_id)
        record.oom_killed = True
        assert record.process is not None
        record.process.end(137)

    def power_off(self) -> None:
        """End everything at once, tell nobody, and be unavailable until that is taken back."""
        self.unavailable = True
        for record in self._records.values():
            if record.process is not None:
                record.process.end(_POWER_LOSS)
            elif record.status is Status.RUNNING:  # a sandbox
                record.end(self._clock.now(), _POWER_LOSS)

    def restored(self) -> None:
        """The engine answers again; those who follow its events are told to look."""
        self.unavailable = False
        self._tell(Event(action="resync"))

    # ------------------------------------------------------------------------------------------------ port: engine

    async def close(self) -> None:
        """End all processes."""
        for record in self._records.values():
            if record.process is not None:
                record.process.end(_POWER_LOSS)

    async def version(self) -> RuntimeInfo:
        """What the engine is."""
        await self._enter("version")
        return _INFO

    # --------------------------------------------------------------------------------------------- port: sandboxes

    async def create_sandbox(self, spec: SandboxSpec) -> SandboxState:
        """A new running sandbox."""
        await self._enter("create_sandbox", f"{spec.pod.namespace}/{spec.pod.name}")
        existing = self._same(spec.pod, "", spec.attempt)
        if existing is not None and existing.status is Status.RUNNING:
            return _sandbox_state(existing)
        if existing is not None:
            del self._records[existing.id]
        record = self._add(spec)
        record.status, record.started_at_ms, record.pid = Status.RUNNING, self._clock.now(), self._next_pid()
        self._tell_of(record, "start")
        return _sandbox_state(record)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """End and remove a sandbox."""
        await self._enter("remove_sandbox", sandbox_id)
        self._remove(sandbox_id)

    # -------------------------------------------------------------------------------------------- port: containers

    async def create_container(self, spec: ContainerSpec) -> str:
        """Make a container."""
        await self._enter("create_container", f"{spec.pod.namespace}/{spec.pod.name}/{spec.name}")
        image = self._images.find(spec.image)
        if image is None:
            raise ImageNotFound(f'image "{spec.image}" is not on the node')
        if spec.sandbox_id not in self._records:
            raise StartFailed("CreateContainerError", f"failed to create container {spec.name}: no sandbox")
        existing = self._same(spec.pod, spec.name, spec.attempt)
        if existing is not None:
            if existing.started_at_ms:
                raise StartFailed("CreateContainerError", f"attempt {spec.attempt} of {spec.name} has already run")
            if existing.status is Status.CREATED and existing.spec == spec:
                return existing.id
            del self._records[existing.id]
        record = self._add(spec)
        record.image_id = image.info.id
        return record.id

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        await self._enter("start_container", container_id)
        record = self._record(container_id)
        if record.status is Status.RUNNING:
            return
        spec = record.spec
        assert isinstance(spec, ContainerSpec)
        sandbox = self._records.get(spec.sandbox_id)
        if sandbox is None or sandbox.status is not Status.RUNNING:
            raise StartFailed("RunContainerError", "cannot join network of a non running container")
        image = self._images.find(record.image_id)
        assert image is not None
        try:
            assert isinstance(sandbox.spec, SandboxSpec)
            record.process = self._process(record, _argv(spec, image), image, sandbox.spec)
        except NotExecutable as error:
            record.error = str(error)
            record.end(self._clock.now(), 127)
            raise StartFailed("ContainerCannotRun", f"failed to start container {container_id}: {error}") from error
        record.status, record.started_at_ms, record.pid = Status.RUNNING, self._clock.now(), self._next_pid()
        record.process.start()
        self._tell_of(record, "start")

    async def update_container(self, container_id: str, limits: Limits) -> None:
        """Change the bounds of a container."""
        await self._enter("update_container", container_id)
        record = self._record(container_id)
        assert isinstance(record.spec, ContainerSpec)
        refuse_below_use(record.spec.name, limits, self.memory_used.get(container_id, 0))
        record.spec = replace(record.spec, limits=limits)

    async def stop_container(self, container_id: str, grace_s: int, signal: str = "") -> None:
        """Ask, wait, kill."""
        await self._enter("stop_container", container_id)
        record = self._record(container_id)
        if record.process is None or record.status is not Status.RUNNING:
            return
        assert isinstance(record.spec, ContainerSpec)
        record.process.signal(signal or record.spec.stop_signal or "SIGTERM")
        try:
            async with asyncio.timeout(grace_s):
                await record.ended.wait()
        except TimeoutError:
            record.process.signal("SIGKILL")

    async def kill_container(self, container_id: str, signal: str = "SIGKILL") -> None:
        """Send a signal."""
        await self._enter("kill_container", container_id)
        record = self._record(container_id)
        if record.process is not None:
            record.process.signal(signal)

    async def remove_container(self, container_id: str, force: bool = False) -> None:
        """Remove a container."""
        await self._enter("remove_container", container_id)
        record = self._records.get(container_id)
        if record is not None and record.status is Status.RUNNING and not force:
            raise RuntimeFailure(f"container {container_id} is running; stop it first")
        self._remove(container_id)

    async def list(self) -> Snapshot:
        """Everything of ours."""
        await self._enter("list")
        states = [record.state() for record in self._records.values()]
        containers = [state for state in states if isinstance(state, ContainerState)]
        sandboxes = [state for state in states if isinstance(state, SandboxState)]
        containers.sort(key=lambda c: (c.pod.namespace, c.pod.name, c.pod.uid, c.name, c.attempt))
        sandboxes.sort(key=lambda s: (s.pod.namespace, s.pod.name, s.pod.uid, s.attempt))
        return Snapshot(sandboxes=tuple(sandboxes), containers=tuple(containers))

    async def disk_used(self) -> Mapping[str, int]:
        """What containers have written."""
        await self._enter("disk_used")
        return dict(self.written)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Hints of changes."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_EVENTS_MAX)
        self._listeners.append(queue)
        try:
            yield Event(action="resync")
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    # ------------------------------------------------------------------------------------------------ port: images

    async def image_status(self, ref: str) -> ImageInfo | None:
        """The image a reference names."""
        await self._enter("image_status")
        image = self._images.find(ref)
        return image.info if image else None

    async def list_images(self) -> tuple[ImageInfo, ...]:
        """All images."""
        await self._enter("list_images")
        return tuple(self._images.local[image_id].info for image_id in sorted(self._images.local))

    async def pull_image(
        self, ref: str, auth: RegistryAuth | None = None, progress: Callable[[PullProgress], None] | None = None
    ) -> ImageInfo:
        """Fetch an image."""
        await self._enter("pull_image", ref)
        return await self._images.pull(ref, progress)

    async def remove_image(self, image_id: str) -> None:
        """Remove an image."""
        await self._enter("remove_image", image_id)
        image = self._images.find(image_id)
        if image is None:
            return
        if any(record.image_id == image.info.id for record in self._records.values()):
            raise ImageInUse(f"image {image_id} is used by a container")
        del self._images.local[image.info.id]

    async def image_files(self, image_id: str, folder: str) -> None:
        """Put an image's files into a folder: one, with its id."""
        await self._enter("image_files", image_id)
        image = self._images.find(image_id)
        if image is None:
            raise ImageNotFound(f'image "{image_id}" is not on the node')
        await asyncio.to_thread((Path(folder) / "id").write_text, image.info.id)

    async def load_image(self, archive: bytes | AsyncIterable[bytes]) -> tuple[str, ...]:
        """Take images out of an archive."""
        await self._enter("load_image")
        if not isinstance(archive, bytes):
            archive = b"".join([piece async for piece in archive])
        return self._images.load(archive)

    # ----------------------------------------------------------------------------------------------- port: streams

    async def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[tuple[Stream, bytes], None]:
        """A container's output."""
        await self._enter("logs")
        async for frame in self._record(container_id).read_log(query):
            yield frame

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        env: Sequence[tuple[str, str]] = (),
    ) -> fake_streams.FakeSession:
        """Run a command in a container."""
        await self._enter("exec", container_id)
        return fake_streams.execute(self._running(container_id), command, tty=tty, env=env)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run a command to its end."""
        await self._enter("exec_sync", container_id)
        return await fake_streams.execute_sync(self._running(container_id), command, timeout_s)

    async def attach(self, container_id: str, *, stdin: bool = False) -> fake_streams.FakeSession:
        """Join a container's own input and output."""
        await self._enter("attach", container_id)
        return fake_streams.attach(self._running(container_id))

    # ---------------------------------------------------------------------------------------------------- helpers

    async def _enter(self, method: str, about: str = "") -> None:
        """What every call begins with."""
        if latency_ms := self.latency_ms.get(method):
            await asyncio.sleep(latency_ms / 1000)
        if self.unavailable:
            raise RuntimeUnavailable("the engine does not answer")
        if self._failures[method]:
            raise self._failures[method].popleft()
        if about:
            self.calls.append((method, about))

    def _add(self, spec: SandboxSpec | ContainerSpec) -> Record:
        self._last_id += 1
        record = Record(id=f"{self._last_id:064x}", spec=spec, created_at_ms=self._clock.now())
        self._records[record.id] = record
        self._tell_of(record, "create")
        return record

    def _remove(self, container_id: str) -> None:
        record = self._records.pop(container_id, None)
        if record is not None:
            if record.process is not None:
                record.process.signal("SIGKILL")
            self._tell_of(record, "destroy")

    def _record(self, container_id: str) -> Record:
        record = self._records.get(container_id)
        if record is None or isinstance(record.spec, SandboxSpec):
            raise ContainerNotFound(f"container {container_id} not found")
        return record

    def _running(self, container_id: str) -> Record:
        record = self._record(container_id)
        if record.status is not Status.RUNNING:
            raise ContainerNotRunning(f"container {container_id} is not running")
        return record

    def _same(self, pod: PodRef, name: str, attempt: int) -> Record | None:
        for record in self._records.values():
            spec = record.spec
            own_name = spec.name if isinstance(spec, ContainerSpec) else ""
            if (spec.pod, own_name, spec.attempt) == (pod, name, attempt):
                return record
        return None

    def _next_pid(self) -> int:
        self._last_pid += 1
        return self._last_pid

    def _process(self, record: Record, argv: Sequence[str], image: FakeImage, sandbox: SandboxSpec) -> Process:
        assert isinstance(record.spec, ContainerSpec)

        def ended(code: int) -> None:
            record.end(self._clock.now(), code)
            self._tell_of(record, "die")

        return Process(
            compile_command(argv),
            env={**dict(image.env), "HOSTNAME": sandbox.hostname, **dict(record.spec.env)},
            files=record.files,
            emit=lambda stream, data: record.say(self._clock.now(), stream, data),
            ended=ended,
        )

    def _tell_of(self, record: Record, action: str) -> None:
        name = record.spec.name if isinstance(record.spec, ContainerSpec) else ""
        self._tell(Event(action=action, container_id=record.id, pod_uid=record.spec.pod.uid, container=name))

    def _tell(self, event: Event) -> None:
        if self.unavailable:
            return
        for listener in self._listeners:
            with suppress(asyncio.QueueFull):  # hints get lost
                listener.put_nowait(event)


def _argv(spec: ContainerSpec, image: FakeImage) -> tuple[str, ...]:
    if spec.command:
        return (*spec.command, *spec.args)
    return (*image.entrypoint, *(spec.args or image.command))


def _sandbox_state(record: Record) -> SandboxState:
    state = record.state()
    assert isinstance(state, SandboxState)
    return state
