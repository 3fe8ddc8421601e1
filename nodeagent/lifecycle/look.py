"""Brings a pod's memory up to date with what is seen of it, before anything is decided.

Nothing is asked for here. For a pod of which nothing is remembered (the agent is new, or lost its checkpoint) the
status that the control plane has is the memory: whoever adopts a running container finds it ready as it was.
"""

from __future__ import annotations

from mizzen.api import times
from mizzen.api.edit import edited
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.container_status import ID_PREFIX, lost, terminated
from nodeagent.lifecycle.containers import Stage, ephemeral, every, stage_of
from nodeagent.lifecycle.memory import ContainerMemory
from nodeagent.lifecycle.observation import ProbeKind
from nodeagent.lifecycle.turn import Turn
from nodeagent.runtime.values import ContainerState

_KINDS: tuple[ProbeKind, ...] = ("startup", "liveness", "readiness")


def look(turn: Turn) -> None:
    """Take in what is seen of the pod."""
    if not turn.memory.start_ms:
        start = turn.pod.status.start_time
        turn.change(start_ms=times.parse(start) if start else turn.now)
    if turn.seen.ip and turn.seen.ip != turn.memory.ip:
        turn.change(ip=turn.seen.ip)
    status = turn.pod.status
    for container, init in every(turn.spec):
        _look_at(turn, container, status.init_container_statuses if init else status.container_statuses)
    for container in ephemeral(turn.spec):
        _look_at(turn, container, status.ephemeral_container_statuses)


def _look_at(turn: Turn, container: core.Container, statuses: tuple[core.ContainerStatus, ...]) -> None:
    name = container.name
    memory = turn.containers.get(name)
    if memory is None:
        memory = turn.containers[name] = _recalled(container, _status(statuses, name))
    current = turn.current.get(name)
    stage = stage_of(memory, current)
    if stage is Stage.RUNNING and current is not None:
        if memory.instance != current.id:
            memory = _begun(turn, container, memory, current)
        _probed(turn, container, memory, current)
    elif stage is Stage.EXITED and current is not None:
        if memory.ended is None or memory.ended.container_id != ID_PREFIX + current.id:
            _ended(turn, name, memory, current)
    elif stage is Stage.LOST and not memory.lost_at_ms:
        turn.tell(f"{name} attempt {memory.attempt} vanished")
        ended = memory.ended if memory.ended is not None and not memory.instance else lost()
        turn.note(name, lost_at_ms=turn.now, ended=ended, **_NO_INSTANCE)


_NO_INSTANCE = {
    "instance": "",
    "started": False,
    "ready": False,
    "hook": "",
    "end_by_ms": 0,
    "pre_stop": "",
    "killed": False,
}


def _recalled(container: core.Container, old: core.ContainerStatus | None) -> ContainerMemory:
    """What the control plane's status tells of a container that nothing is remembered of."""
    if old is None:
        return ContainerMemory(allocated=container.resources)
    ended = old.state.terminated
    last = old.last_state.terminated
    if not old.container_id and ended is None and last is None:
        return ContainerMemory(allocated=container.resources)
    if old.state.waiting is not None:
        # A container waiting for its restart shows the newest instance as the last one.
        ended, last = last, None
    actual = old.resources or container.resources
    allocated = edited(actual, requests=old.allocated_resources or actual.requests)
    return ContainerMemory(attempt=old.restart_count, ended=ended, last=last, allocated=allocated, actual=actual)


def _begun(turn: Turn, container: core.Container, memory: ContainerMemory, current: ContainerState) -> ContainerMemory:
    """A running instance that was not known to run: started a moment ago, or found after the agent's own start."""
    status = turn.memory.reported or turn.pod.status
    every_status = (
        *status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses
    )  # fmt: skip
    old = next((item for item in every_status if item.container_id == ID_PREFIX + current.id), None)
    adopted = old is not None and old.state.running is not None
    turn.tell(f"{container.name} attempt {current.attempt} runs as {current.id[:12]}")
    last = memory.last
    if current.attempt > memory.attempt:
        before = next((s for s in turn.strays if s.name == container.name and s.attempt == current.attempt - 1), None)
        last = memory.ended or (terminated(before) if before is not None else last)
    fresh = {
        **_NO_INSTANCE,
        "instance": current.id,
        "attempt": current.attempt,
        "ended": None,
        "last": last,
        "waiting": "",
        "message": "",
        "retry_at_ms": 0,
        "lost_at_ms": 0,
        "noted": {},
    }
    if adopted and old is not None:
        fresh |= {"started": bool(old.started), "ready": old.ready}
    elif memory.hook == "due" and memory.instance == "":
        fresh["hook"] = "due"
    return turn.note(container.name, **fresh)


def _ended(turn: Turn, name: str, memory: ContainerMemory, current: ContainerState) -> None:
    turn.tell(f"{name} attempt {current.attempt} ended with {current.exit_code}")
    last = memory.last
    if current.attempt > memory.attempt and memory.ended is not None:
        last = memory.ended
    keep = memory.waiting in ("PostStartHookError", "RunContainerError")
    turn.note(
        name,
        **_NO_INSTANCE,
        attempt=current.attempt,
        ended=terminated(current, turn.seen.messages.get(current.id, "")),
        last=last,
        waiting=memory.waiting if keep else "",
        message=memory.message if keep else "",
        lost_at_ms=0,
    )


def _probed(turn: Turn, container: core.Container, memory: ContainerMemory, current: ContainerState) -> None:
    """What the probes say about a running instance."""
    probes = turn.seen.probes
    noted = dict(memory.noted)
    for kind in _KINDS:
        verdict = probes.get((current.id, kind))
        if verdict is not None and verdict.failures > noted.get(kind, 0):
            noted[kind] = verdict.failures
            turn.record("Warning", "Unhealthy", f"{kind.capitalize()} probe {verdict.message}", container.name)
    started, ready = memory.started, memory.ready
    if not started and not memory.hook:
        startup = probes.get((current.id, "startup"))
        started = container.startup_probe is None or (startup is not None and startup.ok is True)
    if container.readiness_probe is None:
        ready = started
    else:
        readiness = probes.get((current.id, "readiness"))
        if readiness is not None and readiness.ok is not None:
            ready = started and readiness.ok
    if (started, ready) != (memory.started, memory.ready) or len(noted) != len(memory.noted) or noted != memory.noted:
        turn.note(container.name, started=started, ready=ready, noted=noted)


def _status(statuses: tuple[core.ContainerStatus, ...], name: str) -> core.ContainerStatus | None:
    return next((status for status in statuses if status.name == name), None)
