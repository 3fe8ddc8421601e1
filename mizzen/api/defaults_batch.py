"""Defaults of jobs and cron jobs."""

from __future__ import annotations

from mizzen.api import defaults_pod
from mizzen.api.edit import each, edited, filled, maybe
from mizzen.api.types import batch_v1 as batch

BACKOFF_LIMIT = 6
WITHOUT_LIMIT = 2**31 - 1
SUCCESSFUL_JOBS = 3
FAILED_JOBS = 1


def job(obj: batch.Job) -> batch.Job:
    """One success of one pod, six failures made up for; the labels are those of the template."""
    spec = _parts(obj.spec)
    if spec.completions is None and spec.parallelism is None:
        spec = edited(spec, completions=1, parallelism=1)
    spec = filled(
        spec,
        parallelism=1,
        backoff_limit=BACKOFF_LIMIT if spec.backoff_limit_per_index is None else WITHOUT_LIMIT,
        completion_mode="NonIndexed",
        suspend=False,
        manual_selector=False,
        pod_replacement_policy="TerminatingOrFailed" if spec.pod_failure_policy is None else "Failed",
    )
    labels = obj.metadata.labels or spec.template.metadata.labels
    return edited(obj, metadata=edited(obj.metadata, labels=labels), spec=spec)


def cron_job(obj: batch.CronJob) -> batch.CronJob:
    """Jobs may overlap; three that succeeded and one that failed are kept."""
    template = edited(obj.spec.job_template, spec=_parts(obj.spec.job_template.spec))
    spec = filled(
        edited(obj.spec, job_template=template),
        concurrency_policy="Allow",
        suspend=False,
        successful_jobs_history_limit=SUCCESSFUL_JOBS,
        failed_jobs_history_limit=FAILED_JOBS,
    )
    return edited(obj, spec=spec)


def _parts(spec: batch.JobSpec) -> batch.JobSpec:
    """What holds for jobs and for templates of jobs."""
    return edited(
        spec,
        template=defaults_pod.template(spec.template),
        pod_failure_policy=maybe(
            spec.pod_failure_policy, lambda policy: edited(policy, rules=each(policy.rules, _rule))
        ),
    )


def _rule(rule: batch.PodFailurePolicyRule) -> batch.PodFailurePolicyRule:
    return edited(rule, on_pod_conditions=each(rule.on_pod_conditions, lambda pattern: filled(pattern, status="True")))
