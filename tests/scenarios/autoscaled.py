"""Workloads that grow and shrink by metrics that a story sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.reconcilers.usageratios import NoMetric
from mizzen.api import kinds
from mizzen.api.metric_values import Asked, Value
from mizzen.api.types import apps_v1, meta_v1
from mizzen.api.types import autoscaling_v2 as autoscaling
from tests.scenarios.test_controllers import Story, named, template

HITS, QUEUE = "hits", "queue"
WINDOW_S = 60
"""For how long a story's autoscalers wait before they shrink."""


def web(name: str, replicas: int = 1) -> apps_v1.Deployment:
    """A Deployment whose pods have a label of its name."""
    labels = {"app": name}
    made = template()
    return apps_v1.Deployment(
        metadata=named(name),
        spec=apps_v1.DeploymentSpec(
            replicas=replicas,
            selector=meta_v1.LabelSelector(match_labels=labels),
            template=type(made)(metadata=meta_v1.ObjectMeta(labels=labels), spec=made.spec),
        ),
    )


def by_hits(name: str, average: int, most: int = 6) -> autoscaling.HorizontalPodAutoscaler:
    """Each pod shall have so many hits."""
    target = autoscaling.MetricTarget(type="AverageValue", average_value=str(average))
    source = autoscaling.PodsMetricSource(metric=autoscaling.MetricIdentifier(name=HITS), target=target)
    return _autoscaler(name, autoscaling.MetricSpec(type="Pods", pods=source), 1, most)


def by_queue(name: str, average: int, most: int = 6) -> autoscaling.HorizontalPodAutoscaler:
    """Each pod shall have so much of a queue, and none shall be there for an empty one."""
    target = autoscaling.MetricTarget(type="AverageValue", average_value=str(average))
    source = autoscaling.ExternalMetricSource(metric=autoscaling.MetricIdentifier(name=QUEUE), target=target)
    return _autoscaler(name, autoscaling.MetricSpec(type="External", external=source), 0, most)


def _autoscaler(
    name: str, metric: autoscaling.MetricSpec, least: int, most: int
) -> autoscaling.HorizontalPodAutoscaler:
    of = autoscaling.CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name=name)
    slow = autoscaling.HPAScalingRules(stabilization_window_seconds=WINDOW_S)
    return autoscaling.HorizontalPodAutoscaler(
        metadata=named(name),
        spec=autoscaling.HorizontalPodAutoscalerSpec(
            scale_target_ref=of,
            min_replicas=least,
            max_replicas=most,
            metrics=(metric,),
            behavior=autoscaling.HorizontalPodAutoscalerBehavior(scale_down=slow),
        ),
    )


class Load:
    """What is to be done: hits that the pods of a story share, and a queue that is there without them."""

    def __init__(self, story: Story, **amounts: int) -> None:
        """Tell the story's autoscalers of it; `amounts` are by metric."""
        self._story = story
        self.now: dict[str, int] = amounts
        story.answers = self

    def becomes(self, second: float, **amounts: int) -> None:
        """It is another from a second of the story on."""
        self._story.at(second, lambda: self.now.update(amounts))

    def __call__(self, asked: Asked) -> Sequence[Value]:
        """What is told of it. Raises NoMetric for what is not known."""
        if asked.metric not in self.now:
            raise NoMetric(f"the server could not find the metric {asked.metric} for {asked.resource}")
        milli = self.now[asked.metric] * 1000
        if not asked.resource:
            return [Value("", milli)]
        key, _, value = asked.labels.partition("=")
        running = [pod for pod in self._story.pods() if pod.metadata.labels.get(key) == value and _runs(pod)]
        return [Value(pod.metadata.name, milli // len(running)) for pod in running]


def _runs(pod: Any) -> bool:
    return bool(pod.status.phase == "Running")


def size(story: Story, name: str) -> int:
    """Replicas that a Deployment is to have."""
    replicas: int = story.get(kinds.DEPLOYMENT, name).spec.replicas
    return replicas


def rescales(story: Story, name: str) -> list[tuple[float, str]]:
    """The second and the text of each change of size that was told of."""
    marker = f"SuccessfulRescale {name}: "
    lines = [line.split(maxsplit=1) for line in story.run.world.trace if marker in line]
    return [(int(at) / 1000, text.partition(marker)[2]) for at, text in lines]


def conditions(story: Story, name: str) -> Mapping[str, str]:
    """The reasons of an autoscaler's conditions by type."""
    found = story.get(kinds.HORIZONTAL_POD_AUTOSCALER, name).status.conditions
    return {one.type: one.reason for one in found}


def scaled(story: Story) -> float:
    """Workloads follow their metrics up and down, and one to nothing and back."""
    load = Load(story, hits=30, queue=0)
    for obj in (web("web"), by_hits("web", 10), web("work"), by_queue("work", 10)):
        story.run._create(obj)
    load.becomes(120, hits=50, queue=35)
    load.becomes(300, hits=20, queue=0)
    load.becomes(700, queue=20)
    return 900


def ended_scaled(story: Story) -> None:
    assert [size(story, name) for name in ("web", "work")] == [2, 2]
    sizes = [text.partition(";")[0] for _, text in rescales(story, "work")]
    assert "New size: 0" in sizes
    assert len(story.pods()) == 4
