"""Ending instances: for a reason of their own (a failed probe, another definition, a dead sandbox) or with their pod.

An end has a moment `by_ms` by which the instance must be gone: `preStop` runs first, then the container is asked to
stop, and what is left of the time is its grace. When the moment moves closer (a second, stricter delete), a stop that
waits longer is overtaken by a kill.
"""

from __future__ import annotations

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.actions import Kill, RemoveContainer, RunHook, Stop
from nodeagent.lifecycle.containers import everything, find, spec_hash
from nodeagent.lifecycle.observation import ProbeKind
from nodeagent.lifecycle.turn import Turn
from nodeagent.runtime.values import ContainerState, Status

DEFAULT_GRACE_S = 30
GRACE_MIN_S = 2
"""Everybody gets a chance to end in order, whatever was asked for."""
KILL_SLACK_MS = 1_000


def grace_s(spec: core.PodSpec) -> int:
    """How long a pod's containers may take to end when nobody says otherwise."""
    grace = spec.termination_grace_period_seconds
    return DEFAULT_GRACE_S if grace is None else max(grace, 1)


def stop_unwanted(turn: Turn) -> None:
    """End every instance that must not go on although its pod does."""
    sandbox = turn.sandbox
    alive_sandbox = sandbox.id if sandbox is not None and sandbox.status is Status.RUNNING else ""
    default_ms = grace_s(turn.spec) * 1000
    for container in everything(turn.spec):
        state = turn.current.get(container.name)
        if state is None or state.status is not Status.RUNNING:
            continue
        reason = _why(turn, container, state, alive_sandbox)
        if reason:
            message, own_grace_s = reason
            by_ms = turn.now + (default_ms if own_grace_s is None else max(own_grace_s, 1) * 1000)
            end(turn, state, turn.of(state.name).end_by_ms or by_ms, message)
    for state in turn.strays:
        if state.status is Status.RUNNING:
            end(turn, state, turn.now + default_ms, f"Stopping container {state.name}")


def _why(turn: Turn, container: core.Container, state: ContainerState, sandbox: str) -> tuple[str, int | None] | None:
    """The message and the grace of its own with which an instance is to be ended; None when it may go on."""
    name = container.name
    memory = turn.of(name)
    watched: tuple[tuple[ProbeKind, core.Probe | None], ...] = (
        ("startup", container.startup_probe),
        ("liveness", container.liveness_probe),
    )
    for kind, probe in watched:
        verdict = turn.seen.probes.get((state.id, kind))
        if probe is not None and verdict is not None and verdict.ok is False:
            return f"Container {name} failed {kind} probe, will be restarted", probe.termination_grace_period_seconds
    if memory.waiting == "PostStartHookError":
        return "FailedPostStartHook", None
    if state.spec_hash and state.spec_hash != spec_hash(container):
        return f"Container {name} definition changed, will be restarted", None
    if memory.renew:
        return f"Container {name} resize requires restart", None
    if state.sandbox_id and state.sandbox_id != sandbox:
        return f"Stopping container {name}", None
    return (f"Stopping container {name}", None) if memory.end_by_ms else None


def end(turn: Turn, state: ContainerState, by_ms: int, message: str) -> None:
    """Do the next thing towards the end of a running instance."""
    memory = turn.of(state.name)
    if memory.instance != state.id:
        if not turn.busy(state.id):
            _stop(turn, state, by_ms)
        return
    if not memory.end_by_ms:
        turn.record("Normal", "Killing", message, state.name)
    if not memory.end_by_ms or by_ms < memory.end_by_ms:
        memory = turn.note(state.name, end_by_ms=by_ms)
    stopping = turn.in_flight("Stop", state.id)
    if stopping is not None:
        _hurry(turn, state, memory.end_by_ms, stopping.until_ms)
    elif turn.now < memory.retry_at_ms:
        turn.wake(memory.retry_at_ms)
    elif not _hooked(turn, state, memory.end_by_ms):
        _stop(turn, state, memory.end_by_ms)


def _hooked(turn: Turn, state: ContainerState, by_ms: int) -> bool:
    """Whether the stop has to wait for `preStop`, which is begun here."""
    memory = turn.of(state.name)
    running = turn.in_flight("RunHook", state.id)
    if running is not None and running.lane:
        if turn.now < by_ms:
            turn.wake(by_ms)
            return True
        turn.pending.remove(running)
        turn.note(state.name, pre_stop="done")
        return False
    container = find(turn.spec, state.name)
    lifecycle = container.lifecycle if container is not None else None
    if memory.pre_stop or lifecycle is None or lifecycle.pre_stop is None or by_ms <= turn.now:
        return False
    timeout_ms = by_ms - turn.now
    turn.note(state.name, pre_stop="running")
    turn.begin(
        RunHook(op=turn.next_op, container=state.name, container_id=state.id, hook="preStop", timeout_ms=timeout_ms),
        lane=state.id,
    )
    turn.wake(by_ms)
    return True


def _stop(turn: Turn, state: ContainerState, by_ms: int) -> None:
    grace = max(-(-(by_ms - turn.now) // 1000), GRACE_MIN_S)
    turn.begin(
        Stop(op=turn.next_op, container=state.name, container_id=state.id, grace_s=grace),
        lane=state.id,
        until_ms=turn.now + grace * 1000,
    )


def _hurry(turn: Turn, state: ContainerState, by_ms: int, until_ms: int) -> None:
    """Overtake a stop that was begun with more time than there is now."""
    if until_ms <= by_ms + KILL_SLACK_MS or turn.of(state.name).killed:
        return
    if turn.now < by_ms:
        turn.wake(by_ms)
        return
    turn.note(state.name, killed=True)
    turn.begin(
        Kill(op=turn.next_op, container=state.name, container_id=state.id),
        lane=f"{state.id}!",
    )


def remove(turn: Turn, state: ContainerState) -> None:
    """Take an instance that is not running away, unless that is under way or was refused a moment ago."""
    if turn.busy(state.id):
        return
    retry_at_ms = turn.of(state.name).retry_at_ms
    if turn.now < retry_at_ms:
        turn.wake(retry_at_ms)
        return
    turn.begin(RemoveContainer(op=turn.next_op, container=state.name, container_id=state.id), lane=state.id)


def remove_old(turn: Turn) -> None:
    """Keep of each container the newest instance and the one before it (for `logs --previous`), remove the rest."""
    kept: dict[str, int] = {}
    for state in turn.strays:
        if state.status is not Status.RUNNING:
            kept[state.name] = max(kept.get(state.name, -1), state.attempt)
    for state in turn.strays:
        if state.status in (Status.EXITED, Status.CREATED) and state.attempt < kept[state.name]:
            remove(turn, state)
