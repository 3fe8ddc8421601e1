"""Takes in how operations ended: one rule per kind of operation, in one `match`.

A result of an operation that is not in flight (any more) is passed over: it was abandoned, or belongs to the time
before the agent's restart.
"""

from __future__ import annotations

from nodeagent.lifecycle import images, resizing
from nodeagent.lifecycle.containers import doubled, find
from nodeagent.lifecycle.memory import Backoff, Pending
from nodeagent.lifecycle.observation import Failure, Result
from nodeagent.lifecycle.turn import IllegalTransition, Turn

RETRY_MS = 10_000
"""After a container could not be started, as long as its pod's objects stay as they are."""
SHORT_RETRY_MS = 2_000
"""After the engine did not answer, or a stop failed."""
SANDBOX_FIRST_MS = 1_000
SANDBOX_MAX_MS = 60_000
VOLUMES_FIRST_MS = 500
VOLUMES_MAX_MS = 122_000

_ENGINE_AWAY = ("RuntimeUnavailable", "DeadlineExceeded")
_START_REASONS = ("RunContainerError", "ContainerCannotRun")


def absorb(turn: Turn) -> None:
    """Take in all results of this observation."""
    for result in turn.seen.results:
        found = next((pending for pending in turn.pending if pending.op == result.op), None)
        if found is None:
            turn.tell(f"result of unknown operation #{result.op}")
            continue
        turn.pending.remove(found)
        failure = result.failure
        turn.tell(f"#{result.op} {found.work} {'done' if failure is None else f'failed: {failure.message[:80]}'}")
        _absorb(turn, found, result)


def _absorb(turn: Turn, pending: Pending, result: Result) -> None:
    match pending.work:
        case "SetupVolumes" | "TeardownVolumes":
            (_volumes if pending.work == "SetupVolumes" else _torn_down)(turn, result)
        case "CreateSandbox":
            _sandbox(turn, result)
        case "RemoveSandbox":
            _sandbox_removed(turn, result)
        case "InspectImage" | "PullImage" | "CreateAndStart":
            _towards_a_start(turn, pending, result)
        case "Resize":
            _resized(turn, pending, result)
        case "RunHook":
            _hook(turn, pending, result)
        case "Stop":
            _stopped(turn, pending, result)
        case "Kill" | "RemoveContainer":
            if result.failure is not None:
                turn.note(pending.container, retry_at_ms=turn.now + SHORT_RETRY_MS)
        case _:
            raise IllegalTransition(turn, f"an answer to {pending.work!r}, which is not an operation")


def _volumes(turn: Turn, result: Result) -> None:
    if result.failure is None:
        turn.change(volumes="ready", volumes_retry=Backoff())
        return
    retry = doubled(turn.memory.volumes_retry, turn.now, VOLUMES_FIRST_MS, VOLUMES_MAX_MS)
    turn.change(volumes="stale" if turn.memory.volumes in ("ready", "stale") else "", volumes_retry=retry)
    turn.record("Warning", "FailedMount", result.failure.message)


def _torn_down(turn: Turn, result: Result) -> None:
    if result.failure is None:
        turn.change(volumes="down")
    else:
        turn.change(volumes_retry=doubled(turn.memory.volumes_retry, turn.now, VOLUMES_FIRST_MS, VOLUMES_MAX_MS))


def _sandbox(turn: Turn, result: Result) -> None:
    failure = result.failure
    if failure is None:
        turn.change(ip=result.ip or turn.memory.ip, sandbox_retry=Backoff(), sandbox_lost="")
    elif failure.reason in _ENGINE_AWAY:
        turn.change(sandbox_retry=Backoff(SHORT_RETRY_MS, turn.now))
    else:
        turn.change(sandbox_retry=doubled(turn.memory.sandbox_retry, turn.now, SANDBOX_FIRST_MS, SANDBOX_MAX_MS))
        turn.record("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {failure.message}")


def _sandbox_removed(turn: Turn, result: Result) -> None:
    failure = result.failure
    if failure is not None:
        turn.change(sandbox_retry=doubled(turn.memory.sandbox_retry, turn.now, SANDBOX_FIRST_MS, SANDBOX_MAX_MS))
        if failure.reason not in _ENGINE_AWAY:
            turn.record("Warning", "FailedKillPod", f"error killing pod: {failure.message}")
    else:
        turn.change(sandbox_retry=Backoff())


def _towards_a_start(turn: Turn, pending: Pending, result: Result) -> None:
    container = find(turn.spec, pending.container)
    if container is None:
        return
    failure = result.failure
    if failure is not None and failure.reason in _ENGINE_AWAY:
        turn.note(pending.container, retry_at_ms=turn.now + SHORT_RETRY_MS, objects=turn.seen.objects)
    elif pending.work == "InspectImage":
        images.inspected(turn, pending, result, container)
    elif pending.work == "PullImage":
        images.pulled(turn, pending, result, container)
    elif failure is not None:
        _not_started(turn, pending.container, failure)
    else:
        turn.record("Normal", "Created", "Container created", pending.container)
        turn.record("Normal", "Started", "Container started", pending.container)
        hooked = container.lifecycle is not None and container.lifecycle.post_start is not None
        turn.note(
            pending.container,
            instance="",
            hook="due" if hooked else "",
            waiting="",
            message="",
            image="",
            image_for=-1,
            actual=turn.of(pending.container).allocated,
            renew=False,
        )


def _not_started(turn: Turn, name: str, failure: Failure) -> None:
    if failure.reason == "ImageGone":
        # It was there a moment ago: look again, but not in a tight loop.
        turn.note(name, image="", image_for=-1, retry_at_ms=turn.now + 1000, objects=turn.seen.objects)
        return
    reason = failure.reason
    if reason in _START_REASONS:
        turn.record("Normal", "Created", "Container created", name)
        reason = "RunContainerError"
    turn.record("Warning", "Failed", f"Error: {failure.message}", name)
    turn.note(
        name,
        waiting=reason,
        message=failure.message,
        image="",
        image_for=-1,
        retry_at_ms=turn.now + RETRY_MS,
        objects=turn.seen.objects,
    )


def _resized(turn: Turn, pending: Pending, result: Result) -> None:
    failure, memory = result.failure, turn.of(pending.container)
    if failure is None:
        turn.note(pending.container, actual=memory.applying, applying=None)
        return
    turn.note(pending.container, applying=None)
    if memory.instance == pending.container_id:
        resizing.failed(turn, failure.message)


def _hook(turn: Turn, pending: Pending, result: Result) -> None:
    memory = turn.of(pending.container)
    if pending.lane:
        if memory.pre_stop == "running":
            turn.note(pending.container, pre_stop="done")
        if result.failure is not None:
            turn.record("Warning", "FailedPreStopHook", "PreStopHook failed", pending.container)
        return
    if memory.instance != pending.container_id:
        return
    turn.note(pending.container, hook="")
    if result.failure is not None:
        turn.record("Warning", "FailedPostStartHook", "PostStartHook failed", pending.container)
        turn.note(pending.container, waiting="PostStartHookError", message=result.failure.message)


def _stopped(turn: Turn, pending: Pending, result: Result) -> None:
    failure = result.failure
    if failure is None:
        return
    turn.note(pending.container, retry_at_ms=turn.now + SHORT_RETRY_MS)
    if failure.reason not in _ENGINE_AWAY:
        turn.record("Warning", "FailedKillPod", f"error killing pod: {failure.message}")
