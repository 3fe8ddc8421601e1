"""What the CronJob controller decides, and when schedules are due."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from controlplane.reconcilers import cronjob, crontimes
from mizzen.api import cron, defaults, kinds, times
from mizzen.api.types import batch_v1, meta_v1
from tests.fixtures.cluster_objects import NOW, meta, owned_by, template
from tests.unit.reconcilers.sets import Rig

replace = msgspec.structs.replace
MINUTE = 60_000
BERLIN = ZoneInfo("Europe/Berlin")


def rig(schedule: str = "*/10 * * * *", **spec: Any) -> Rig:
    """A CronJob `web`, made at 12:00, an hour ago."""
    jobs = batch_v1.JobTemplateSpec(
        metadata=meta_v1.ObjectMeta(labels={"run": "nightly"}), spec=batch_v1.JobSpec(template=template())
    )
    made = batch_v1.CronJob(
        metadata=replace(meta("web"), creation_timestamp=times.render(NOW)),
        spec=batch_v1.CronJobSpec(schedule=schedule, job_template=jobs, **spec),
    )
    return Rig(cronjob.CONTROLLER, defaults.apply(made))


def finish(world: Rig, name: str, type_: str = "Complete") -> None:
    """A job ends."""
    job = world.get(kinds.JOB, name)
    condition = batch_v1.JobCondition(type=type_, status="True", last_transition_time=times.render(world.now))
    start = job.metadata.creation_timestamp
    world.put(replace(job, status=batch_v1.JobStatus(conditions=(condition,), start_time=start)))


def jobs(world: Rig) -> list[str]:
    return [job.metadata.name for job in world.list(kinds.JOB)]


def status(world: Rig) -> batch_v1.CronJobStatus:
    found: batch_v1.CronJobStatus = world.get(kinds.CRON_JOB, "web").status
    return found


def name(minutes: int) -> str:
    """The name of the run that is due so many minutes after noon."""
    return f"web-{NOW // MINUTE + minutes}"


def test_a_run_starts_when_it_is_due_and_not_before() -> None:
    world = rig()
    world.now += 9 * MINUTE
    assert world.turn().wake_after_ms == MINUTE
    assert jobs(world) == []
    world.now += MINUTE
    world.settle()
    (job,) = world.list(kinds.JOB)
    assert (job.metadata.name, job.metadata.labels) == (name(10), {"run": "nightly"})
    assert job.metadata.annotations[cronjob.DUE] == "2026-03-01T12:10:00Z"
    assert job.metadata.owner_references[0].kind == "CronJob"
    assert (status(world).last_schedule_time, [r.name for r in status(world).active]) == (
        "2026-03-01T12:10:00Z",
        [name(10)],
    )
    assert f"SuccessfulCreate: Created job {name(10)}" in world.told


def test_runs_that_have_ended_are_noted() -> None:
    world = rig()
    world.now += 10 * MINUTE
    world.settle()
    world.now += MINUTE
    finish(world, name(10))
    world.settle()
    assert (status(world).active, status(world).last_successful_time) == ((), "2026-03-01T12:11:00Z")
    assert f"SawCompletedJob: Saw completed job: {name(10)}, condition: Complete" in world.told


@pytest.mark.parametrize(
    ("policy", "left"),
    [("Allow", [name(10), name(20)]), ("Forbid", [name(10)]), ("Replace", [name(20)])],
)
def test_what_a_run_that_is_not_over_means_for_the_next(policy: str, left: list[str]) -> None:
    world = rig(concurrency_policy=policy)
    world.now += 10 * MINUTE
    world.settle()
    world.now += 10 * MINUTE
    for _ in range(3):
        world.turn()
    assert jobs(world) == left
    told = "JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid"
    assert (told in world.told) is (policy == "Forbid")


def test_of_missed_runs_the_last_is_made_up_for() -> None:
    world = rig("* * * * *")
    world.now += 365 * 24 * 60 * MINUTE
    world.settle()
    assert jobs(world) == [name(365 * 24 * 60)]
    assert "TooManyMissedTimes: too many missed start times" in "".join(world.told)


def test_a_run_is_too_late_after_its_deadline() -> None:
    world = rig("0 * * * *", starting_deadline_seconds=60)
    world.now += 62 * MINUTE
    assert world.turn().wake_after_ms == 58 * MINUTE
    assert jobs(world) == []
    assert world.told == ["MissSchedule: Missed scheduled time to start a job: Sun, 01 Mar 2026 13:00:00 +0000"]
    world = rig("0 * * * *", starting_deadline_seconds=180)
    world.now += 62 * MINUTE
    world.settle()
    assert jobs(world) == [name(60)]


def test_of_many_missed_runs_only_those_within_the_deadline_are_told() -> None:
    world = rig("* * * * *", starting_deadline_seconds=600)
    world.now += 365 * 24 * 60 * MINUTE
    world.settle()
    assert jobs(world) == [name(365 * 24 * 60)]
    assert "TooManyMissedTimes" not in "".join(world.told)


@pytest.mark.parametrize(
    ("schedule", "zone", "told"),
    [
        ("* * * * *", "Moon/Base", 'UnknownTimeZone: invalid timeZone: "Moon/Base": unknown time zone Moon/Base'),
        (
            "0 0 30 2 *",
            None,
            "InvalidSchedule: invalid schedule: 0 0 30 2 * : time difference between two schedules is less than 1",
        ),
        ("at noon", None, 'UnparseableSchedule: unparseable schedule: "at noon" : expected exactly 5 fields, found 2'),
    ],
)
def test_what_can_not_be_kept_to_is_told_and_starts_nothing(schedule: str, zone: str | None, told: str) -> None:
    world = rig(schedule, time_zone=zone)
    world.now += 60 * MINUTE
    decision = world.turn()
    assert (jobs(world), decision.wake_after_ms) == ([], None)
    assert [line[: len(told)] for line in world.told] == [told]


def test_a_job_that_somebody_made_from_it_is_told_and_holds_nothing_up() -> None:
    world = rig(concurrency_policy="Forbid")
    owner = world.get(kinds.CRON_JOB, "web")
    manual = meta("by-hand", uid="", owner_references=owned_by(owner))
    world.put(batch_v1.Job(metadata=replace(manual, annotations={"cronjob.kubernetes.io/instantiate": "manual"})))
    world.turn()
    assert world.told == ["UnexpectedJob: Saw a job that the controller did not create or forgot: by-hand"]
    world.now += 10 * MINUTE
    world.turn()
    world.turn()
    assert jobs(world) == ["by-hand", name(10)]
    assert [reference.name for reference in status(world).active] == [name(10)]


def test_a_job_that_went_missing_makes_room_for_another() -> None:
    world = rig(concurrency_policy="Forbid")
    world.now += 10 * MINUTE
    world.settle()
    del world.objects[("jobs.batch", "default", name(10))]
    world.now += 10 * MINUTE
    world.settle()
    assert f"MissingJob: Active job went missing: {name(10)}" in world.told
    assert jobs(world) == [name(20)]


def test_a_cron_job_on_its_way_out_only_notes_what_has_ended() -> None:
    world = rig()
    world.now += 10 * MINUTE
    world.settle()
    owner = world.get(kinds.CRON_JOB, "web")
    world.put(replace(owner, metadata=replace(owner.metadata, deletion_timestamp="2026-03-01T12:10:00Z")))
    finish(world, name(10))
    world.now += 10 * MINUTE
    world.settle()
    assert (jobs(world), status(world).active) == ([name(10)], ())


def test_a_suspended_cron_job_starts_nothing() -> None:
    world = rig(suspend=True)
    world.now += 60 * MINUTE
    decision = world.turn()
    assert (jobs(world), decision.wake_after_ms) == ([], None)


def test_old_runs_are_forgotten_beyond_the_limits() -> None:
    world = rig(successful_jobs_history_limit=2, failed_jobs_history_limit=1)
    for number in range(1, 7):
        world.now = NOW + number * 10 * MINUTE
        world.settle()
        finish(world, name(number * 10), "Complete" if number % 2 else "Failed")
        world.settle()
    assert jobs(world) == [name(30), name(50), name(60)]


def test_a_run_that_was_started_and_not_noted_is_not_started_again() -> None:
    world = rig()
    world.now += 10 * MINUTE
    world.settle()
    finish(world, name(10))
    owner = world.get(kinds.CRON_JOB, "web")
    world.put(replace(owner, status=batch_v1.CronJobStatus()))
    world.settle()
    assert (jobs(world), status(world).last_schedule_time) == ([name(10)], "2026-03-01T12:10:00Z")


def test_the_time_zone_counts() -> None:
    world = rig("30 14 * * *", time_zone="Europe/Berlin")
    world.now += 2 * 60 * MINUTE
    world.settle()
    (job,) = world.list(kinds.JOB)
    assert job.metadata.annotations[cronjob.DUE] == "2026-03-01T14:30:00+01:00"


@pytest.mark.parametrize(
    ("schedule", "moment", "following"),
    [
        ("* * * * *", "2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z"),
        ("* * * * *", "2026-03-01T12:00:59Z", "2026-03-01T12:01:00Z"),
        ("30 3 * * *", "2026-03-01T12:00:00Z", "2026-03-02T03:30:00Z"),
        ("0 0 31 * *", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"),
        ("0 0 29 2 *", "2026-03-01T12:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 12 13 * 5", "2026-03-01T12:00:00Z", "2026-03-06T12:00:00Z"),
        ("0 12 * * 0", "2026-03-01T12:00:00Z", "2026-03-08T12:00:00Z"),
        ("@hourly", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"),
        ("@every 90s", "2026-03-01T12:00:00Z", "2026-03-01T12:01:30Z"),
        ("0 0 30 2 *", "2026-03-01T12:00:00Z", None),
    ],
)
def test_when_a_schedule_is_due_next(schedule: str, moment: str, following: str | None) -> None:
    found = crontimes.next_after(cron.parse(schedule), times.parse(moment), UTC)
    assert (times.render(found) if found else None) == following


def due(schedule: str, since: str, until: str) -> list[str]:
    """All moments in Berlin."""
    found, moment = [], times.parse(since)
    while (following := crontimes.next_after(cron.parse(schedule), moment, BERLIN)) and following < times.parse(until):
        moment = following
        found.append(times.render(moment))
    return found


def test_an_hour_that_is_skipped_brings_nothing_and_one_that_comes_twice_brings_it_twice() -> None:
    spring = due("30 2 * * *", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z")
    assert spring == ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]
    autumn = due("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z")
    assert autumn == ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]


@pytest.mark.parametrize("schedule", ["* * * * *", "*/7 3 * * 1-5", "0 0 1 */3 *", "@every 7m"])
@pytest.mark.parametrize("span_minutes", [0, 1, 13, 60 * 24, 60 * 24 * 100])
def test_the_last_moment_is_the_last_of_the_next_ones(schedule: str, span_minutes: int) -> None:
    parsed, until = cron.parse(schedule), NOW + span_minutes * MINUTE + 17
    moment, last = NOW, None
    for _ in range(200_000):
        following = crontimes.next_after(parsed, moment, UTC)
        if following is None or following > until:
            break
        moment = last = following
    assert crontimes.last_due(parsed, NOW, until, UTC) == last
