"""What the Job controller decides, turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import job, jobpods
from mizzen.api import defaults, kinds, times
from mizzen.api.types import batch_v1, core_v1, meta_v1
from mizzen.engine.effects import UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, meta, template
from tests.unit.reconcilers.sets import Rig, faithful, running

replace = msgspec.structs.replace
LABELS = {"batch.kubernetes.io/controller-uid": "uid-web", "batch.kubernetes.io/job-name": "web"}


def new_job(**spec: Any) -> batch_v1.Job:
    """A Job `web` with defaults."""
    base = template()
    pod_spec = replace(base.spec, restart_policy=spec.pop("restart_policy", "Never"))
    made = batch_v1.JobSpec(
        selector=meta_v1.LabelSelector(match_labels=LABELS),
        template=replace(base, metadata=meta_v1.ObjectMeta(labels=LABELS), spec=pod_spec),
        **spec,
    )
    return defaults.apply(batch_v1.Job(metadata=meta("web", generation=1), spec=made))


def rig(**spec: Any) -> Rig:
    return Rig(job.CONTROLLER, new_job(**spec))


def ended(pod: core_v1.Pod, code: int = 0, now: int = NOW) -> core_v1.Pod:
    """The pod, after its container has ended."""
    terminated = core_v1.ContainerStateTerminated(exit_code=code, finished_at=times.render(now))
    status = core_v1.ContainerStatus(name="web", state=core_v1.ContainerState(terminated=terminated))
    return replace(pod, status=core_v1.PodStatus(phase="Failed" if code else "Succeeded", container_statuses=(status,)))


def ends(world: Rig, code: Callable[[core_v1.Pod], int | None]) -> Callable[[core_v1.Pod], core_v1.Pod | None]:
    """A kubelet whose containers end with a code, or go on running for None."""

    def act(pod: core_v1.Pod) -> core_v1.Pod | None:
        if pod.metadata.deletion_timestamp or jobpods.is_over(pod):
            return faithful(pod) if not jobpods.is_over(pod) else pod
        result = code(pod)
        return running(pod) if result is None else ended(pod, result, world.now)

    return act


def status(world: Rig) -> batch_v1.JobStatus:
    found: batch_v1.JobStatus = world.get(kinds.JOB, "web").status
    return found


def conditions(world: Rig) -> dict[str, str]:
    return {c.type: c.reason for c in status(world).conditions if c.status == "True"}


def index(pod: core_v1.Pod) -> int | None:
    return jobpods.index_of(pod, None)


def test_one_pod_runs_to_its_end() -> None:
    world = rig()
    world.settle()
    (pod,) = world.list(kinds.POD)
    assert pod.metadata.finalizers == (jobpods.FINALIZER,)
    assert (status(world).active, status(world).start_time) == (1, times.render(NOW))
    world.kubelets(ends(world, lambda _: 0))
    world.settle()
    assert (status(world).active, status(world).succeeded, status(world).failed) == (0, 1, 0)
    assert conditions(world) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert status(world).completion_time == times.render(NOW)
    assert world.list(kinds.POD)[0].metadata.finalizers == ()
    assert world.told[-1] == "Completed: Job completed"


def test_so_many_at_once_and_so_many_in_all() -> None:
    world = rig(parallelism=2, completions=5)
    world.settle()
    assert len(world.pods) == 2
    world.rounds(4, ends(world, lambda _: 0))
    assert (status(world).succeeded, len(world.pods)) == (5, 5)
    assert "Complete" in conditions(world)


def test_a_queue_of_work_is_empty_when_one_says_so_and_all_have_ended() -> None:
    world = rig(parallelism=3)
    world.put(replace(world.get(kinds.JOB, "web"), spec=replace(world.get(kinds.JOB, "web").spec, completions=None)))
    world.settle()
    first = world.pods[0]
    world.kubelets(ends(world, lambda pod: 0 if pod.metadata.name == first else None))
    world.settle()
    assert (len(world.pods), status(world).active, conditions(world)) == (3, 2, {})
    world.rounds(1, ends(world, lambda _: 0))
    assert "Complete" in conditions(world)


def test_a_failed_pod_is_followed_by_another_after_a_pause_that_grows() -> None:
    world = rig(backoff_limit=3)
    world.settle()
    for pause_ms in (10_000, 20_000, 40_000):
        world.kubelets(ends(world, lambda _: 1))
        world.settle()
        assert status(world).active == 0
        assert world.turn().wake_after_ms == pause_ms
        world.now += pause_ms
        world.settle()
        assert status(world).active == 1
    world.rounds(1, ends(world, lambda _: 1))
    assert (status(world).failed, conditions(world)) == (
        4,
        {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"},
    )
    assert world.told[-1] == "BackoffLimitExceeded: Job has reached the specified backoff limit"


def test_restarts_in_place_count_against_the_limit() -> None:
    world = rig(backoff_limit=2, restart_policy="OnFailure")
    world.settle()
    (pod,) = world.list(kinds.POD)
    restarted = core_v1.ContainerStatus(name="web", restart_count=2)
    world.put(replace(pod, status=core_v1.PodStatus(phase="Running", container_statuses=(restarted,))))
    world.settle()
    assert conditions(world) == {"FailureTarget": "BackoffLimitExceeded"}
    world.kubelets(faithful)
    world.settle()
    assert "Failed" in conditions(world)


def test_a_deadline_ends_it() -> None:
    world = rig(active_deadline_seconds=60)
    world.settle()
    world.kubelets(ends(world, lambda _: None))
    assert world.turn().wake_after_ms == 60_000
    world.now += 60_000
    world.settle()
    assert (conditions(world), status(world).active) == ({"FailureTarget": "DeadlineExceeded"}, 0)
    assert status(world).terminating == 1
    world.rounds(1, faithful)
    assert conditions(world)["Failed"] == "DeadlineExceeded"


def test_a_suspended_job_has_no_pods_and_no_clock() -> None:
    world = rig(suspend=True, active_deadline_seconds=60)
    world.settle()
    assert (world.pods, status(world).start_time, conditions(world)) == ([], None, {"Suspended": "JobSuspended"})
    owner = world.get(kinds.JOB, "web")
    world.now += 3_600_000
    world.put(replace(owner, spec=replace(owner.spec, suspend=False)))
    world.settle()
    assert (len(world.pods), status(world).start_time) == (1, times.render(world.now))
    assert "Resumed: Job resumed" in world.told
    world.kubelets(ends(world, lambda _: None))
    owner = world.get(kinds.JOB, "web")
    world.put(replace(owner, spec=replace(owner.spec, suspend=True)))
    world.rounds(1, faithful)
    assert (world.pods, status(world).failed, status(world).start_time) == ([], 0, None)


@pytest.mark.parametrize("spec", [{}, {"completion_mode": "Indexed", "completions": 1, "backoff_limit_per_index": 1}])
def test_a_job_that_goes_on_does_not_wait_for_those_that_it_gave_up(spec: dict[str, Any]) -> None:
    world = rig(**spec)
    world.settle()
    world.kubelets(ends(world, lambda _: None))
    for suspend in (True, False):
        owner = world.get(kinds.JOB, "web")
        world.put(replace(owner, spec=replace(owner.spec, suspend=suspend)))
        world.settle()
        world.now += 1_000
    first, second = sorted(world.list(kinds.POD), key=lambda pod: pod.metadata.deletion_timestamp is None)
    assert (first.metadata.deletion_timestamp is not None, second.metadata.deletion_timestamp) == (True, None)
    assert second.metadata.annotations.get(jobpods.FAILURES, "0") == "0"


def test_every_index_is_worked_on_once_and_its_pod_knows_it() -> None:
    world = rig(completion_mode="Indexed", parallelism=2, completions=4)
    world.settle()
    pods = world.list(kinds.POD)
    assert [(index(pod), pod.spec.hostname) for pod in pods] == [(0, "web-0"), (1, "web-1")]
    assert all(pod.metadata.name.startswith(f"{pod.spec.hostname}-") for pod in pods)
    (variable,) = pods[0].spec.containers[0].env
    assert variable.name == "JOB_COMPLETION_INDEX"
    assert variable.value_from.field_ref.field_path == "metadata.labels['batch.kubernetes.io/job-completion-index']"
    world.kubelets(ends(world, lambda pod: 0 if index(pod) == 1 else None))
    world.settle()
    assert (status(world).completed_indexes, status(world).succeeded) == ("1", 1)
    assert sorted(index(pod) or 0 for pod in world.list(kinds.POD)) == [0, 1, 2]
    world.rounds(3, ends(world, lambda _: 0))
    assert (status(world).completed_indexes, status(world).succeeded) == ("0-3", 4)
    assert "Complete" in conditions(world)


def test_an_index_may_fail_without_the_others() -> None:
    world = rig(completion_mode="Indexed", parallelism=3, completions=3, backoff_limit_per_index=1)
    kubelet = ends(world, lambda pod: 1 if index(pod) == 1 else 0)
    world.rounds(1, kubelet)
    assert (status(world).completed_indexes, status(world).failed_indexes) == ("0,2", "")
    assert world.turn().wake_after_ms == 10_000
    world.now += 10_000
    world.settle()
    (again,) = [pod for pod in world.list(kinds.POD) if not jobpods.is_over(pod)]
    assert (index(again), again.metadata.annotations[jobpods.FAILURES]) == (1, "1")
    world.rounds(1, kubelet)
    assert (status(world).failed_indexes, status(world).failed) == ("1", 2)
    assert conditions(world) == {"FailureTarget": "FailedIndexes", "Failed": "FailedIndexes"}


def test_too_many_failed_indexes_end_it_early() -> None:
    world = rig(
        completion_mode="Indexed", parallelism=2, completions=9, backoff_limit_per_index=0, max_failed_indexes=1
    )
    world.rounds(1, ends(world, lambda _: 1))
    assert conditions(world)["Failed"] == "MaxFailedIndexesExceeded"


def rule(action: str, **what: Any) -> batch_v1.PodFailurePolicy:
    """A policy of one rule."""
    return batch_v1.PodFailurePolicy(rules=(batch_v1.PodFailurePolicyRule(action=action, **what),))


CODE_42 = batch_v1.PodFailurePolicyOnExitCodesRequirement(operator="In", values=(42,))


def test_a_policy_ends_the_job_at_the_first_failure_of_a_kind() -> None:
    world = rig(pod_failure_policy=rule("FailJob", on_exit_codes=CODE_42))
    world.settle()
    (name,) = world.pods
    world.rounds(1, ends(world, lambda _: 42))
    (failed,) = [c for c in status(world).conditions if c.type == "Failed"]
    told = f"Container web for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
    assert (failed.reason, failed.message) == ("PodFailurePolicy", told)


def test_a_policy_ignores_pods_that_were_disturbed() -> None:
    pattern = batch_v1.PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    world = rig(backoff_limit=0, pod_failure_policy=rule("Ignore", on_pod_conditions=(pattern,)))
    world.settle()
    (pod,) = world.list(kinds.POD)
    condition = core_v1.PodCondition(type="DisruptionTarget", status="True")
    over = ended(pod, 137)
    world.put(replace(over, status=replace(over.status, conditions=(condition,))))
    world.settle()
    world.now += 10_000
    world.settle()
    assert (status(world).failed, status(world).active, conditions(world)) == (0, 1, {})


def test_a_policy_for_success_ends_it_when_the_leader_is_done() -> None:
    policy = batch_v1.SuccessPolicy(rules=(batch_v1.SuccessPolicyRule(succeeded_indexes="0"),))
    world = rig(completion_mode="Indexed", parallelism=3, completions=3, success_policy=policy)
    world.settle()
    world.kubelets(ends(world, lambda pod: 0 if index(pod) == 0 else None))
    world.settle()
    assert conditions(world) == {"SuccessCriteriaMet": "SuccessPolicy"}
    world.rounds(1, ends(world, lambda _: None))
    (complete,) = [c for c in status(world).conditions if c.type == "Complete"]
    assert (complete.reason, complete.message) == ("SuccessPolicy", "Matched rules at index 0")


def test_a_pod_on_its_way_out_may_hold_its_place() -> None:
    for policy, pods, failed in (("TerminatingOrFailed", 2, 1), ("Failed", 1, 0)):
        world = rig(pod_replacement_policy=policy)
        world.settle()
        world.kubelets(ends(world, lambda _: None))
        (pod,) = world.list(kinds.POD)
        world.put(replace(pod, metadata=replace(pod.metadata, deletion_timestamp=times.render(NOW))))
        world.settle()
        assert (len(world.pods), status(world).failed, status(world).terminating) == (1, failed, 1), policy
        world.now += 10_000
        world.settle()
        assert len(world.pods) == pods, policy
        world.kubelets(lambda pod: ended(pod, 143) if pod.metadata.deletion_timestamp else pod)
        world.settle()
        assert (status(world).failed, status(world).terminating) == (1, 0), policy


def test_less_parallelism_deletes_pods() -> None:
    world = rig(parallelism=3, completions=9)
    world.settle()
    world.kubelets(ends(world, lambda _: None))
    owner = world.get(kinds.JOB, "web")
    world.put(replace(owner, spec=replace(owner.spec, parallelism=1)))
    world.settle()
    assert sum("(" in name for name in world.pods) == 2
    world.rounds(1, faithful)
    assert (status(world).failed, status(world).active) == (0, 1), "nothing went wrong with them"


def test_who_empties_a_queue_is_left_to_it_whatever_the_parallelism_is_then() -> None:
    world = rig(parallelism=3)
    world.put(replace(world.get(kinds.JOB, "web"), spec=replace(world.get(kinds.JOB, "web").spec, completions=None)))
    world.settle()
    first = world.pods[0]
    world.kubelets(ends(world, lambda pod: 0 if pod.metadata.name == first else None))
    world.put(replace(world.get(kinds.JOB, "web"), spec=replace(world.get(kinds.JOB, "web").spec, parallelism=1)))
    world.settle()
    assert status(world).active == 2


def test_a_failed_pod_of_an_index_that_the_job_has_no_more_does_not_count() -> None:
    world = rig(completion_mode="Indexed", parallelism=2, completions=2)
    world.settle()
    owner = world.get(kinds.JOB, "web")
    world.put(replace(owner, spec=replace(owner.spec, completions=1, parallelism=1)))
    world.kubelets(ends(world, lambda pod: 1 if index(pod) == 1 else 0))
    world.settle()
    assert (status(world).failed, status(world).completed_indexes, "Complete" in conditions(world)) == (0, "0", True)


def test_a_failed_pod_of_an_index_is_kept_until_the_next_one_knows_of_it() -> None:
    world = rig(completion_mode="Indexed", parallelism=1, completions=1, backoff_limit_per_index=3)
    world.settle()
    world.kubelets(ends(world, lambda _: 1))
    world.settle()
    (failed,) = world.list(kinds.POD)
    uncounted = status(world).uncounted_terminated_pods
    assert uncounted is not None
    assert (failed.metadata.finalizers, uncounted.failed) == ((jobpods.FINALIZER,), (failed.metadata.uid,))
    world.put(replace(failed, metadata=replace(failed.metadata, deletion_timestamp=times.render(NOW))))
    world.now += 10_000
    world.settle()
    again = next(pod for pod in world.list(kinds.POD) if pod.metadata.uid != failed.metadata.uid)
    assert again.metadata.annotations[jobpods.FAILURES] == "1"
    (before,) = [pod for pod in world.list(kinds.POD) if pod.metadata.uid == failed.metadata.uid]
    assert (before.metadata.finalizers, status(world).failed) == ((), 1)


def test_names_of_pods_fit_into_a_label() -> None:
    owner = new_job(completion_mode="Indexed", parallelism=1, completions=1)
    long = replace(owner, metadata=replace(owner.metadata, name="a" * 60))
    assert jobpods.new_pod(long, 17, None, rig().ids).metadata.name.startswith(f"{'a' * 54}-17-")
    plain = jobpods.new_pod(long, None, None, rig().ids).metadata
    assert (len(plain.name), plain.generate_name) == (63, f"{'a' * 57}-")


def test_more_successes_than_asked_for_are_told() -> None:
    world = rig()
    world.settle()
    (pod,) = world.list(kinds.POD)
    world.put(replace(pod, metadata=replace(pod.metadata, name="another", uid="")))
    world.kubelets(ends(world, lambda _: 0))
    world.settle()
    assert world.told[-2:] == [
        "TooManySucceededPods: Too many succeeded pods running after completion count reached",
        "Completed: Job completed",
    ]


@pytest.mark.parametrize("stop_after", range(1, 12))
def test_each_end_counts_once_wherever_the_controller_dies(stop_after: int) -> None:
    """After any number of performed effects another controller goes on from what is stored."""
    world = rig(parallelism=2, completions=4, backoff_limit=6)
    codes = iter([0, 1, 0, 0, 1, 0, 0, 0])
    kubelet = ends(world, lambda _: next(codes))
    left = stop_after

    def broken(effect: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise RuntimeError("dies")
        perform(effect)

    perform = world._perform
    world._perform = broken  # type: ignore[method-assign]
    for _ in range(12):
        try:
            world.settle()
        except RuntimeError:
            world.settle()
        world.kubelets(kubelet)
        world.now += 700_000
    world.settle()
    assert "Complete" in conditions(world)
    assert status(world).succeeded == 4
    failed = sum(pod.status.phase == "Failed" for pod in world.list(kinds.POD))
    assert status(world).failed == failed


def test_pods_of_a_job_that_is_gone_are_let_go() -> None:
    world = rig()
    world.settle()
    del world.objects[("jobs.batch", "default", "web")]
    world.settle()
    assert world.list(kinds.POD)[0].metadata.finalizers == ()


def test_jobs_of_other_controllers_are_left_alone() -> None:
    assert rig(managed_by="example.com/queue").turn().effects == ()


def test_a_job_that_is_over_goes_after_its_time() -> None:
    world = rig(ttl_seconds_after_finished=100)
    world.rounds(1, ends(world, lambda _: 0))
    key = Key("jobs.batch", "default", "web")
    assert job.EXPIRY.reconcile(key, world.view, world.now + 40_000, world.ids).wake_after_ms == 60_000
    (deletion,) = job.EXPIRY.reconcile(key, world.view, world.now + 100_000, world.ids).effects
    assert (deletion.key, deletion.propagation) == (key, "Foreground")  # type: ignore[union-attr]
    assert job.EXPIRY.reconcile(key, rig().view, NOW, world.ids).effects == ()


@pytest.mark.parametrize(
    ("text", "indexes"),
    [("", []), ("0", [0]), ("0,1", [0, 1]), ("0-2", [0, 1, 2]), ("1,3-5,7,8", [1, 3, 4, 5, 7, 8])],
)
def test_sets_of_indexes(text: str, indexes: list[int]) -> None:
    assert jobpods.render_indexes(indexes) == text
    assert jobpods.parse_indexes(text) == set(indexes)


def test_a_turn_without_news_changes_nothing() -> None:
    world = rig()
    world.settle()
    assert not [effect for effect in world.turn().effects if isinstance(effect, UpdateStatus)]
