"""Runs a Job's pods to completion: as many at once as it wants, again where they fail, and counts every end once.

How a pod is counted is in `jobpods`, when the job as a whole has succeeded or failed in `jobpolicy`. That it will end
is first told by a condition of its own (SuccessCriteriaMet, FailureTarget); the job is over when no pod is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from controlplane.reconcilers import jobpods, ownership, victims
from controlplane.reconcilers.jobconditions import Draft, end_of, ended_ms
from controlplane.reconcilers.jobpolicy import Outcome, Tally, action_for, deadline_in_ms, failure, success
from mizzen.api import kinds, selectors
from mizzen.api.types import batch_v1, core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "job-controller"
NAME = "kubernetes.io/job-controller"
"""What `spec.managedBy` says of jobs that are ours."""
BURST = 500
"""Pods made or deleted in one decision."""
PAUSE_FIRST_MS, PAUSE_MAX_MS = 10_000, 600_000
"""The pause after a failure; it doubles with every failure in a row."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Job: count what has ended, see whether that ends the job, else make or delete pods."""
    job = view.get(kinds.JOB, key.namespace, key.name)
    if job is None:
        return Decision(tuple(map(jobpods.released, _left_behind(key, view))))
    if job.spec.managed_by not in (None, NAME):
        return Decision()
    selector = selectors.from_field(job.spec.selector)
    claimed = ownership.claim(job, selector, ownership.pods(view, job, selector))
    if job.metadata.deletion_timestamp is not None or end_of(job) is not None:
        return Decision(tuple(jobpods.released(pod) for pod in claimed.owned if jobpods.is_tracked(pod)))
    if claimed.effects:
        return Decision(claimed.effects)
    return _Turn(job, claimed.owned, now, ids).decide()


def _left_behind(key: Key, view: View) -> Iterator[core_v1.Pod]:
    """Pods of a job that is gone, which wait for somebody to take their finalizer off."""
    for pod in view.list(kinds.POD, key.namespace):
        owner = ownership.controller_of(pod)
        if owner is not None and (owner.kind, owner.name) == ("Job", key.name) and jobpods.is_tracked(pod):
            yield pod


class _Turn:
    """One decision about a job that is not over."""

    def __init__(self, job: batch_v1.Job, pods: Sequence[core_v1.Pod], now: Instant, ids: Ids) -> None:
        self._job = job
        self._pods = pods
        self._found = jobpods.sort(job, pods)
        self._now = now
        self._ids = ids
        self._draft = Draft(job, now)
        self._refused = ""
        self._counted: list[core_v1.Pod] = []
        """Pods that are over and may be let go of."""
        self._effects: list[Effect] = []
        """What follows once the status is stored."""
        self._wake_after_ms: int | None = None

    def decide(self) -> Decision:
        """Everything, in order: the status goes first, because what follows relies on its notes."""
        self._count()
        tally = self._draft.tally(self._refused)
        outcome = self._draft.target() or failure(self._job, tally, self._found.active, self._now)
        if outcome is None and not self._job.spec.suspend:
            outcome = success(self._job, tally, self._found)
        held = self._held() if outcome is None else ()
        self._effects += (jobpods.released(pod) for pod in self._counted if pod.metadata.uid not in held)
        if outcome is not None:
            self._end(outcome)
        elif self._job.spec.suspend:
            self._suspend()
        else:
            self._go_on(tally)
        status = self._draft.status(self._found)
        first: list[Effect] = []
        if status != self._job.status:
            first.append(UpdateStatus(msgspec.structs.replace(self._job, status=status)))
        return Decision((*first, *self._effects), wake_after_ms=self._wake_after_ms)

    def _count(self) -> None:
        tracked = {pod.metadata.uid: pod for pod in self._pods if jobpods.is_tracked(pod)}
        self._draft.strike_out(tracked)
        for pod in self._found.succeeded:
            self._count_success(pod)
        for pod in self._found.failed:
            self._count_failure(pod)

    def _is_new(self, pod: core_v1.Pod) -> bool:
        """Whether a pod that is over is neither counted nor noted."""
        if not jobpods.is_tracked(pod):
            return False
        self._counted.append(pod)
        return not self._draft.is_noted(pod.metadata.uid)

    def _held(self) -> Collection[str]:
        """The uids of pods that are not let go of yet: the last one of an index, from which the next one learns how
        often the index has failed."""
        if self._job.spec.backoff_limit_per_index is None:
            return ()
        busy = {jobpods.index_of(pod, None) for pod in self._found.active}
        busy |= self._draft.completed | self._draft.failed_indexes
        last: dict[int, core_v1.Pod] = {}
        for pod in sorted(self._found.failed, key=lambda one: (jobpods.failures_of(one), jobpods.ended_ms(one))):
            index = jobpods.index_of(pod, self._job.spec.completions)
            if index is not None and index not in busy:
                last[index] = pod
        return {pod.metadata.uid for pod in last.values()}

    def _count_success(self, pod: core_v1.Pod) -> None:
        if not self._is_new(pod):
            return
        if not jobpods.is_indexed(self._job):
            self._draft.uncounted_succeeded.append(pod.metadata.uid)
        elif (index := jobpods.index_of(pod, self._job.spec.completions)) is not None:
            self._draft.completed.add(index)

    def _count_failure(self, pod: core_v1.Pod) -> None:
        if not self._is_new(pod):
            return
        action, told = action_for(self._job, pod)
        if action == "FailJob":
            self._refused = self._refused or told
        index = jobpods.index_of(pod, self._job.spec.completions)
        if action == "Ignore" or (index is None and jobpods.is_indexed(self._job)):
            return
        self._draft.uncounted_failed.append(pod.metadata.uid)
        limit = self._job.spec.backoff_limit_per_index
        if limit is None or index is None or index in self._draft.completed:
            return
        if action == "FailIndex" or jobpods.failures_of(pod) + 1 > limit:
            self._draft.failed_indexes.add(index)

    # How it goes on

    def _end(self, outcome: Outcome) -> None:
        """No more pods; and when none is left, that is it."""
        self._draft.aim(outcome)
        for pod in self._found.active:
            self._delete(pod)
        if self._found.active or self._found.leaving or self._draft.notes_anything():
            return
        self._draft.finish(outcome)
        if outcome.complete:
            completions = self._job.spec.completions
            if completions is not None and self._draft.tally("").succeeded > completions:
                told = "Too many succeeded pods running after completion count reached"
                self._tell("Warning", "TooManySucceededPods", told)
            self._tell("Normal", "Completed", "Job completed")
        else:
            self._tell("Warning", outcome.reason, outcome.message)

    def _suspend(self) -> None:
        self._give_up(self._found.active)
        if self._draft.suspend():
            self._tell("Normal", "Suspended", "Job suspended")

    def _go_on(self, tally: Tally) -> None:
        if self._draft.resume():
            self._tell("Normal", "Resumed", "Job resumed")
        if (left_ms := deadline_in_ms(self._job, self._now)) is not None:
            self._wake(left_ms)
        unneeded = jobpods.surplus(self._job, self._found.active)
        others = [pod for pod in self._found.active if pod not in unneeded]
        wanted = self._wanted(tally, len(others))
        if len(others) > wanted:
            unneeded += victims.of_work(others)[: len(others) - wanted]
        self._give_up(unneeded[:BURST])
        holding = self._found.leaving if jobpods.awaits_ends(self._job) else []
        missing = min(BURST, wanted - len(others) - len(holding))
        if missing > 0:
            self._create(missing, [*others, *holding], tally)

    def _wanted(self, tally: Tally, active: int) -> int:
        spec = self._job.spec
        parallelism = 1 if spec.parallelism is None else spec.parallelism
        if spec.completions is None:
            return active if tally.succeeded else parallelism
        left = spec.completions - tally.succeeded - len(tally.failed_indexes)
        return max(0, min(parallelism, left))

    def _create(self, count: int, taken: Sequence[core_v1.Pod], tally: Tally) -> None:
        if self._job.spec.backoff_limit_per_index is None and (left_ms := self._pause_ms(self._found)):
            self._wake(left_ms)
            return
        if not jobpods.is_indexed(self._job):
            for _ in range(count):
                self._make(None, None)
            return
        for index in self._free_indexes(taken, tally):
            if not count:
                return
            failures: int | None = None
            if self._job.spec.backoff_limit_per_index is not None:
                failures, left_ms = self._failures_at(index)
                if left_ms:
                    self._wake(left_ms)
                    continue
            self._make(index, failures)
            count -= 1

    def _free_indexes(self, taken: Sequence[core_v1.Pod], tally: Tally) -> Iterator[int]:
        busy = {jobpods.index_of(pod, None) for pod in taken} | tally.completed_indexes | tally.failed_indexes
        return (index for index in range(self._job.spec.completions or 0) if index not in busy)

    def _failures_at(self, index: int) -> tuple[int, int]:
        """How often an index has failed, and the milliseconds that its next pod has to wait."""
        # The last one that failed is held; others have been replaced, or were given up and did not fail.
        held = filter(jobpods.is_tracked, self._found.failed)
        failed = [pod for pod in held if jobpods.index_of(pod, None) == index]
        counted = [pod for pod in failed if action_for(self._job, pod)[0] != "Ignore"]
        failures = max((jobpods.failures_of(pod) + 1 for pod in counted), default=0)
        return failures, self._left_ms(len(failed) and max(failures, 1), max(map(jobpods.ended_ms, failed), default=0))

    def _pause_ms(self, found: jobpods.Sorted) -> int:
        """Milliseconds to wait after failures in a row since the last success, and since it was last resumed."""
        started = self._job.status.start_time or ""
        since = max(map(jobpods.ended_ms, found.succeeded), default=0)
        of_now = (pod for pod in found.failed if (pod.metadata.creation_timestamp or started) >= started)
        ends = [end for end in map(jobpods.ended_ms, of_now) if end > since]
        return self._left_ms(len(ends), max(ends, default=0))

    def _left_ms(self, failures: int, last: Instant) -> int:
        if not failures:
            return 0
        pause = min(PAUSE_FIRST_MS << min(failures - 1, 16), PAUSE_MAX_MS)
        return max(0, last + pause - self._now)

    # Effects

    def _make(self, index: int | None, failures: int | None) -> None:
        pod = jobpods.new_pod(self._job, index, failures, self._ids)
        self._effects.append(Create(pod))
        self._tell("Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")

    def _give_up(self, pods: Sequence[core_v1.Pod]) -> None:
        """Pods that are not wanted any more go without being counted: nothing went wrong with them."""
        self._effects += (jobpods.released(pod) for pod in pods if jobpods.is_tracked(pod))
        for pod in pods:
            self._delete(pod)

    def _delete(self, pod: core_v1.Pod) -> None:
        key = Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name)
        self._effects.append(Delete(key, pod.metadata.uid))
        self._tell("Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

    def _tell(self, severity: str, reason: str, message: str) -> None:
        self._effects.append(Emit(self._job, severity, reason, message, COMPONENT))

    def _wake(self, after_ms: int) -> None:
        self._wake_after_ms = after_ms if self._wake_after_ms is None else min(after_ms, self._wake_after_ms)


def expire(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Job that may be over: delete it when its time to live after that has passed."""
    job = view.get(kinds.JOB, key.namespace, key.name)
    if job is None or job.metadata.deletion_timestamp is not None or job.spec.ttl_seconds_after_finished is None:
        return Decision()
    end = end_of(job)
    if end is None:
        return Decision()
    left_ms = ended_ms(end) + job.spec.ttl_seconds_after_finished * 1000 - now
    if left_ms > 0:
        return Decision(wake_after_ms=left_ms)
    return Decision((Delete(key, job.metadata.uid, job.metadata.resource_version, propagation="Foreground"),))


CONTROLLER = Controller(
    name="job", kind=kinds.JOB, reconcile=reconcile, watches=((kinds.POD, ownership.keys_of(kinds.JOB)),)
)
EXPIRY = Controller(name="ttl_jobs_to_delete", kind=kinds.JOB, reconcile=expire)
