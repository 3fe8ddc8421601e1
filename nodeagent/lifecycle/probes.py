"""Which probes have to run, when, and what their results mean; running them is the driver's part.

Each probe of a running container is a small state machine: `begin` says when it is due first, `after` takes in one
outcome. Times in here are milliseconds on a clock that never steps back, so that a wrong wall clock stops no probe.
What a container's life cycle sees of it is only the `Verdict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.containers import every
from nodeagent.lifecycle.memory import PodMemory
from nodeagent.lifecycle.observation import ProbeKind, Verdict

MESSAGE_MAX = 1024


class Outcome(Enum):
    """How one run of a probe ended."""

    SUCCESS = auto()
    FAILURE = auto()
    ERROR = auto()
    """The probe itself could not be run; that counts neither for nor against the container."""


class ProbeJob(NamedTuple):
    """A probe that has to run as long as its container does."""

    container: str
    container_id: str
    kind: ProbeKind
    probe: core.Probe

    @property
    def key(self) -> tuple[str, ProbeKind]:
        """Names the job."""
        return self.container_id, self.kind


class ProbeState(msgspec.Struct, frozen=True, gc=False):
    """Where one probe is."""

    due_ms: int
    """On the monotonic clock."""
    successes: int = 0
    """In a row."""
    failures: int = 0
    """In a row."""
    verdict: Verdict = Verdict(None)


def jobs(pod: core.Pod, memory: PodMemory) -> tuple[ProbeJob, ...]:
    """The probes that have to run now. Until a container has started only its startup probe runs; a container that
    is being ended is only asked whether it is still ready."""
    found: list[ProbeJob] = []
    for container, _ in every(pod.spec):
        kept = memory.containers.get(container.name)
        if kept is None or not kept.instance or kept.hook:
            continue
        if not kept.started:
            wanted: tuple[tuple[ProbeKind, core.Probe | None], ...] = (("startup", container.startup_probe),)
        else:
            wanted = (("liveness", container.liveness_probe), ("readiness", container.readiness_probe))
        ending = kept.end_by_ms or memory.ending is not None
        for kind, probe in wanted:
            if probe is not None and (kind == "readiness" or not ending):
                found.append(ProbeJob(container.name, kept.instance, kind, probe))
    return tuple(found)


def begin(probe: core.Probe, age_ms: int, now_ms: int, jitter_ms: int = 0) -> ProbeState:
    """A probe of a container that has been running for `age_ms`; `jitter_ms` spreads many that begin together."""
    wait_ms = max(probe.initial_delay_seconds * 1000 - age_ms, 0)
    return ProbeState(now_ms + wait_ms + jitter_ms)


def period_ms(probe: core.Probe) -> int:
    """Between two runs."""
    return (probe.period_seconds or 10) * 1000


def timeout_ms(probe: core.Probe) -> int:
    """How long one run may take."""
    return (probe.timeout_seconds or 1) * 1000


def after(probe: core.Probe, state: ProbeState, outcome: Outcome, message: str, now_ms: int) -> ProbeState:
    """The probe after one more run that ended now."""
    due_ms = max(state.due_ms + period_ms(probe), now_ms + 1)
    verdict = state.verdict
    if outcome is Outcome.SUCCESS:
        successes = state.successes + 1
        if successes >= max(probe.success_threshold, 1):
            verdict = Verdict(True, verdict.failures, verdict.message)
        return ProbeState(due_ms, successes, 0, verdict)
    text = message[:MESSAGE_MAX]
    if outcome is Outcome.ERROR:
        return ProbeState(
            due_ms, state.successes, state.failures, Verdict(verdict.ok, verdict.failures + 1, f"errored: {text}")
        )
    failures = state.failures + 1
    ok = False if failures >= (probe.failure_threshold or 3) else verdict.ok
    return ProbeState(due_ms, 0, failures, Verdict(ok, verdict.failures + 1, f"failed: {text}"))


def port_of(container: core.Container, port: int | str) -> int:
    """The number of a probed port, which may be given by the name of a container port; 0 when there is none."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    return next((item.container_port for item in container.ports if item.name == port), 0)


def verdicts(states: Mapping[tuple[str, ProbeKind], ProbeState]) -> dict[tuple[str, ProbeKind], Verdict]:
    """What the life cycle is told of these probes."""
    return {key: state.verdict for key, state in states.items()}
