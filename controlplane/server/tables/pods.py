"""The pod table. Its STATUS column tells at a glance what a pod is doing or why it is not.

The text is computed from phase, reason, conditions and container states, in this order of force: a pod being deleted,
then a running or failed container, then a failed or unfinished init container, then the pod's own reason or phase.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from controlplane.server.tables.model import AGE, NAME, NONE, Cell, Row, RowCondition, TableOf, age, column, since
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant

_TERMINAL = ("Succeeded", "Failed")
_CONDITIONS = {
    "Succeeded": (
        RowCondition(
            type="Completed", status="True", reason="Succeeded", message="The pod has completed successfully."
        ),
    ),
    "Failed": (RowCondition(type="Completed", status="True", reason="Failed", message="The pod failed."),),
}


@dataclass(frozen=True, slots=True)
class _Sum:
    """What has been gathered from the containers so far."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""
    """Times in one format compare as texts."""


def _restarted(total: _Sum, status: core.ContainerStatus) -> _Sum:
    ended = status.last_state.terminated
    finished = (ended.finished_at or "") if ended else ""
    return replace(
        total, restarts=total.restarts + status.restart_count, last_restart=max(total.last_restart, finished)
    )


def _ended_reason(state: core.ContainerStateTerminated) -> str:
    if state.reason:
        return state.reason
    return f"Signal:{state.signal}" if state.signal else f"ExitCode:{state.exit_code}"


def _init_reason(status: core.ContainerStatus, position: int, count: int) -> str:
    if status.state.terminated:
        return f"Init:{_ended_reason(status.state.terminated)}"
    waiting = status.state.waiting
    if waiting and waiting.reason and waiting.reason != "PodInitializing":
        return f"Init:{waiting.reason}"
    return f"Init:{position}/{count}"


def _init_containers(pod: core.Pod, sidecars: frozenset[str], start: _Sum) -> tuple[_Sum, _Sum, bool]:
    """The sum over all init containers, the sum over the sidecars alone, and whether initialising goes on."""
    total, sidecar_total = start, start
    for position, status in enumerate(pod.status.init_container_statuses):
        is_sidecar = status.name in sidecars
        total = _restarted(total, status)
        if is_sidecar:
            sidecar_total = _restarted(sidecar_total, status)
        ended = status.state.terminated
        if ended and ended.exit_code == 0:
            continue
        if is_sidecar and status.started:
            if status.ready:
                total = replace(total, ready=total.ready + 1)
                sidecar_total = replace(sidecar_total, ready=sidecar_total.ready + 1)
            continue
        reason = _init_reason(status, position, len(pod.spec.init_containers))
        return replace(total, reason=reason), replace(sidecar_total, reason=reason), True
    return total, sidecar_total, False


def _main_containers(pod: core.Pod, total: _Sum) -> _Sum:
    running = False
    for status in reversed(pod.status.container_statuses):
        total = _restarted(total, status)
        state = status.state
        if state.waiting and state.waiting.reason:
            total = replace(total, reason=state.waiting.reason)
        elif state.terminated:
            total = replace(total, reason=_ended_reason(state.terminated))
        elif status.ready and state.running:
            running = True
            total = replace(total, ready=total.ready + 1)
    if total.reason == "Completed" and running:
        total = replace(total, reason="Running" if _is_true(pod, "Ready") else "NotReady")
    return total


def _is_true(pod: core.Pod, condition: str) -> bool:
    return any(c.type == condition and c.status == "True" for c in pod.status.conditions)


def _own_reason(pod: core.Pod) -> str:
    gated = any(c.type == "PodScheduled" and c.reason == "SchedulingGated" for c in pod.status.conditions)
    return "SchedulingGated" if gated else pod.status.reason or pod.status.phase


def _summary(pod: core.Pod, sidecars: frozenset[str]) -> _Sum:
    total, sidecar_total, initialising = _init_containers(pod, sidecars, _Sum(_own_reason(pod)))
    if not initialising or _is_true(pod, "Initialized"):
        total = _main_containers(pod, sidecar_total)
    if pod.metadata.deletion_timestamp:
        if pod.status.reason == "NodeLost":
            return replace(total, reason="Unknown")
        if pod.status.phase not in _TERMINAL:
            return replace(total, reason="Terminating")
    return total


def _wide(pod: core.Pod) -> tuple[Cell, ...]:
    gates = [gate.condition_type for gate in pod.spec.readiness_gates]
    passed = sum(_is_true(pod, gate) for gate in gates)
    return (
        (pod.status.pod_ips[0].ip if pod.status.pod_ips else pod.status.pod_ip) or NONE,
        pod.spec.node_name or NONE,
        pod.status.nominated_node_name or NONE,
        f"{passed}/{len(gates)}" if gates else NONE,
    )


def pod_row(pod: core.Pod, now: Instant) -> Row:
    """The cells of one pod."""
    sidecars = frozenset(c.name for c in pod.spec.init_containers if c.restart_policy == "Always")
    total = _summary(pod, sidecars)
    restarts = str(total.restarts)
    if total.restarts and total.last_restart:
        restarts = f"{total.restarts} ({since(total.last_restart, now)} ago)"
    containers = len(pod.spec.containers) + len(sidecars)
    cells = (
        pod.metadata.name, f"{total.ready}/{containers}", total.reason, restarts, age(pod.metadata, now), *_wide(pod),
    )  # fmt: skip
    return Row(cells, _CONDITIONS.get(pod.status.phase, ()))


POD_TABLE = TableOf(
    (
        NAME,
        column("Ready", "Containers that are ready, out of all."),
        column("Status", "What the pod is doing, or why it is not."),
        column("Restarts", "How often containers were restarted, and when last."),
        AGE,
        column("IP", "The pod's address.", wide=True),
        column("Node", "The node that the pod runs on.", wide=True),
        column("Nominated Node", "The node on which room is being made for the pod.", wide=True),
        column("Readiness Gates", "Readiness gates that have passed, out of all.", wide=True),
    ),
    pod_row,
)
