"""A pod's status as the API shows it: phase, conditions, addresses, and the statuses of its containers.

Computed afresh in every step from what is seen and remembered; whether it is worth a report is decided by comparing
it with the last one. Conditions of others are kept as they are, and a condition keeps its transition time for as long
as its status stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec.structs import replace

from mizzen.api import conditions, resources, times
from mizzen.api.budgets import TARGET
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.container_status import container_status
from nodeagent.lifecycle.containers import LOST_EXIT_CODE, ephemeral, is_sidecar, restarts
from nodeagent.lifecycle.starts import has_initialized, runs_again, sandbox_is_ready
from nodeagent.lifecycle.turn import Turn

OWN_CONDITIONS = (
    "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", *conditions.OF_RESIZES
)  # fmt: skip


def pod_status(turn: Turn, *, over: bool) -> core.PodStatus:
    """The status now. `over`: nothing of the pod runs any more and nothing will."""
    spec, memory = turn.spec, turn.memory
    old = memory.reported or turn.pod.status
    has_init, deep = bool(spec.init_containers), turn.seen.deep_read_only
    inits = tuple(
        container_status(c, turn.of(c.name), turn.current.get(c.name), init=True, has_init=True, deep=deep)
        for c in spec.init_containers
    )
    mains = tuple(
        container_status(c, turn.of(c.name), turn.current.get(c.name), init=False, has_init=has_init, deep=deep)
        for c in spec.containers
    )
    added = tuple(
        container_status(
            c, turn.of(c.name), turn.current.get(c.name), init=False, has_init=has_init, deep=deep, added=True
        )
        for c in ephemeral(spec)
    )
    failure = memory.failure if over else None
    phase = "Failed" if failure is not None else _phase(turn, inits, mains, added, over=over)
    ip = turn.seen.host_ip if spec.host_network else turn.seen.ip or memory.ip
    generation = turn.pod.metadata.generation
    same_phase = phase == old.phase
    return replace(
        turn.pod.status,
        observed_generation=generation,
        phase=phase,
        conditions=_conditions(turn, old, phase, inits, mains),
        message=failure.message if failure is not None else old.message if same_phase else "",
        reason=failure.reason if failure is not None else old.reason if same_phase else "",
        host_ip=turn.seen.host_ip,
        host_ips=_host_ips(turn.seen.host_ip),
        pod_ip=ip,
        pod_ips=_pod_ips(ip),
        start_time=times.render(memory.start_ms),
        init_container_statuses=inits,
        container_statuses=mains,
        ephemeral_container_statuses=added,
        qos_class=old.qos_class or resources.qos_class(spec),
    )


def rejected_status(turn: Turn, reason: str, message: str) -> core.PodStatus:
    """The status of a pod that the node does not take."""
    return replace(
        turn.pod.status,
        observed_generation=turn.pod.metadata.generation,
        phase="Failed",
        reason=reason,
        message=f"Pod was rejected: {message}",
        start_time=times.render(turn.memory.start_ms),
        qos_class=turn.pod.status.qos_class or resources.qos_class(turn.spec),
    )


def shows(stored: core.PodStatus, reported: core.PodStatus) -> bool:
    """Whether the control plane's status of a pod is what was reported, but for what others have added to it."""
    own = {*OWN_CONDITIONS, *(condition.type for condition in reported.conditions)}
    return reported == replace(
        stored,
        conditions=tuple(condition for condition in stored.conditions if condition.type in own),
        nominated_node_name=reported.nominated_node_name,
        qos_class=reported.qos_class,
    )


@lru_cache(maxsize=16)
def _host_ips(ip: str) -> tuple[core.HostIP, ...]:
    return (core.HostIP(ip=ip),) if ip else ()


@lru_cache(maxsize=1024)
def _pod_ips(ip: str) -> tuple[core.PodIP, ...]:
    return (core.PodIP(ip=ip),) if ip else ()


# ---------------------------------------------------------------------------------------------------------- phase


def _phase(
    turn: Turn,
    inits: Sequence[core.ContainerStatus],
    mains: Sequence[core.ContainerStatus],
    added: Sequence[core.ContainerStatus],
    *,
    over: bool,
) -> str:
    started = has_initialized(turn, turn.sandbox)
    pending, failed = _init_progress(turn, inits, started=started)
    if failed and over:
        return "Failed"
    waiting = any(_never_ran(status) for status in mains)
    if over and turn.memory.ending is not None and not _all_waiting(mains):
        return "Succeeded" if _all_succeeded(mains) else "Failed"
    if pending or waiting:
        return "Pending"
    sidecars = zip(turn.spec.init_containers, inits, strict=True)
    # What was added to look into the pod is ended before the pod counts as ended.
    running = any(status.state.running is not None for status in (*mains, *added)) or any(
        is_sidecar(container) and status.state.running is not None for container, status in sidecars
    )
    if running or _some_restart(turn, mains):
        return "Running"
    return "Succeeded" if _all_succeeded(mains) else "Failed"


def _init_progress(turn: Turn, inits: Sequence[core.ContainerStatus], *, started: bool) -> tuple[bool, bool]:
    """Whether an init container has yet to finish (or a sidecar to start), and whether one has failed for good."""
    pending = failed = False
    for container, status in zip(turn.spec.init_containers, inits, strict=True):
        if is_sidecar(container):
            pending = pending or (not started and not status.started and _exit_code(status) is None)
            continue
        code = _exit_code(status)
        if code is None:
            pending = True
        elif code:
            again = restarts(turn.spec, container, code, init=True)
            failed = failed or not again
            pending = pending or again
    return pending and not failed, failed


def _exit_code(status: core.ContainerStatus) -> int | None:
    """How a container ended, if it has and is not running again."""
    if status.state.running is not None:
        return None
    ended = status.state.terminated or status.last_state.terminated
    return ended.exit_code if ended is not None else None


def _never_ran(status: core.ContainerStatus) -> bool:
    return status.state.waiting is not None and status.last_state.terminated is None


def _all_waiting(statuses: Sequence[core.ContainerStatus]) -> bool:
    return all(_never_ran(status) for status in statuses)


def _all_succeeded(statuses: Sequence[core.ContainerStatus]) -> bool:
    return all(_exit_code(status) == 0 for status in statuses)


def _some_restart(turn: Turn, statuses: Sequence[core.ContainerStatus]) -> bool:
    for container, status in zip(turn.spec.containers, statuses, strict=True):
        code = _exit_code(status)
        if runs_again(turn, container, LOST_EXIT_CODE if code is None else code, init=False):
            return True
    return False


# ------------------------------------------------------------------------------------------------------ conditions


def foreign_conditions(status: core.PodStatus) -> tuple[core.PodCondition, ...]:
    """The conditions that others set; the node leaves them as they are."""
    return tuple(condition for condition in status.conditions if condition.type not in OWN_CONDITIONS)


def _conditions(
    turn: Turn,
    old: core.PodStatus,
    phase: str,
    inits: Sequence[core.ContainerStatus],
    mains: Sequence[core.ContainerStatus],
) -> tuple[core.PodCondition, ...]:
    foreign = (*_disrupted(turn, old), *foreign_conditions(turn.pod.status))
    ready = _containers_ready(turn, phase, inits, mains)
    values = (
        ("PodReadyToStartContainers", _truth(sandbox_is_ready(turn)), "", ""),
        ("Initialized", *_initialized(turn, phase, inits, mains)),
        ("Ready", *(ready if ready[0] != "True" else _gates(turn, foreign))),
        ("ContainersReady", *ready),
        ("PodScheduled", "True", "", ""),
    )
    before = {condition.type: condition for condition in old.conditions}
    own = (_condition(turn, before.get(value[0]), value) for value in values)
    return (*foreign, *_of_resizes(turn, before), *own)


def _disrupted(turn: Turn, old: core.PodStatus) -> Iterator[core.PodCondition]:
    """That the pod ends for the node's sake, unless somebody else has said already why it is disturbed."""
    failure = turn.memory.failure
    told = any(condition.type == TARGET for condition in turn.pod.status.conditions)
    if failure is not None and failure.disrupted and not told:
        before = next((condition for condition in old.conditions if condition.type == TARGET), None)
        yield _condition(turn, before, (TARGET, "True", "TerminationByKubelet", failure.message))


def _of_resizes(turn: Turn, before: Mapping[str, core.PodCondition]) -> Iterator[core.PodCondition]:
    """Resources that the pod wants and does not have: they are not granted, or not given yet."""
    held, resizing = turn.memory.held, turn.memory.resizing
    if held is not None:
        value = (conditions.RESIZE_PENDING, "True", held.reason, held.message)
        yield _condition(turn, before.get(value[0]), value, held.generation)
    if resizing is not None:
        value = (conditions.RESIZE_IN_PROGRESS, "True", "Error" if resizing.error else "", resizing.error)
        yield _condition(turn, before.get(value[0]), value, resizing.generation)


def _condition(
    turn: Turn, before: core.PodCondition | None, value: tuple[str, str, str, str], generation: int = 0
) -> core.PodCondition:
    kind, status, reason, message = value
    same = before is not None and before.status == status
    since = before.last_transition_time if same and before is not None else times.render(turn.now)
    return core.PodCondition(
        type=kind,
        observed_generation=generation or turn.pod.metadata.generation,
        status=status,
        last_transition_time=since,
        reason=reason,
        message=message,
    )


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _initialized(
    turn: Turn, phase: str, inits: Sequence[core.ContainerStatus], mains: Sequence[core.ContainerStatus]
) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    if any(status.state.running is not None or _exit_code(status) is not None for status in mains):
        return "True", "", ""
    incomplete = [
        container.name
        for container, status in zip(turn.spec.init_containers, inits, strict=True)
        if not (status.started if is_sidecar(container) else status.ready)
    ]
    if incomplete:
        return "False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"
    return "True", "", ""


def _containers_ready(
    turn: Turn, phase: str, inits: Sequence[core.ContainerStatus], mains: Sequence[core.ContainerStatus]
) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed":
        return "False", "PodFailed", ""
    sidecars = (s for c, s in zip(turn.spec.init_containers, inits, strict=True) if is_sidecar(c))
    unready = [status.name for status in (*sidecars, *mains) if not status.ready]
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "True", "", ""


def _gates(turn: Turn, conditions: Sequence[core.PodCondition]) -> tuple[str, str, str]:
    found = {condition.type: condition.status for condition in conditions}
    problems = []
    for gate in turn.spec.readiness_gates:
        status = found.get(gate.condition_type)
        if status is None:
            problems.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif status != "True":
            problems.append(f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {status}')
    if problems:
        return "False", "ReadinessGatesNotReady", ", ".join(problems)
    return "True", "", ""
