"""Whether a container of a pod has to be started (again), and how long that has to wait.

Vocabulary
- *stage*: where the newest instance of a container is. An instance only ever moves forward, and a new attempt begins
  where the stage is ABSENT, EXITED or LOST; an instance that was made but not started is started under its own number.

    ABSENT --> CREATED --> RUNNING --> EXITED --> (next attempt) CREATED ...
                              |
                              +--> LOST: it had been started and is nowhere to be found

- *crash back-off*: 10 s after the second end, doubling to 5 min, forgotten after 10 min without an end.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum, auto
from typing import TypeVar

from mizzen.api.edit import edited
from mizzen.api.ephemeral import as_container
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant
from nodeagent.lifecycle.memory import Backoff, ContainerMemory
from nodeagent.lifecycle.turn import Turn
from nodeagent.runtime.values import ContainerState, Status

CRASH_FIRST_MS = 10_000
CRASH_MAX_MS = 300_000
LOST_EXIT_CODE = 137

T = TypeVar("T")


class Stage(Enum):
    """Where the newest instance of a container is."""

    ABSENT = auto()
    CREATED = auto()
    RUNNING = auto()
    EXITED = auto()
    LOST = auto()
    UNKNOWN = auto()


_STAGES = {
    Status.CREATED: Stage.CREATED,
    Status.RUNNING: Stage.RUNNING,
    Status.EXITED: Stage.EXITED,
    Status.UNKNOWN: Stage.UNKNOWN,
}


def stage_of(memory: ContainerMemory, current: ContainerState | None) -> Stage:
    """The stage of a container, from what is seen of it and which attempts are known to have been started."""
    if current is None or current.attempt < memory.attempt:
        return Stage.ABSENT if memory.attempt < 0 else Stage.LOST
    return _STAGES[current.status]


def exit_code(stage: Stage, current: ContainerState | None) -> int:
    """How the newest instance ended; one that was lost counts as killed."""
    return current.exit_code if stage is Stage.EXITED and current is not None else LOST_EXIT_CODE


def spec_hash(container: core.Container) -> str:
    """Changes when a running container no longer is what its pod asks for."""
    return f"{zlib.crc32(f'{container.name} {container.image}'.encode()):08x}"


def is_sidecar(container: core.Container) -> bool:
    """Whether an init container stays beside the others until the pod ends."""
    return container.restart_policy == "Always"


def restarts(spec: core.PodSpec, container: core.Container, code: int, *, init: bool) -> bool:
    """Whether a container that ended with this exit code is to run again."""
    for rule in container.restart_policy_rules:
        if rule.exit_codes is not None:
            among = code in rule.exit_codes.values
            if among == (rule.exit_codes.operator == "In"):
                return rule.action == "Restart"
    policy = container.restart_policy or spec.restart_policy or "Always"
    if policy == "Always" and not (init and not is_sidecar(container)):
        return True
    return policy != "Never" and code != 0


def crash_wait_ms(backoff: Backoff, ended_ms: Instant, now: Instant) -> int:
    """How long a container that ended then still has to wait."""
    ended_ms = min(ended_ms, now)
    if not backoff.delay_ms or ended_ms - backoff.at_ms > 2 * CRASH_MAX_MS:
        return 0
    return max(ended_ms + backoff.delay_ms - now, 0)


def crash_next(backoff: Backoff, ended_ms: Instant, now: Instant) -> Backoff:
    """The back-off after one more restart, which happens now."""
    if not backoff.delay_ms or ended_ms - backoff.at_ms > 2 * CRASH_MAX_MS:
        return Backoff(CRASH_FIRST_MS, now)
    return Backoff(min(2 * backoff.delay_ms, CRASH_MAX_MS), now)


def doubled(backoff: Backoff, now: Instant, first_ms: int, max_ms: int) -> Backoff:
    """One more use of a plain back-off, which is forgotten only by starting afresh."""
    return Backoff(min(2 * backoff.delay_ms, max_ms) or first_ms, now)


def remaining_ms(backoff: Backoff, now: Instant) -> int:
    """How long a plain back-off still asks to wait; a clock that was set back does not make it longer."""
    elapsed = now - backoff.at_ms
    return backoff.delay_ms if elapsed < 0 else max(backoff.delay_ms - elapsed, 0)


def duration(ms: int) -> str:
    """A duration as Kubernetes' messages write it: `10s`, `1m20s`, `5m0s`, `850ms`."""
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    seconds, rest = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds}.{rest:03d}".rstrip("0") + "s" if rest else f"{seconds}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


def in_crash_backoff(turn: Turn, container: core.Container, ended_ms: Instant) -> bool:
    """Whether a container that ended then must wait; says so in its waiting reason and once in an event."""
    memory = turn.of(container.name)
    wait = crash_wait_ms(memory.crash, ended_ms, turn.now)
    if not wait:
        return False
    if memory.waiting != "CrashLoopBackOff":
        delay = duration(memory.crash.delay_ms)
        message = f"back-off {delay} restarting failed container={container.name} pod={turn.name}"
        turn.note(container.name, waiting="CrashLoopBackOff", message=message)
        text = f"Back-off restarting failed container {container.name} in pod {turn.name}"
        turn.record("Warning", "BackOff", text, container.name)
    turn.wake(turn.now + wait)
    return True


def every(spec: core.PodSpec) -> Iterator[tuple[core.Container, bool]]:
    """The containers that a pod was made with, in the order of their start; with each, whether it is for init."""
    for container in spec.init_containers:
        yield container, True
    for container in spec.containers:
        yield container, False


def ephemeral(spec: core.PodSpec) -> tuple[core.Container, ...]:
    """What was added to the pod to look into it, as containers that run once."""
    return tuple(edited(as_container(item), restart_policy="Never") for item in spec.ephemeral_containers)


def everything(spec: core.PodSpec) -> Iterator[core.Container]:
    """All containers of a pod, ephemeral ones last."""
    for container, _ in every(spec):
        yield container
    yield from ephemeral(spec)


def find(spec: core.PodSpec, name: str) -> core.Container | None:
    """The container of this name, of whatever sort."""
    return next((container for container in everything(spec) if container.name == name), None)
