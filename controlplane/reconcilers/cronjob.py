"""Starts Jobs by a clock.

A run's name is made of the minute it was due, so it is started once whoever decides. Of runs that were missed only the
last is made up for, and only within the starting deadline: a cron job is never stuck, however long nobody was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from controlplane.reconcilers import crontimes, ownership
from controlplane.reconcilers.jobconditions import COMPLETE, end_of, ended_ms
from mizzen.api import cron, kinds, times
from mizzen.api.types import batch_v1, core_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "cronjob-controller"
DUE = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""On jobs: when they were due."""
MANY = 100
"""So many missed runs are worth a warning."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One CronJob: forget old runs, note those that have ended, start the one that is due."""
    owner = view.get(kinds.CRON_JOB, key.namespace, key.name)
    if owner is None:
        return Decision()
    found = view.select(indexes.JOBS_BY_CONTROLLER, owner.metadata.uid)
    return _Turn(owner, [job for job in found if job.metadata.namespace == key.namespace], view, now).decide()


class _Turn:
    """One decision."""

    def __init__(self, owner: batch_v1.CronJob, jobs: Sequence[batch_v1.Job], view: View, now: Instant) -> None:
        self._owner = owner
        self._jobs = jobs
        self._view = view
        self._now = now
        self._status = owner.status
        self._effects: list[Effect] = []

    def decide(self) -> Decision:
        """What is done, and when to look again."""
        self._forget()
        self._note()
        wake_after_ms = None if self._owner.metadata.deletion_timestamp is not None else self._start()
        if self._status != self._owner.status:
            # Behind the job that it speaks of: a run that is started and not noted is found by its name.
            self._effects.append(UpdateStatus(msgspec.structs.replace(self._owner, status=self._status)))
        return Decision(tuple(self._effects), wake_after_ms=wake_after_ms)

    def _forget(self) -> None:
        """Delete the oldest runs beyond the limits."""
        for complete, limit in (
            (True, self._owner.spec.successful_jobs_history_limit),
            (False, self._owner.spec.failed_jobs_history_limit),
        ):
            ended = [job for job in self._jobs if (end := end_of(job)) and (end.type == COMPLETE) is complete]
            ended.sort(key=lambda job: (job.status.start_time or "", job.metadata.name))
            surplus = len(ended) - limit if limit is not None else 0
            for job in ended[: max(0, surplus)]:
                if job.metadata.deletion_timestamp is None:
                    self._delete(job)

    def _note(self) -> None:
        """Which runs go on, and when the last one succeeded."""
        by_uid = {job.metadata.uid: job for job in self._jobs}
        active = []
        for reference in self._status.active:
            job = by_uid.get(reference.uid)
            end = end_of(job) if job is not None else None
            if job is None:
                self._tell("Normal", "MissingJob", f"Active job went missing: {reference.name}")
            elif end is not None:
                self._tell(
                    "Normal", "SawCompletedJob", f"Saw completed job: {job.metadata.name}, condition: {end.type}"
                )
            else:
                active.append(reference)
        known = {reference.uid for reference in self._status.active}
        for job in self._jobs:
            if end_of(job) is not None or job.metadata.uid in known:
                continue
            if DUE not in job.metadata.annotations:
                # Somebody else made it in our name; it neither holds up a run nor is replaced by one.
                told = f"Saw a job that the controller did not create or forgot: {job.metadata.name}"
                self._tell("Warning", "UnexpectedJob", told)
            elif job.metadata.deletion_timestamp is None:
                active.append(_reference(job))
        successes = [end for job in self._jobs if (end := end_of(job)) and end.type == COMPLETE]
        last = max((ended_ms(end) for end in successes), default=0)
        before = self._status.last_successful_time
        if last and (not before or times.parse(before) < last):
            self._status = msgspec.structs.replace(self._status, last_successful_time=times.render(last))
        self._status = msgspec.structs.replace(self._status, active=tuple(active))

    def _start(self) -> int | None:
        """Start the run that is due; returns the milliseconds until the next is."""
        spec = self._owner.spec
        try:
            zone = _zone(spec.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            told = f'invalid timeZone: "{spec.time_zone}": unknown time zone {spec.time_zone}'
            self._tell("Warning", "UnknownTimeZone", told)
            return None
        if spec.suspend:
            return None
        try:
            schedule = cron.parse(spec.schedule)
        except cron.CronError as error:
            self._tell("Warning", "UnparseableSchedule", f'unparseable schedule: "{spec.schedule}" : {error}')
            return None
        following = crontimes.next_after(schedule, self._now, zone)
        if following is None:
            told = f"invalid schedule: {spec.schedule} : time difference between two schedules is less than 1 second"
            self._tell("Warning", "InvalidSchedule", told)
            return None
        since = self._since()
        due = crontimes.last_due(schedule, since, self._now, zone)
        if due is not None and self._is_in_time(due):
            self._warn_of_many(schedule, max(since, self._earliest()), zone)
            self._run(due, zone)
        elif due is not None:
            told = datetime.fromtimestamp(due / 1000, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
            self._tell("Warning", "MissSchedule", f"Missed scheduled time to start a job: {told}")
        return following - self._now

    def _since(self) -> Instant:
        """Runs that were due before this are not looked for."""
        stamp = self._owner.status.last_schedule_time or self._owner.metadata.creation_timestamp
        return times.parse(stamp) if stamp else self._now

    def _earliest(self) -> Instant:
        """Runs that were due before this are too late."""
        deadline_s = self._owner.spec.starting_deadline_seconds
        return 0 if deadline_s is None else self._now - deadline_s * 1000

    def _is_in_time(self, due: Instant) -> bool:
        return self._owner.spec.starting_deadline_seconds is None or due > self._earliest()

    def _warn_of_many(self, schedule: cron.Schedule | cron.Every, since: Instant, zone: tzinfo) -> None:
        moment: Instant | None = since
        for _ in range(MANY + 1):
            moment = crontimes.next_after(schedule, moment, zone) if moment is not None else None
            if moment is None or moment > self._now:
                return
        told = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        self._tell("Warning", "TooManyMissedTimes", told)

    def _run(self, due: Instant, zone: tzinfo) -> None:
        name = f"{self._owner.metadata.name}-{due // 60_000}"
        if self._view.get(kinds.JOB, self._owner.metadata.namespace, name) is not None:
            self._status = msgspec.structs.replace(self._status, last_schedule_time=times.render(due))
            return
        if self._status.active and self._owner.spec.concurrency_policy == "Forbid":
            told = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._tell("Normal", "JobAlreadyActive", told)
            return
        if self._owner.spec.concurrency_policy == "Replace":
            going = {reference.uid for reference in self._status.active}
            for job in self._jobs:
                if job.metadata.uid in going:
                    self._delete(job)
            self._status = msgspec.structs.replace(self._status, active=())
        self._effects.append(Create(_job(self._owner, name, due, zone)))
        self._tell("Normal", "SuccessfulCreate", f"Created job {name}")
        self._status = msgspec.structs.replace(self._status, last_schedule_time=times.render(due))

    def _delete(self, job: batch_v1.Job) -> None:
        key = Key(kinds.JOB.resource, job.metadata.namespace, job.metadata.name)
        self._effects.append(Delete(key, job.metadata.uid))
        self._tell("Normal", "SuccessfulDelete", f"Deleted job {job.metadata.name}")

    def _tell(self, severity: str, reason: str, message: str) -> None:
        self._effects.append(Emit(self._owner, severity, reason, message, COMPONENT))


def _zone(name: str | None) -> tzinfo:
    return ZoneInfo(name) if name else UTC


def _reference(job: batch_v1.Job) -> core_v1.ObjectReference:
    return core_v1.ObjectReference(
        kind="Job",
        api_version=kinds.JOB.api_version,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uid=job.metadata.uid,
        resource_version=job.metadata.resource_version,
    )


def _job(owner: batch_v1.CronJob, name: str, due: Instant, zone: tzinfo) -> batch_v1.Job:
    template = owner.spec.job_template
    stamp = datetime.fromtimestamp(due / 1000, zone).isoformat()
    metadata = meta_v1.ObjectMeta(
        name=name,
        namespace=owner.metadata.namespace,
        labels=template.metadata.labels,
        annotations={**template.metadata.annotations, DUE: stamp.replace("+00:00", "Z")},
        owner_references=(ownership.controller_reference(owner),),
    )
    return batch_v1.Job(metadata=metadata, spec=template.spec)


def _owner_keys(job: batch_v1.Job, view: View) -> Iterable[Key]:
    owner = ownership.controller_of(job)
    if owner is not None and owner.kind == "CronJob":
        yield Key(kinds.CRON_JOB.resource, job.metadata.namespace, owner.name)


CONTROLLER = Controller(
    name="cronjob",
    kind=kinds.CRON_JOB,
    reconcile=reconcile,
    watches=((kinds.JOB, _owner_keys),),
)
