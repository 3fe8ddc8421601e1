"""The rules for Jobs and CronJobs."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence

from msgspec.structs import replace

from mizzen.api import cron, formats, selectors, validate_meta, validate_pod
from mizzen.api.errors import FieldError
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_common import Errors, checked, immutable, label_selector, maybe_one_of, not_negative, one_of
from mizzen.api.validate_job_policies import INDEXED, failure_policy, success_policy
from mizzen.api.validate_workload import UNSELECTED

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
OLD_CONTROLLER_UID = "controller-uid"
OLD_JOB_NAME = "job-name"
"""Labels of a job's pods, in their new and their old form."""
CRON_JOB_NAME_MAX = 52
"""The jobs' names are up to 11 characters longer."""
INDEXES_MAX = 100_000

_MANY_INDEXES_MAX = 10_000
_MANAGED_BY_MAX = 63
_MODES = ("Indexed", "NonIndexed")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_WITH_PER_INDEX = "when completions are above 100000 and used with backoff limit per index"


def create_job(job: batch.Job) -> Errors:
    """A Job that is about to be; its selector has been made."""
    yield from validate_meta.create(job.metadata, formats.dns_subdomain, namespaced=True)
    yield from _generated(job)
    yield from _job_spec("spec", job.spec)
    yield from _selector(job.spec)
    completions = job.spec.completions
    if job.spec.completion_mode == INDEXED and completions is not None and completions > 0:
        last = f"{job.metadata.name}-{completions - 1}"
        for problem in formats.dns_label(last):
            why = f"will not able to create pod with invalid DNS label: {last}: {problem}"
            yield FieldError.invalid("metadata.name", job.metadata.name, why)


def update_job(new: batch.Job, old: batch.Job) -> Errors:
    """A Job that is about to be replaced: what it runs and how success is counted stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _job_spec("spec", new.spec)
    yield from _selector(new.spec)
    yield from _kept_completions(new.spec, old.spec)
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)
    yield from _kept_template(new, old)
    for name, after, before in (
        ("completionMode", new.spec.completion_mode, old.spec.completion_mode),
        ("podFailurePolicy", new.spec.pod_failure_policy, old.spec.pod_failure_policy),
        ("backoffLimitPerIndex", new.spec.backoff_limit_per_index, old.spec.backoff_limit_per_index),
        ("managedBy", new.spec.managed_by, old.spec.managed_by),
        ("successPolicy", new.spec.success_policy, old.spec.success_policy),
    ):
        yield from immutable(f"spec.{name}", after, before)


def _kept_completions(new: batch.JobSpec, old: batch.JobSpec) -> Errors:
    """The number of completions stays; that of an indexed job may change together with its parallelism."""
    if new.completions == old.completions:
        return
    if new.completion_mode != INDEXED or new.completions is None:
        yield from immutable("spec.completions", new.completions, old.completions)
    elif new.completions != new.parallelism:
        why = "can only be modified in tandem with spec.parallelism"
        yield FieldError.invalid("spec.completions", new.completions, why)


def _kept_template(new: batch.Job, old: batch.Job) -> Errors:
    """The template stays; a suspended job without pods may still be told where to run, and with how much of what."""
    template, before = new.spec.template, old.spec.template
    stopped = any((one.type, one.status) == ("Suspended", "True") for one in old.status.conditions)
    if old.spec.suspend and not old.status.active and (stopped or old.status.start_time is None):
        spec, metadata = template.spec, template.metadata
        before = replace(
            before,
            metadata=replace(before.metadata, labels=metadata.labels, annotations=metadata.annotations),
            spec=replace(
                before.spec,
                node_selector=spec.node_selector,
                affinity=spec.affinity,
                tolerations=spec.tolerations,
                scheduling_gates=spec.scheduling_gates,
                containers=_with_resources(before.spec.containers, spec.containers),
                init_containers=_with_resources(before.spec.init_containers, spec.init_containers),
            ),
        )
    yield from immutable("spec.template", template, before)


def _with_resources(before: Sequence[core.Container], after: Sequence[core.Container]) -> tuple[core.Container, ...]:
    """The containers as they were, but with the resources that they have now."""
    resources = {container.name: container.resources for container in after}
    return tuple(replace(one, resources=resources.get(one.name, one.resources)) for one in before)


def update_job_status(new: batch.Job, old: batch.Job) -> Errors:
    """A Job's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status = new.status
    for name, value in (
        ("active", status.active), ("succeeded", status.succeeded), ("failed", status.failed), ("ready", status.ready),
        ("terminating", status.terminating),
    ):  # fmt: skip
        yield from not_negative(f"status.{name}", value)
    if status.ready is not None and status.ready > max(status.active, 0):
        yield FieldError.invalid("status.ready", status.ready, "cannot set more ready pods than active")
    true = {condition.type for condition in status.conditions if condition.status == "True"}
    if {"Complete", "Failed"} <= true:
        yield FieldError.invalid("status.conditions", "", "cannot set Complete=True and Failed=true conditions")
    if status.completion_time is not None and "Complete" not in true:
        why = "cannot set completionTime when there is no Complete=True condition"
        yield FieldError.invalid("status.completionTime", status.completion_time, why)


def _generated(job: batch.Job) -> Errors:
    """A selector that was not given by the author must be the one that was made for the job."""
    if job.spec.manual_selector or job.spec.selector is None:
        return
    wanted = {
        OLD_CONTROLLER_UID: job.metadata.uid,
        OLD_JOB_NAME: job.metadata.name,
        CONTROLLER_UID: job.metadata.uid,
        JOB_NAME: job.metadata.name,
    }
    labels = job.spec.template.metadata.labels
    for key, value in wanted.items():
        at = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            yield FieldError.required(at, f"must be '{value}'")
        elif labels[key] != value:
            yield FieldError.invalid(at, dict(labels), f"must be '{value}'")
    if not _matches(job.spec.selector, {**labels, **wanted}):
        yield FieldError.invalid("spec.selector", job.spec.selector, "`selector` not auto-generated")


def _matches(selector: meta.LabelSelector, labels: dict[str, str]) -> bool:
    """Whether the labels fulfil the selector; True for one that is wrong, which other rules report."""
    try:
        return selectors.from_field(selector).matches(labels)
    except selectors.SelectorError:
        return True


def _selector(spec: batch.JobSpec) -> Errors:
    if spec.selector is None:
        yield FieldError.required("spec.selector")
        return
    yield from label_selector("spec.selector", spec.selector)
    labels = dict(spec.template.metadata.labels)
    if not _matches(spec.selector, labels):
        yield FieldError.invalid("spec.template.metadata.labels", labels, UNSELECTED)


def _job_spec(path: str, spec: batch.JobSpec) -> Errors:
    for name, value in (
        ("parallelism", spec.parallelism), ("completions", spec.completions),
        ("activeDeadlineSeconds", spec.active_deadline_seconds), ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes),
    ):  # fmt: skip
        yield from not_negative(f"{path}.{name}", value)
    if spec.managed_by is not None:
        yield from checked(f"{path}.managedBy", spec.managed_by, formats.domain_path)
        if len(spec.managed_by) > _MANAGED_BY_MAX:
            yield FieldError.too_long(f"{path}.managedBy", _MANAGED_BY_MAX)
    yield from maybe_one_of(f"{path}.completionMode", spec.completion_mode, _MODES)
    yield from _indexes(path, spec)
    if spec.pod_failure_policy is not None:
        yield from failure_policy(f"{path}.podFailurePolicy", spec.pod_failure_policy, spec)
    if spec.success_policy is not None:
        yield from success_policy(f"{path}.successPolicy", spec.success_policy, spec)
    replacements = ("Failed",) if spec.pod_failure_policy is not None else _REPLACEMENTS
    yield from maybe_one_of(f"{path}.podReplacementPolicy", spec.pod_replacement_policy, replacements)
    yield from validate_pod.template(f"{path}.template", spec.template)
    yield from _restarts(f"{path}.template.spec.restartPolicy", spec)


def _restarts(path: str, spec: batch.JobSpec) -> Errors:
    policy = spec.template.spec.restart_policy
    if policy == "Always":
        yield FieldError.required(path, 'valid values: "OnFailure", "Never"')
    for name, value in (
        ("podFailurePolicy", spec.pod_failure_policy), ("backoffLimitPerIndex", spec.backoff_limit_per_index),
    ):  # fmt: skip
        if value is not None and policy != "Never":
            yield FieldError.invalid(path, policy, f'only "Never" is supported when {name} is specified')


def _indexes(path: str, spec: batch.JobSpec) -> Errors:
    """Indexed jobs know how many indexes there are; only they can count by index."""
    per_index, failed = spec.backoff_limit_per_index, spec.max_failed_indexes
    if spec.completion_mode != INDEXED:
        for name, value in (("backoffLimitPerIndex", per_index), ("maxFailedIndexes", failed)):
            if value is not None:
                yield FieldError.invalid(f"{path}.{name}", value, "requires indexed completion mode")
        return
    if spec.completions is None:
        yield FieldError.required(f"{path}.completions", f"when completion mode is {INDEXED}")
    if spec.parallelism is not None and spec.parallelism > INDEXES_MAX:
        why = f"must be less than or equal to {INDEXES_MAX} when completion mode is {INDEXED}"
        yield FieldError.invalid(f"{path}.parallelism", spec.parallelism, why)
    if failed is not None and per_index is None:
        yield FieldError.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    yield from _failed_indexes(f"{path}.maxFailedIndexes", failed, spec.completions)
    if per_index is not None and spec.completions is not None and spec.completions > INDEXES_MAX:
        yield from _many_indexes(path, spec)


def _failed_indexes(path: str, failed: int | None, completions: int | None) -> Errors:
    if failed is None:
        return
    if completions is not None and failed > completions:
        yield FieldError.invalid(path, failed, "must be less than or equal to completions")
    if failed > INDEXES_MAX:
        yield FieldError.invalid(path, failed, f"must be less than or equal to {INDEXES_MAX}")


def _many_indexes(path: str, spec: batch.JobSpec) -> Errors:
    why = f"must be less than or equal to {_MANY_INDEXES_MAX} {_WITH_PER_INDEX}"
    if spec.max_failed_indexes is None:
        yield FieldError.required(f"{path}.maxFailedIndexes", "must be specified when completions is above 100000")
    elif spec.max_failed_indexes > _MANY_INDEXES_MAX:
        yield FieldError.invalid(f"{path}.maxFailedIndexes", spec.max_failed_indexes, why)
    if spec.parallelism is not None and spec.parallelism > _MANY_INDEXES_MAX:
        yield FieldError.invalid(f"{path}.parallelism", spec.parallelism, why)


def create_cron_job(obj: batch.CronJob) -> Errors:
    """A CronJob that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _cron_job(obj.spec)
    if len(obj.metadata.name) > CRON_JOB_NAME_MAX:
        why = f"must be no more than {CRON_JOB_NAME_MAX} characters"
        yield FieldError.invalid("metadata.name", obj.metadata.name, why)


def update_cron_job(new: batch.CronJob, old: batch.CronJob) -> Errors:
    """A CronJob that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _cron_job(new.spec)


def update_cron_job_status(new: batch.CronJob, old: batch.CronJob) -> Errors:
    """A CronJob's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)


def _cron_job(spec: batch.CronJobSpec) -> Errors:
    yield from _schedule("spec.schedule", spec)
    yield from not_negative("spec.startingDeadlineSeconds", spec.starting_deadline_seconds)
    yield from one_of("spec.concurrencyPolicy", spec.concurrency_policy, _CONCURRENCY)
    yield from _time_zone("spec.timeZone", spec.time_zone)
    yield from not_negative("spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit)
    yield from not_negative("spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit)
    path, job = "spec.jobTemplate.spec", spec.job_template.spec
    yield from _job_spec(path, job)
    if job.selector is not None:
        yield FieldError.invalid(f"{path}.selector", job.selector, "`selector` will be auto-generated")
    if job.manual_selector:
        yield FieldError("FieldValueNotSupported", f"{path}.manualSelector", True, 'supported values: "nil", "false"')


def _schedule(path: str, spec: batch.CronJobSpec) -> Errors:
    if not spec.schedule:
        yield FieldError.required(path)
        return
    if "TZ" in spec.schedule:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield FieldError.invalid(path, spec.schedule, why)
        return
    try:
        cron.parse(spec.schedule)
    except cron.CronError as error:
        yield FieldError.invalid(path, spec.schedule, str(error))


def _time_zone(path: str, name: str | None) -> Errors:
    if name is None:
        return
    if not name:
        yield FieldError.invalid(path, name, "timeZone must be nil or non-empty string")
    elif name.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield FieldError.invalid(path, name, why)
    else:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            yield FieldError.invalid(path, name, f"unknown time zone {name}")
