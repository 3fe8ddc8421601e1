"""Every controller of workloads, over a whole simulated cluster that loses a node and changes its leader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from controlplane import admission
from controlplane.admission import eviction
from controlplane.admission.deletion import Deletion
from controlplane.admission.request import Operation, Request, Settings
from controlplane.plan.brain import Brain
from controlplane.plan.model_node import ModelNode
from controlplane.plan.script import Run
from controlplane.reconcilers import podstate
from controlplane.reconcilers.scalingmetrics import Metrics, Sources, unserved
from mizzen.api import errors, kinds
from mizzen.api.metric_values import Asked, Value
from mizzen.api.types import apps_v1, batch_v1, core_v1, meta_v1, policy_v1
from mizzen.engine.writes import replacement
from nodeagent.runtime.values import ContainerState, Status

LOST_MS = 420_000
"""Longer than a silent node is waited for and its pods are tolerated."""
WORK_MS = 4_000
"""How long a job's container works."""
APP = {"app": "db"}
SELECTOR = meta_v1.LabelSelector(match_labels=APP)
INDEX = "batch.kubernetes.io/job-completion-index"


class Story:
    """A cluster of four nodes, and what happens to it at which second."""

    def __init__(self, seed: int, nodes: int = 4) -> None:
        self.answers: Metrics = unserved
        """What autoscalers are told."""
        self.run = Run(seed, nodes, sources=Sources(metrics=self._told))
        self.passing: list[Brain] = []
        self.run.world.after(5_000, self.run._watch_leader)

    def _told(self, asked: Asked) -> Sequence[Value]:
        return self.answers(asked)

    @property
    def now(self) -> int:
        """Milliseconds since the start."""
        return self.run.world.now - self.run.world.start

    def at(self, second: float, what: Callable[[], None]) -> None:
        """Something happens at a second of the story."""
        self.run.world.after(round(second * 1000) - self.now, what)

    def go(self, second: float) -> None:
        """Let time pass until then."""
        self.run.world.run_until(round(second * 1000))

    def led(self) -> int:
        """How many leaders have died in the middle of something."""
        return sum(not brain.alive and self.run.brain is not brain for brain in self.passing)

    def change_leader(self) -> None:
        """Another leads, and dies before its third write; whoever comes after it must go on."""
        self.run._next_brain(3)
        self.passing.append(self.run.brain)

    def list(self, kind: kinds.Kind[Any]) -> list[Any]:
        """Objects as they are stored."""
        return list(self.run.store.cache.list(kind, "default"))

    def get(self, kind: kinds.Kind[Any], name: str, namespace: str = "default") -> Any:
        """An object that is there."""
        found = self.run.store.cache.get(kind, namespace, name)
        assert found is not None
        return found

    def pods(self) -> list[core_v1.Pod]:
        """The pods that are to stay and have not ended."""
        return [pod for pod in self.list(kinds.POD) if podstate.is_active(pod)]

    def change(self, kind: kinds.Kind[Any], name: str, namespace: str = "default", **spec: Any) -> None:
        """A user changes a spec."""
        old, world = self.get(kind, name, namespace), self.run.world
        request = Request(Operation.UPDATE, kind, namespace, name, replace(old, spec=replace(old.spec, **spec)))
        admitted = admission.admit(request, old, self.run.store.cache, world.now, world.ids, Settings())
        self.run.store.commit((replacement(admitted.object, int(old.metadata.resource_version)),))

    def holder(self, pod: str) -> ModelNode:
        """The machine a pod is on."""
        name = self.get(kinds.POD, pod).spec.node_name
        return next(node for node in self.run.nodes if node.name == name)

    def running(self) -> Iterator[tuple[ModelNode, ContainerState]]:
        """What really runs, whatever is stored."""
        for node in self.run.nodes:
            for state in list(node.runtime.containers.values()):
                if state.status is Status.RUNNING:
                    yield node, state

    def work(self, code: Callable[[ContainerState], int]) -> None:
        """From now on every container ends some time after its start, with a code."""
        now = self.run.world.now
        for node, state in self.running():
            if now - (state.started_at_ms or now) >= WORK_MS:
                node.runtime.end(state.id, code(state), now)
                node._step_later(state.pod.uid)
        self.run.world.after(1_000, lambda: self.work(code))


def template(image: str = "web:v1", policy: str = "Always") -> core_v1.PodTemplateSpec:
    """Pods with one container."""
    container = core_v1.Container(name="db", image=image)
    spec = core_v1.PodSpec(containers=(container,), restart_policy=policy)
    return core_v1.PodTemplateSpec(metadata=meta_v1.ObjectMeta(labels=APP), spec=spec)


def named(name: str) -> meta_v1.ObjectMeta:
    """An object's metadata."""
    return meta_v1.ObjectMeta(name=name, namespace="default")


def images(pods: list[core_v1.Pod]) -> set[str]:
    """What the pods run."""
    return {pod.spec.containers[0].image for pod in pods}


def test_a_stateful_set_never_runs_an_ordinal_twice() -> None:
    story = Story(11)
    spec = apps_v1.StatefulSetSpec(replicas=3, selector=SELECTOR, template=template(), service_name="db")
    story.run._create(apps_v1.StatefulSet(metadata=named("db"), spec=spec))

    def once() -> None:
        ordinals = Counter(state.pod.name for _, state in story.running())
        assert max(ordinals.values(), default=0) <= 1, ordinals

    story.run.world.checks.append(once)
    story.go(60)
    before = {pod.metadata.uid for pod in story.pods()}
    # Its containers go on, unseen: nobody may take their place until it is back.
    story.holder("db-1").cut(LOST_MS)
    story.at(90, story.change_leader)
    story.go(470)
    assert len([pod for pod in story.pods() if podstate.is_ready(pod)]) < 3
    story.go(600)
    assert len({pod.metadata.uid for pod in story.pods()} - before) >= 1
    story.change(kinds.STATEFUL_SET, "db", template=template("web:v2"))
    story.at(602, story.change_leader)
    story.go(700)
    status = story.get(kinds.STATEFUL_SET, "db").status
    assert (status.replicas, status.ready_replicas, status.updated_replicas) == (3, 3, 3)
    assert [pod.metadata.name for pod in story.pods()] == ["db-0", "db-1", "db-2"]
    assert images(story.pods()) == {"web:v2"}
    assert story.led() == 2


def test_a_daemon_set_runs_once_on_every_node() -> None:
    story = Story(12)
    story.run._create(
        apps_v1.DaemonSet(metadata=named("db"), spec=apps_v1.DaemonSetSpec(selector=SELECTOR, template=template()))
    )

    def once() -> None:
        places = Counter(node.name for node, _ in story.running())
        assert max(places.values(), default=0) <= 1, places

    story.run.world.checks.append(once)
    story.go(60)
    assert len(story.pods()) == 4
    story.run.nodes[2].power_off(LOST_MS)
    story.change(kinds.DAEMON_SET, "db", template=template("web:v2"))
    story.at(62, story.change_leader)
    story.go(600)
    status = story.get(kinds.DAEMON_SET, "db").status
    assert (status.desired_number_scheduled, status.number_available, status.updated_number_scheduled) == (4, 4, 4)
    assert sorted(pod.spec.node_name for pod in story.pods()) == [node.name for node in story.run.nodes]
    assert images(story.pods()) == {"web:v2"}
    assert story.led() == 1


def test_an_indexed_job_counts_every_end_once() -> None:
    story = Story(13)
    spec = batch_v1.JobSpec(
        completions=8, parallelism=3, completion_mode="Indexed", backoff_limit=6, template=template(policy="Never")
    )
    ends: dict[str, set[str]] = {"Succeeded": set(), "Failed": set()}
    failing: set[str] = set()

    def exactly_once() -> None:
        for pod in story.list(kinds.POD):
            # One that was told to go has failed from then on, whatever becomes of it.
            leaves = pod.metadata.deletion_timestamp is not None and pod.status.phase != "Succeeded"
            if pod.metadata.uid not in ends["Failed"]:
                ends.get("Failed" if leaves else pod.status.phase, set()).add(pod.metadata.uid)
        active = Counter(pod.metadata.annotations[INDEX] for pod in story.pods())
        assert max(active.values(), default=0) <= 1, active
        status = story.get(kinds.JOB, "db").status
        assert (status.succeeded or 0) <= len(ends["Succeeded"])
        assert (status.failed or 0) <= len(ends["Failed"])

    def code(state: ContainerState) -> int:
        if not failing and state.pod.name.startswith("db-2-"):
            failing.add(state.pod.uid)
        return int(state.pod.uid in failing)

    story.run._create(batch_v1.Job(metadata=named("db"), spec=spec))
    story.run.world.checks.append(exactly_once)
    story.work(code)
    story.at(6, story.change_leader)
    story.go(12)
    lost = story.holder(story.pods()[0].metadata.name)
    lost.power_off(LOST_MS)
    story.go(600)
    status = story.get(kinds.JOB, "db").status
    assert (status.succeeded, status.completed_indexes) == (8, "0-7")
    assert status.succeeded == len(ends["Succeeded"])
    assert failing <= ends["Failed"]
    assert status.failed == len(ends["Failed"]) >= 2
    assert (status.active or 0, story.pods()) == (0, [])
    assert "Complete" in {one.type for one in status.conditions if one.status == "True"}
    assert story.led() == 1


def test_a_cron_job_begins_every_time_once() -> None:
    story = Story(14)
    jobs = batch_v1.JobTemplateSpec(spec=batch_v1.JobSpec(template=template(policy="Never")))
    spec = batch_v1.CronJobSpec(schedule="* * * * *", concurrency_policy="Forbid", job_template=jobs)
    story.run._create(batch_v1.CronJob(metadata=named("db"), spec=spec))
    begun: dict[str, str] = {}
    succeeded: dict[str, set[str]] = {}

    def one_at_a_time() -> None:
        for job in story.list(kinds.JOB):
            assert begun.setdefault(job.metadata.name, job.metadata.uid) == job.metadata.uid
        for pod in story.list(kinds.POD):
            if pod.status.phase == "Succeeded":
                succeeded.setdefault(pod.metadata.labels["job-name"], set()).add(pod.metadata.uid)
        unfinished = [job.metadata.name for job in story.list(kinds.JOB) if not job.status.completion_time]
        assert len(unfinished) <= 1, unfinished

    story.run.world.checks.append(one_at_a_time)
    story.work(lambda state: 0)
    story.at(119.9, story.change_leader)
    story.go(182)
    story.holder(story.pods()[0].metadata.name).power_off(LOST_MS)
    story.go(1_000)
    story.change(kinds.CRON_JOB, "db", suspend=True)
    story.go(1_100)
    assert {job: len(uids) for job, uids in succeeded.items()} == dict.fromkeys(begun, 1)
    assert len(begun) >= 8
    found = story.get(kinds.CRON_JOB, "db")
    assert found.status.active == ()
    assert len(story.list(kinds.JOB)) == 3
    assert found.status.last_schedule_time == "2026-01-01T00:16:00Z"
    assert story.led() == 1


def test_a_drain_never_breaks_a_budget() -> None:
    story = Story(15)
    story.run._begin()
    keep = policy_v1.PodDisruptionBudgetSpec(
        min_available=5, selector=meta_v1.LabelSelector(match_labels={"app": "web"})
    )
    story.run._create(policy_v1.PodDisruptionBudget(metadata=named("web"), spec=keep))
    answers: Counter[str] = Counter()
    story.go(60)
    drained = story.holder(story.pods()[0].metadata.name).name
    story.change(kinds.NODE, drained, "", unschedulable=True)

    def evict(pod: core_v1.Pod) -> None:
        available = sum(podstate.is_ready(one) for one in story.pods())
        budget = story.get(kinds.POD_DISRUPTION_BUDGET, "web")
        try:
            evicted = eviction.evict(pod, [budget], Deletion(), story.run.world.now)
        except errors.TooManyRequests:
            answers["refused"] += 1
            return
        assert evicted.pod is not None
        if podstate.is_ready(pod):
            assert available - 1 >= 5, f"{available} were available when {pod.metadata.name} was evicted"
        paid = () if evicted.budget is None else (evicted.budget,)
        stored = (evicted.pod, *paid)
        story.run.store.commit([replacement(one, int(one.metadata.resource_version)) for one in stored])
        answers["evicted"] += 1

    def drain() -> None:
        for pod in story.pods():
            if pod.spec.node_name == drained:
                evict(pod)
        story.run.world.after(500, drain)

    story.at(60.1, drain)
    story.at(60.2, story.change_leader)
    lost = next(node for node in story.run.nodes if node.name != drained)
    story.at(62, lambda: lost.power_off(LOST_MS))
    story.go(700)
    assert answers["evicted"] >= 2, answers
    assert answers["refused"] >= 1, answers
    assert drained not in {pod.spec.node_name for pod in story.pods()}
    assert story.get(kinds.POD_DISRUPTION_BUDGET, "web").status.current_healthy == 6
    story.run.checkers.at_rest()
    assert story.led() == 1
