"""When a Job has succeeded or failed: limits, deadlines, and the user's own policies for failures and success."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlplane.reconcilers import jobpods
from mizzen.api import times
from mizzen.api.types import batch_v1, core_v1
from mizzen.engine.values import Instant

Action: TypeAlias = Literal["Count", "Ignore", "FailIndex", "FailJob"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a job, in the words of its conditions."""

    complete: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What has been counted, with what is noted and not counted yet."""

    succeeded: int
    failed: int
    failed_indexes: frozenset[int]
    completed_indexes: frozenset[int]
    refused: str = ""
    """The failure policy ends the job, and in these words."""


def action_for(job: batch_v1.Job, pod: core_v1.Pod) -> tuple[Action, str]:
    """What a failed pod means, by the first rule that matches; and in which words when it ends the job."""
    policy = job.spec.pod_failure_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        told = _matches(rule, pod)
        if told:
            action: Action = rule.action  # type: ignore[assignment]  # validated
            return action, f"{told} matching {rule.action} rule at index {number}"
    return "Count", ""


def _matches(rule: batch_v1.PodFailurePolicyRule, pod: core_v1.Pod) -> str:
    """What of the pod a rule speaks of; empty when it speaks of something else."""
    where = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        for name, code in _exit_codes(pod, rule.on_exit_codes.container_name):
            if (code in rule.on_exit_codes.values) == (rule.on_exit_codes.operator == "In"):
                return f"Container {name} for pod {where} failed with exit code {code}"
    for pattern in rule.on_pod_conditions:
        if any((c.type, c.status) == (pattern.type, pattern.status) for c in pod.status.conditions):
            return f"Pod {where} has condition {pattern.type}"
    return ""


def _exit_codes(pod: core_v1.Pod, container: str | None) -> Iterator[tuple[str, int]]:
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        terminated = status.state.terminated
        if terminated is not None and terminated.exit_code and container in (None, status.name):
            yield status.name, terminated.exit_code


def failure(job: batch_v1.Job, tally: Tally, active: Sequence[core_v1.Pod], now: Instant) -> Outcome | None:
    """Why the job fails now, if it does."""
    if tally.refused:
        return Outcome(False, "PodFailurePolicy", tally.refused)
    limit = job.spec.backoff_limit if job.spec.backoff_limit is not None else 6
    if tally.failed > limit or _restarted_too_often(job, limit, active):
        return Outcome(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if deadline_in_ms(job, now) == 0:
        return Outcome(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    return _too_many_indexes(job, tally)


def _restarted_too_often(job: batch_v1.Job, limit: int, active: Iterable[core_v1.Pod]) -> bool:
    """Containers that are restarted in place fail without their pod failing."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    statuses = [s for pod in active for s in (*pod.status.init_container_statuses, *pod.status.container_statuses)]
    restarts = sum(status.restart_count for status in statuses)
    return restarts > 0 if limit == 0 else restarts >= limit


def _too_many_indexes(job: batch_v1.Job, tally: Tally) -> Outcome | None:
    if job.spec.backoff_limit_per_index is None or not tally.failed_indexes:
        return None
    most = job.spec.max_failed_indexes
    if most is not None and len(tally.failed_indexes) > most:
        told = "Job has exceeded the specified maximal number of failed indexes"
        return Outcome(False, "MaxFailedIndexesExceeded", told)
    if len(tally.failed_indexes | tally.completed_indexes) >= (job.spec.completions or 0):
        return Outcome(False, "FailedIndexes", "Job has failed indexes")
    return None


def success(job: batch_v1.Job, tally: Tally, found: jobpods.Sorted) -> Outcome | None:
    """Why the job has succeeded, if it has."""
    if (number := _early(job, tally)) is not None:
        return Outcome(True, "SuccessPolicy", f"Matched rules at index {number}")
    completions = job.spec.completions
    if completions is None:
        # A queue of work: the first success says that it is empty, and the others may finish what they have.
        done = tally.succeeded > 0 and not found.active and not found.leaving
    else:
        done = tally.succeeded >= completions
    return Outcome(True, "CompletionsReached", "Reached expected number of succeeded pods") if done else None


def _early(job: batch_v1.Job, tally: Tally) -> int | None:
    """The first rule of the success policy that is met."""
    policy = job.spec.success_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        done = tally.completed_indexes
        wanted = None if rule.succeeded_indexes is None else jobpods.parse_indexes(rule.succeeded_indexes)
        among = done if wanted is None else done & wanted
        needed = rule.succeeded_count if rule.succeeded_count is not None else len(wanted or ())
        if len(among) >= needed:
            return number
    return None


def deadline_in_ms(job: batch_v1.Job, now: Instant) -> int | None:
    """Milliseconds that the job has left; None without a deadline."""
    limit_s = job.spec.active_deadline_seconds
    if limit_s is None or not job.status.start_time or job.spec.suspend:
        return None
    return max(0, times.parse(job.status.start_time) + limit_s * 1000 - now)
