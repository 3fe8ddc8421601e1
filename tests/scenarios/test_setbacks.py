"""What workloads make of setbacks that repeat, and of being stopped half way."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from controlplane.reconcilers import daemonset, podstate
from mizzen.api import kinds
from mizzen.api.types import apps_v1, batch_v1
from mizzen.engine.writes import replacement
from tests.scenarios.test_controllers import INDEX, SELECTOR, Story, named, template


def test_a_node_that_refuses_a_daemon_is_asked_ever_less_often() -> None:
    story = Story(21)
    spec = apps_v1.DaemonSetSpec(selector=SELECTOR, template=template())
    story.run._create(apps_v1.DaemonSet(metadata=named("db"), spec=spec))
    refusing = story.run.nodes[0].name
    refused: list[int] = []

    def refuse() -> None:
        for pod in story.pods():
            if pod.spec.node_name == refusing:
                failed = replace(pod, status=replace(pod.status, phase="Failed", reason="OutOfSomething"))
                story.run.store.commit((replacement(failed, int(pod.metadata.resource_version)),))
                refused.append(story.now)
        if story.now < 2_000_000:
            story.run.world.after(100, refuse)

    story.at(1, refuse)
    story.at(100, story.change_leader)
    story.go(2_000)
    pauses = [after - before for before, after in pairwise(refused)]
    assert 9 <= len(refused) <= 14, refused
    assert all(after >= 1.5 * before for before, after in pairwise(pauses[3:8])), pauses
    story.go(2_000 + 2 * daemonset.PAUSE_MAX_MS // 1000)
    assert {pod.spec.node_name for pod in story.pods() if podstate.is_ready(pod)} == {n.name for n in story.run.nodes}
    assert story.led() == 1


def test_a_job_that_is_stopped_and_goes_on_has_not_failed() -> None:
    story = Story(22)
    spec = batch_v1.JobSpec(
        completions=6, parallelism=3, completion_mode="Indexed", backoff_limit=0, template=template(policy="Never")
    )
    story.run._create(batch_v1.Job(metadata=named("db"), spec=spec))
    story.work(lambda state: 0)
    story.go(7)
    begun = {pod.metadata.annotations[INDEX] for pod in story.pods()}
    assert begun
    story.change(kinds.JOB, "db", suspend=True)
    story.at(7.2, story.change_leader)
    story.go(100)
    status = story.get(kinds.JOB, "db").status
    assert (story.pods(), status.active or 0, status.start_time, status.failed or 0) == ([], 0, None, 0)
    story.change(kinds.JOB, "db", suspend=False)
    story.at(100.2, story.change_leader)
    story.go(300)
    status = story.get(kinds.JOB, "db").status
    assert (status.completed_indexes, status.failed or 0) == ("0-5", 0)
    assert status.start_time is not None and status.start_time >= "2026-01-01T00:01:40Z"
    assert "Complete" in {one.type for one in status.conditions if one.status == "True"}
    assert story.led() == 2
