"""What is said about disruption budgets and the pods they let go: conditions, and how long an eviction is believed."""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api import times
from mizzen.api.types import core_v1, meta_v1
from mizzen.api.types.policy_v1 import PodDisruptionBudgetStatus

DISRUPTION_ALLOWED = "DisruptionAllowed"
TARGET = "DisruptionTarget"
"""A pod's condition: it is about to be taken away for a reason that is not its own."""
SYNC_FAILED = "SyncFailed"
DELETION_TIMEOUT_MS = 120_000
"""After this an evicted pod that has not begun to end counts as staying."""


def condition(status: PodDisruptionBudgetStatus) -> meta_v1.Condition | None:
    """The condition that says whether evictions are allowed."""
    return next((one for one in status.conditions if one.type == DISRUPTION_ALLOWED), None)


def with_allowed(status: PodDisruptionBudgetStatus, allowed: int, now_ms: int) -> PodDisruptionBudgetStatus:
    """The status with that many evictions allowed, and the condition that goes with it. `now_ms`: since the epoch."""
    said = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    return _with_condition(replace(status, disruptions_allowed=allowed), *said, "", now_ms)


def with_failure(status: PodDisruptionBudgetStatus, why: str, now_ms: int) -> PodDisruptionBudgetStatus:
    """The status while nobody can tell how many pods there should be: none may go. `now_ms`: since the epoch."""
    return _with_condition(replace(status, disruptions_allowed=0), "False", SYNC_FAILED, why, now_ms)


def _with_condition(
    status: PodDisruptionBudgetStatus, value: str, reason: str, message: str, now_ms: int
) -> PodDisruptionBudgetStatus:
    before = condition(status)
    stays = before is not None and before.status == value
    made = meta_v1.Condition(
        type=DISRUPTION_ALLOWED,
        status=value,
        reason=reason,
        message=message,
        observed_generation=status.observed_generation,
        last_transition_time=before.last_transition_time if before is not None and stays else times.render(now_ms),
    )
    others = tuple(one for one in status.conditions if one.type != DISRUPTION_ALLOWED)
    return replace(status, conditions=(*others, made))


def targeted(pod: core_v1.Pod, reason: str, message: str, now_ms: int) -> core_v1.Pod:
    """The pod with the condition that it is about to be disrupted. `now_ms`: since the epoch."""
    before = next((one for one in pod.status.conditions if one.type == TARGET), None)
    stays = before is not None and before.status == "True"
    made = core_v1.PodCondition(
        type=TARGET,
        status="True",
        reason=reason,
        message=message,
        observed_generation=pod.metadata.generation,
        last_transition_time=before.last_transition_time if before is not None and stays else times.render(now_ms),
    )
    others = tuple(one for one in pod.status.conditions if one.type != TARGET)
    return replace(pod, status=replace(pod.status, conditions=(*others, made)))
