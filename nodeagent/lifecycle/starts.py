"""Bringing a pod up: volumes, sandbox, init containers in order, then the containers; one operation at a time.

`advance` does at most one thing of the pod's own lane per step and is called again when that has ended, so what comes
next is always decided on what is seen then. Containers start one after another; restarting one never waits for
another's back-off.
"""

from __future__ import annotations

from typing import assert_never

from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant
from nodeagent.lifecycle import images
from nodeagent.lifecycle.actions import CreateAndStart, CreateSandbox, RemoveSandbox, RunHook, SetupVolumes
from nodeagent.lifecycle.containers import (
    Stage,
    crash_next,
    ephemeral,
    every,
    exit_code,
    in_crash_backoff,
    is_sidecar,
    remaining_ms,
    restarts,
    stage_of,
)
from nodeagent.lifecycle.turn import Turn
from nodeagent.runtime.values import SandboxState, Status

UNKNOWN_RETRY_MS = 2_000
HOOK_MAX_MS = 600_000
"""Kubernetes sets `postStart` no limit; one that never ends would hold its pod for ever."""


def advance(turn: Turn) -> None:
    """Begin the next operation that brings the pod up, if one is due."""
    if turn.busy() or not wants_anything(turn) or not _volumes_ready(turn):
        return
    sandbox = _ready_sandbox(turn)
    if sandbox is not None and not _hook_begun(turn):
        _start_next(turn, sandbox)


def stage(turn: Turn, container: core.Container) -> Stage:
    """Where the newest instance of a container is."""
    return stage_of(turn.of(container.name), turn.current.get(container.name))


def finished(turn: Turn, container: core.Container, *, init: bool) -> bool:
    """Whether a container has ended and is not to run again."""
    at = stage(turn, container)
    if at not in (Stage.EXITED, Stage.LOST):
        return False
    return not runs_again(turn, container, exit_code(at, turn.current.get(container.name)), init=init)


def runs_again(turn: Turn, container: core.Container, code: int, *, init: bool) -> bool:
    """Whether a container that ended with this exit code is to be started anew."""
    return turn.of(container.name).renew or restarts(turn.spec, container, code, init=init)


def wants_anything(turn: Turn) -> bool:
    """Whether some container has yet to run or is running; otherwise the pod needs no sandbox."""
    return any(not finished(turn, container, init=False) for container in turn.spec.containers)


def _volumes_ready(turn: Turn) -> bool:
    memory = turn.memory
    if not turn.spec.volumes:
        return True
    if memory.volumes_objects == turn.seen.objects:
        if memory.volumes == "ready":
            return True
        if memory.volumes_retry.delay_ms and (wait := remaining_ms(memory.volumes_retry, turn.now)):
            turn.wake(turn.now + wait)
            return memory.volumes == "stale"
    turn.change(volumes_objects=turn.seen.objects)
    turn.begin(SetupVolumes(op=turn.next_op))
    return False


def sandbox_is_ready(turn: Turn) -> bool:
    """Whether the pod's newest sandbox runs and has its network."""
    sandbox = turn.sandbox
    if sandbox is None or sandbox.status is not Status.RUNNING:
        return False
    return bool(turn.seen.ip) or turn.spec.host_network


def _ready_sandbox(turn: Turn) -> SandboxState | None:
    """The sandbox to start containers in; None when it has to be made first, which is begun here."""
    sandbox = turn.sandbox
    if sandbox is not None and sandbox_is_ready(turn):
        return _without_old_ones(turn, sandbox)
    wait = remaining_ms(turn.memory.sandbox_retry, turn.now)
    if turn.memory.sandbox_retry.delay_ms and wait:
        turn.wake(turn.now + wait)
        return None
    if sandbox is None or sandbox.status is Status.RUNNING:
        attempt = 0 if sandbox is None else sandbox.attempt
        turn.begin(CreateSandbox(op=turn.next_op, attempt=attempt))
        return None
    if turn.memory.sandbox_lost != sandbox.id:
        turn.change(sandbox_lost=sandbox.id)
        turn.record("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
    if turn.alive():
        return None
    attempt = sandbox.attempt + 1
    turn.begin(CreateSandbox(op=turn.next_op, attempt=attempt))
    return None


def _without_old_ones(turn: Turn, sandbox: SandboxState) -> SandboxState | None:
    for old in turn.seen.sandboxes:
        if old.id != sandbox.id and not remaining_ms(turn.memory.sandbox_retry, turn.now):
            turn.begin(RemoveSandbox(op=turn.next_op, sandbox_id=old.id, detach=False))
            return None
    return sandbox


def _hook_begun(turn: Turn) -> bool:
    for container, _ in every(turn.spec):
        memory = turn.of(container.name)
        if memory.hook == "due" and memory.instance:
            turn.note(container.name, hook="running")
            turn.begin(
                RunHook(
                    op=turn.next_op,
                    container=container.name,
                    container_id=memory.instance,
                    hook="postStart",
                    timeout_ms=HOOK_MAX_MS,
                )
            )
            return True
    return False


def _start_next(turn: Turn, sandbox: SandboxState) -> None:
    # What looks into a pod starts first: it is there to find out why the others don't.
    for container, spec in zip(ephemeral(turn.spec), turn.spec.ephemeral_containers, strict=True):
        if _target_known(turn, spec):
            _consider(turn, container, sandbox, init=False)
        if turn.busy():
            return
    initialized = has_initialized(turn, sandbox)
    for container in turn.spec.init_containers:
        if not _init_done(turn, container, sandbox, initialized=initialized) or turn.busy():
            return
    for container in turn.spec.containers:
        _consider(turn, container, sandbox, init=False)
        if turn.busy():
            return


def _target_known(turn: Turn, spec: core.EphemeralContainer) -> bool:
    """Whether there is an instance of the container to look into, or none is named."""
    target = spec.target_container_name
    if not target or target in turn.current:
        return True
    if not turn.of(spec.name).waiting:
        message = f"unable to find target container {target}"
        turn.note(spec.name, waiting="CreateContainerConfigError", message=message)
        turn.record("Warning", "Failed", f"Error: {message}", spec.name)
    return False


def has_initialized(turn: Turn, sandbox: SandboxState | None) -> bool:
    """Whether a container has been made in this sandbox: then its init containers have all done their work."""
    states = (turn.current.get(container.name) for container in turn.spec.containers)
    return sandbox is not None and any(state is not None and state.sandbox_id == sandbox.id for state in states)


def _init_done(turn: Turn, container: core.Container, sandbox: SandboxState, *, initialized: bool) -> bool:
    """Whether the containers after this init container may start; otherwise what it needs is begun here."""
    current = turn.current.get(container.name)
    at = stage(turn, container)
    if is_sidecar(container):
        if at is not Stage.RUNNING:
            _consider(turn, container, sandbox, init=True)
            return initialized
        return initialized or turn.of(container.name).started
    if initialized:
        return True
    if at is Stage.EXITED and current is not None and not current.exit_code and current.sandbox_id == sandbox.id:
        return True
    _consider(turn, container, sandbox, init=True)
    return False


def _consider(turn: Turn, container: core.Container, sandbox: SandboxState, *, init: bool) -> None:
    """Start a container if it is due."""
    current = turn.current.get(container.name)
    memory = turn.of(container.name)
    at = stage(turn, container)
    match at:
        case Stage.RUNNING:
            return
        case Stage.UNKNOWN:
            turn.wake(turn.now + UNKNOWN_RETRY_MS)
        case Stage.ABSENT | Stage.CREATED:
            _start(turn, container, sandbox, ended_ms=None)
        case Stage.EXITED | Stage.LOST:
            again = init and not is_sidecar(container) and current is not None and current.sandbox_id != sandbox.id
            ended_ms = (current.finished_at_ms if current is not None else 0) or memory.lost_at_ms or turn.now
            if again or memory.renew:
                _start(turn, container, sandbox, ended_ms=None)
            elif restarts(turn.spec, container, exit_code(at, current), init=init):
                _start(turn, container, sandbox, ended_ms=ended_ms)
        case _:
            assert_never(at)


def _start(turn: Turn, container: core.Container, sandbox: SandboxState, ended_ms: Instant | None) -> None:
    name = container.name
    memory = turn.of(name)
    if turn.now < memory.retry_at_ms and memory.objects == turn.seen.objects:
        turn.wake(memory.retry_at_ms)
        return
    if ended_ms is not None and in_crash_backoff(turn, container, ended_ms):
        return
    current = turn.current.get(name)
    attempt = images.next_attempt(memory, current.attempt if current is not None else -1)
    image = images.ready(turn, container, attempt)
    if not image:
        return
    if ended_ms is not None:
        turn.note(name, crash=crash_next(memory.crash, ended_ms, turn.now))
    turn.begin(
        CreateAndStart(
            op=turn.next_op,
            container=name,
            attempt=attempt,
            sandbox_id=sandbox.id,
            image=image,
            resources=memory.allocated or container.resources,
            target_id=_target_id(turn, name),
        ),
    )


def _target_id(turn: Turn, name: str) -> str:
    targets = (item.target_container_name for item in turn.spec.ephemeral_containers if item.name == name)
    current = turn.current.get(next(targets, ""))
    return current.id if current is not None else ""
