"""Autoscalers over a simulated cluster: when they grow, when they shrink, and what a change of leaders costs."""

from __future__ import annotations

import pytest

from controlplane.reconcilers import podstate
from mizzen.api import kinds
from tests.scenarios.autoscaled import WINDOW_S, Load, by_hits, by_queue, conditions, rescales, size, web
from tests.scenarios.test_controllers import Story

SYNC_S = 15
SLACK_S = 2
"""Writes and news take a while."""


def begun(load: dict[str, int], *, queue: bool) -> tuple[Story, Load]:
    """A story with an autoscaled Deployment."""
    story = Story(5)
    given = Load(story, **load)
    story.run._create(web("web"))
    story.run._create(by_queue("web", 10) if queue else by_hits("web", 10))
    return story, given


def test_it_grows_at_once_and_shrinks_a_window_later() -> None:
    story, load = begun({"hits": 8}, queue=False)
    load.becomes(60, hits=40)
    load.becomes(120, hits=15)
    load.becomes(140, hits=32)
    load.becomes(200, hits=15)
    story.go(400)
    (grown, why), (shrunk, less) = rescales(story, "web")
    assert why == "New size: 4; reason: pods metric hits above target"
    assert less == "New size: 2; reason: All metrics below target"
    assert 60 <= grown <= 60 + SYNC_S + SLACK_S
    # What was wanted for a moment at 120 counts for nothing: at 140 as many were wanted again.
    assert 200 + WINDOW_S - SYNC_S <= shrunk <= 200 + WINDOW_S + SYNC_S + SLACK_S
    assert (size(story, "web"), len(story.pods())) == (2, 2)
    assert all(podstate.is_ready(pod) for pod in story.pods())
    assert conditions(story, "web") == {
        "AbleToScale": "ReadyForNewScale", "ScalingActive": "ValidMetricFound", "ScalingLimited": "DesiredWithinRange",
    }  # fmt: skip
    (told,) = story.get(kinds.HORIZONTAL_POD_AUTOSCALER, "web").status.current_metrics
    assert told.pods.current.average_value == "7500m"


def test_a_new_leader_waits_a_whole_window() -> None:
    story, load = begun({"hits": 40}, queue=False)
    load.becomes(60, hits=10)
    changed_s = 60 + WINDOW_S - SYNC_S - 1
    story.at(changed_s, lambda: story.run._next_brain(0))
    story.go(changed_s + WINDOW_S - 1)
    assert size(story, "web") == 4
    story.go(changed_s + WINDOW_S + SYNC_S + SLACK_S)
    assert size(story, "web") == 1


def test_a_leader_grows_at_its_first_look() -> None:
    story, load = begun({"hits": 8}, queue=False)
    story.go(60)
    load.now["hits"] = 30
    story.run._next_brain(0)
    story.go(60 + SLACK_S)
    assert size(story, "web") == 3


def test_to_zero_and_back() -> None:
    story, load = begun({"queue": 20}, queue=True)
    story.go(60)
    assert size(story, "web") == 2
    load.now["queue"] = 0
    story.go(60 + WINDOW_S + SYNC_S + SLACK_S)
    assert size(story, "web") == 0
    assert conditions(story, "web")["ScaledToZero"] == "ScaledToZero"
    story.at(200, lambda: story.run._next_brain(0))
    story.go(300)
    assert (size(story, "web"), story.pods()) == (0, [])
    load.now["queue"] = 31
    story.go(300 + SYNC_S + SLACK_S)
    assert size(story, "web") == 4
    story.go(360)
    assert conditions(story, "web")["ScaledToZero"] == "NotScaledToZero"
    assert len([pod for pod in story.pods() if podstate.is_ready(pod)]) == 4


@pytest.mark.parametrize("die_after", range(1, 13))
def test_nobody_stays_at_zero_because_a_leader_died(die_after: int) -> None:
    story, load = begun({"queue": 10}, queue=True)
    story.go(50)
    story.run._next_brain(die_after)
    load.now["queue"] = 0
    load.becomes(400, queue=10)
    story.go(399)
    assert size(story, "web") == 0
    story.go(440)
    assert size(story, "web") == 1


def test_what_somebody_else_switched_off_stays_off() -> None:
    story, _ = begun({"queue": 20}, queue=True)
    story.go(60)
    story.change(kinds.DEPLOYMENT, "web", replicas=0)
    story.go(300)
    assert size(story, "web") == 0
    assert conditions(story, "web")["ScalingActive"] == "ScalingDisabled"
    story.change(kinds.DEPLOYMENT, "web", replicas=1)
    story.go(340)
    assert size(story, "web") == 2


def test_nothing_shrinks_while_nothing_is_known() -> None:
    story, load = begun({"hits": 30}, queue=False)
    story.at(60, load.now.clear)
    story.go(400)
    assert size(story, "web") == 3
    assert conditions(story, "web")["ScalingActive"] == "FailedGetPodsMetric"
