"""The tables of jobs and cron jobs."""

from __future__ import annotations

from controlplane.server.tables.model import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    NONE,
    SELECTOR,
    Row,
    TableOf,
    age,
    column,
    containers_cells,
    duration,
    selector_text,
    since,
)
from mizzen.api import times
from mizzen.api.types import batch_v1 as batch
from mizzen.engine.values import Instant


def job_row(obj: batch.Job, now: Instant) -> Row:
    """The cells of one job."""
    return Row(
        (
            obj.metadata.name,
            _job_status(obj),
            _completions(obj),
            _took(obj.status, now),
            age(obj.metadata, now),
            *containers_cells(obj.spec.template.spec),
            selector_text(obj.spec.selector),
        )
    )


def _job_status(obj: batch.Job) -> str:
    true = [condition.type for condition in obj.status.conditions if condition.status == "True"]
    if obj.metadata.deletion_timestamp is not None and not {"Complete", "Failed"} & {*true}:
        return "Terminating"
    order = ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet")
    return next((type_ for type_ in order if type_ in true), "Running")


def _completions(obj: batch.Job) -> str:
    spec, succeeded = obj.spec, obj.status.succeeded
    if spec.completions is not None:
        return f"{succeeded}/{spec.completions}"
    many = spec.parallelism or 0
    return f"{succeeded}/1 of {many}" if many > 1 else f"{succeeded}/1"


def _took(status: batch.JobStatus, now: Instant) -> str:
    if status.start_time is None:
        return ""
    if not status.completion_time:
        return since(status.start_time, now)
    return duration(times.parse(status.completion_time) - times.parse(status.start_time))


def cron_job_row(obj: batch.CronJob, now: Instant) -> Row:
    """The cells of one cron job."""
    spec, status = obj.spec, obj.status
    return Row(
        (
            obj.metadata.name,
            spec.schedule,
            spec.time_zone or NONE,
            bool(spec.suspend),
            len(status.active),
            since(status.last_schedule_time, now) if status.last_schedule_time else NONE,
            age(obj.metadata, now),
            *containers_cells(spec.job_template.spec.template.spec),
            selector_text(spec.job_template.spec.selector),
        )
    )


JOB_TABLE = TableOf(
    (
        NAME,
        column("Status", "Whether it runs, and how it ended."),
        column("Completions", "Pods that succeeded, out of those wanted."),
        column("Duration", "How long it has run, or took."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    job_row,
)
CRON_JOB_TABLE = TableOf(
    (
        NAME,
        column("Schedule", "When it makes jobs."),
        column("Timezone", "The time zone of the schedule."),
        column("Suspend", "Whether it makes no jobs for now.", truth=True),
        column("Active", "Jobs that run.", whole=True),
        column("Last Schedule", "Time since it last made a job."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    cron_job_row,
)
