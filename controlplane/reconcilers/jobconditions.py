"""A Job's status while a decision works on it: counts, notes of what is not counted yet, and conditions."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from controlplane.reconcilers import jobpods, podstate
from controlplane.reconcilers.jobpolicy import Outcome, Tally
from mizzen.api import times
from mizzen.api.types import batch_v1
from mizzen.engine.values import Instant

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
WILL_COMPLETE, WILL_FAIL = "SuccessCriteriaMet", "FailureTarget"


def end_of(job: batch_v1.Job) -> batch_v1.JobCondition | None:
    """The condition that says that a job is over."""
    return next((c for c in job.status.conditions if c.type in (COMPLETE, FAILED) and c.status == "True"), None)


def ended_ms(condition: batch_v1.JobCondition) -> Instant:
    """When a condition has become what it is."""
    return times.parse(condition.last_transition_time) if condition.last_transition_time else 0


class Draft:
    """The status to be."""

    def __init__(self, job: batch_v1.Job, now: Instant) -> None:
        status = job.status
        noted = status.uncounted_terminated_pods or batch_v1.UncountedTerminatedPods()
        self.uncounted_succeeded = list(noted.succeeded)
        self.uncounted_failed = list(noted.failed)
        self.completed = jobpods.parse_indexes(status.completed_indexes)
        self.failed_indexes = jobpods.parse_indexes(status.failed_indexes or "")
        self._job = job
        self._now = times.render(now)
        self._succeeded, self._failed = status.succeeded, status.failed
        self._conditions = {condition.type: condition for condition in status.conditions}
        self._start_time = status.start_time
        self._completion_time = status.completion_time

    # Counting

    def strike_out(self, tracked: Collection[str]) -> None:
        """Raise the counts by what is noted and no longer tracked, which is then noted no more."""
        self._succeeded += sum(uid not in tracked for uid in self.uncounted_succeeded)
        self._failed += sum(uid not in tracked for uid in self.uncounted_failed)
        self.uncounted_succeeded = [uid for uid in self.uncounted_succeeded if uid in tracked]
        self.uncounted_failed = [uid for uid in self.uncounted_failed if uid in tracked]

    def is_noted(self, uid: str) -> bool:
        """Whether a pod's end is noted and waits to be counted."""
        return uid in self.uncounted_succeeded or uid in self.uncounted_failed

    def notes_anything(self) -> bool:
        """Whether ends of pods wait to be counted."""
        return bool(self.uncounted_succeeded or self.uncounted_failed)

    def tally(self, refused: str) -> Tally:
        """The counts as they will be when all that is noted is counted."""
        indexed = jobpods.is_indexed(self._job)
        return Tally(
            succeeded=len(self.completed) if indexed else self._succeeded + len(self.uncounted_succeeded),
            failed=self._failed + len(self.uncounted_failed),
            failed_indexes=frozenset(self.failed_indexes),
            completed_indexes=frozenset(self.completed),
            refused=refused,
        )

    # Conditions

    def target(self) -> Outcome | None:
        """The end that was decided on before."""
        for type_, complete in ((WILL_FAIL, False), (WILL_COMPLETE, True)):
            found = self._conditions.get(type_)
            if found is not None and found.status == "True":
                return Outcome(complete, found.reason, found.message)
        return None

    def aim(self, outcome: Outcome) -> None:
        """Tell that the job will end, and how."""
        self._set(WILL_COMPLETE if outcome.complete else WILL_FAIL, "True", outcome.reason, outcome.message)

    def finish(self, outcome: Outcome) -> None:
        """Tell that the job has ended."""
        self._set(COMPLETE if outcome.complete else FAILED, "True", outcome.reason, outcome.message)
        if outcome.complete:
            self._completion_time = self._now

    def suspend(self) -> bool:
        """Stop the clock; tells whether it ran."""
        self._start_time = None
        return self._set(SUSPENDED, "True", "JobSuspended", "Job suspended")

    def resume(self) -> bool:
        """Start the clock unless it runs; tells whether the job was suspended."""
        self._start_time = self._start_time or self._now
        if SUSPENDED not in self._conditions:
            return False
        return self._set(SUSPENDED, "False", "JobResumed", "Job resumed")

    def _set(self, type_: str, status: str, reason: str, message: str) -> bool:
        present = self._conditions.get(type_)
        if present is not None and present.status == status:
            return False
        self._conditions[type_] = batch_v1.JobCondition(
            type=type_,
            status=status,
            reason=reason,
            message=message,
            last_probe_time=self._now,
            last_transition_time=self._now,
        )
        return True

    def status(self, found: jobpods.Sorted) -> batch_v1.JobStatus:
        """The whole."""
        indexed = jobpods.is_indexed(self._job)
        limits_indexes = self._job.spec.backoff_limit_per_index is not None
        return msgspec.structs.replace(
            self._job.status,
            conditions=tuple(self._conditions.values()),
            start_time=self._start_time,
            completion_time=self._completion_time,
            active=len(found.active),
            ready=sum(map(podstate.is_ready, found.active)),
            terminating=len(found.leaving),
            succeeded=len(self.completed) if indexed else self._succeeded,
            failed=self._failed,
            completed_indexes=jobpods.render_indexes(self.completed),
            failed_indexes=jobpods.render_indexes(self.failed_indexes) if limits_indexes else None,
            uncounted_terminated_pods=batch_v1.UncountedTerminatedPods(
                succeeded=tuple(self.uncounted_succeeded), failed=tuple(self.uncounted_failed)
            ),
        )
