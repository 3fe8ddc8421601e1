"""The port to the container engine: all that the agent asks of one, implemented by Docker and by an in-memory twin.

Why: the drivers and their tests must not know which engine runs the containers. This is not a general container
API: it has only what a pod needs, in pods' words. Every call is bounded by a deadline of the implementation's
settings and fails with a `RuntimeFailure` of `errors`; none is retried here.

Everything the engine holds can be told from `list` alone: names and labels carry pod, container and attempt, so the
agent needs no memory of its own to adopt what runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from typing import Protocol

from nodeagent.runtime.values import (
    ContainerSpec,
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
    Stream,
)


class Session(Protocol):
    """An open exec or attach: frames out, bytes in. Always `close` it; closing does not end the command."""

    async def read(self) -> tuple[Stream, bytes] | None:
        """The next piece of output; None when the command has closed its output."""
        ...

    async def write(self, data: bytes) -> None:
        """Send to the command's standard input; waits while the command does not read."""
        ...

    async def close_stdin(self) -> None:
        """Tell the command that its input has ended; its output goes on.

        A container's own input goes on for whoever attaches next, unless it is `stdin_once`.
        """
        ...

    async def resize(self, rows: int, columns: int) -> None:
        """Tell the size of the terminal; does nothing without one or once the command is gone."""
        ...

    async def exit_code(self) -> int:
        """The command's exit code, once `read` has returned None. Attaching gives the container's own."""
        ...

    async def close(self) -> None:
        """Let go of the connection; more than once is fine."""
        ...


class Runtime(Protocol):
    """The container engine of this machine."""

    async def close(self) -> None:
        """Let go of connections and threads. Containers go on."""
        ...

    async def version(self) -> RuntimeInfo:
        """What the engine is; also the cheapest way to know that it answers."""
        ...

    # sandboxes and containers

    async def create_sandbox(self, spec: SandboxSpec) -> SandboxState:
        """A new running sandbox for the pod.

        Idempotent by pod uid and attempt: one that is running already is returned, one that has ended is replaced.
        Raises `StartFailed`.
        """
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """End and remove a sandbox; gone already is success. Remove its containers first or they lose the network."""
        ...

    async def create_container(self, spec: ContainerSpec) -> str:
        """Make a container, not started, and return its id.

        Idempotent by pod uid, container and attempt while that container has not been started. Raises `StartFailed`
        and, when the image is not on the node, `ImageNotFound`.
        """
        ...

    async def start_container(self, container_id: str) -> None:
        """Start a created container; running already is success. Raises `StartFailed`, `ContainerNotFound`."""
        ...

    async def update_container(self, container_id: str, limits: Limits) -> None:
        """Change the bounds of a running container; bounds that there were cannot be taken away.

        Raises `LimitRefused` where the container has more memory in use than it may have then, and
        `ContainerNotFound`.
        """
        ...

    async def stop_container(self, container_id: str, grace_s: int, signal: str = "") -> None:
        """Ask the container to end with its stop signal (or `signal`), kill it after the grace; returns when ended.

        Not running is success. Raises `ContainerNotFound`. Cancelling ends only the waiting, the engine goes on;
        to shorten the grace, kill the container meanwhile.
        """
        ...

    async def kill_container(self, container_id: str, signal: str = "SIGKILL") -> None:
        """Send a signal and return; not running is success. Raises `ContainerNotFound`."""
        ...

    async def remove_container(self, container_id: str, force: bool = False) -> None:
        """Remove a container with its writable layer and logs; gone already is success.

        A running one is refused with `RuntimeFailure` unless forced, then it is killed.
        """
        ...

    async def list(self) -> Snapshot:
        """Everything there is of ours, running or not. Cheap when nothing has changed since the last call."""
        ...

    async def disk_used(self) -> Mapping[str, int]:
        """The bytes that our containers have written into their own layers, by container id.

        Expensive: the engine looks at every file of theirs.
        """
        ...

    def events(self) -> AsyncGenerator[Event, None]:
        """Hints of changes, without end: reconnects by itself; starts with a `resync` on each connection.

        Whoever stops reading closes it (`contextlib.aclosing`), here and for `logs`.
        """
        ...

    # images

    async def image_status(self, ref: str) -> ImageInfo | None:
        """The image on the node that a reference or id names; None when it is not here. Raises `InvalidImageName`."""
        ...

    async def list_images(self) -> tuple[ImageInfo, ...]:
        """All images on the node, by id."""
        ...

    async def pull_image(
        self, ref: str, auth: RegistryAuth | None = None, progress: Callable[[PullProgress], None] | None = None
    ) -> ImageInfo:
        """Fetch an image. Raises `InvalidImageName`, `ImageNotFound`, `RegistryUnavailable`, `ImageFailure`.

        Bounded by the time without any progress, not by the whole: a slow big pull may go on.
        """
        ...

    async def remove_image(self, image_id: str) -> None:
        """Remove an image and its tags; gone already is success. Raises `ImageInUse`."""
        ...

    async def load_image(self, archive: bytes | AsyncIterable[bytes]) -> tuple[str, ...]:
        """Take images out of an archive in the form of `docker save`; returns their tags, or ids of those without.

        Of an archive that comes in pieces, the next is asked for when the engine has taken the one before. Raises
        `ImageFailure`.
        """
        ...

    async def image_files(self, image_id: str, folder: str) -> None:
        """Put the files of an image on the node into an empty folder, with their owners. Raises `ImageNotFound`."""
        ...

    # streams

    def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[tuple[Stream, bytes], None]:
        """The container's output, in pieces that need not end with lines. Raises `ContainerNotFound`."""
        ...

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        env: Sequence[tuple[str, str]] = (),
    ) -> Session:
        """Run a command in a running container. Raises `ContainerNotFound`, `ContainerNotRunning`.

        A command that cannot be executed is not an error here: the session ends with exit code 126 or 127.
        """
        ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run a command to its end, for probes and hooks. At the timeout the command is killed: `Deadline`."""
        ...

    async def attach(self, container_id: str, *, stdin: bool = False) -> Session:
        """Join a running container's own input and output from now on. Raises as `exec`."""
        ...
