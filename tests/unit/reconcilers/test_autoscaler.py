"""How many replicas an autoscaler asks for, how fast, and what it tells."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers.autoscaler import Memory, decide
from controlplane.reconcilers.scalingmetrics import Sources
from controlplane.reconcilers.scalingrules import Bounds, Past, followed
from controlplane.reconcilers.usageratios import Aim, NoMetric, Tolerance, wanted
from mizzen.api import defaults, resources
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import core_v1, metrics_v1beta1
from mizzen.engine.effects import Decision, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import LABELS, NOW, at, deployment, meta, pod, view

KEY = Key("horizontalpodautoscalers.autoscaling", "default", "web")
CPU = Aim(resources.CPU, utilization=100)


def working(name: str, request: str = "1000m", **more: Any) -> core_v1.Pod:
    """A pod that has been ready for long."""
    made = pod(name, node="n1", ready_since=more.pop("ready_since", -3000), **more)
    container = core_v1.Container(
        name="web", resources=core_v1.ResourceRequirements(requests={"cpu": request} if request else {})
    )
    spec = msgspec.structs.replace(made.spec, containers=(container,))
    return msgspec.structs.replace(made, spec=spec, status=msgspec.structs.replace(made.status, start_time=at(-3600)))


def never_ready(name: str) -> core_v1.Pod:
    """A pod that has begun lately and is not ready."""
    made = working(name, ready_since=None)
    return msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, start_time=at(-20)))


def uses(name: str, cpu: str) -> metrics_v1beta1.PodMetrics:
    """A measurement of a pod."""
    container = metrics_v1beta1.ContainerMetrics(name="web", usage={"cpu": cpu, "memory": "1Mi"})
    return metrics_v1beta1.PodMetrics(metadata=meta(name), timestamp=at(), window="10s", containers=(container,))


def asked(pods: list[core_v1.Pod], cpu: list[str | None], current: int = 3, aim: Aim = CPU) -> int:
    """What the pods' usage asks for."""
    measured = {
        one.metadata.name: uses(one.metadata.name, amount) for one, amount in zip(pods, cpu, strict=True) if amount
    }
    return wanted(aim, current, pods, measured, Tolerance(), NOW).replicas


def some(count: int) -> list[core_v1.Pod]:
    """Pods at work."""
    return [working(f"p{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        pytest.param(["1000m", "1000m", "1000m"], 3, id="as it should be"),
        pytest.param(["1080m", "1090m", "1000m"], 3, id="within the tolerance"),
        pytest.param(["2000m", "2000m", "2000m"], 6, id="twice as much"),
        pytest.param(["500m", "500m", "500m"], 2, id="half as much, rounded up"),
        pytest.param(["0", "0", "0"], 0, id="nothing at all"),
        pytest.param(["2000m", "2000m", None], 4, id="up, the unknown counted as idle"),
        pytest.param(["200m", "200m", None], 2, id="down, the unknown counted as busy"),
        pytest.param(["900m", "700m", None], 3, id="not down where the unknown might be busy"),
        pytest.param(["1200m", "1200m", None], 3, id="not up where the unknown might be idle"),
    ],
)
def test_by_utilization(cpu: list[str | None], expected: int) -> None:
    assert asked(some(3), cpu) == expected


def test_pods_that_begin_are_counted_as_idle_on_the_way_up_only() -> None:
    pods = [*some(2), never_ready("new")]
    assert asked(pods, ["3000m", "3000m", "9000m"]) == 6
    assert asked(pods, ["400m", "400m", "9000m"]) == 1
    assert asked(pods, ["1200m", "1200m", "9000m"]) == 3


def test_by_value_and_by_container() -> None:
    assert asked(some(2), ["300m", "500m"], 2, Aim(resources.CPU, value=200)) == 4
    assert asked(some(2), ["300m", "500m"], 2, Aim(resources.CPU, "web", utilization=20)) == 4
    with pytest.raises(NoMetric, match="no metrics returned from resource metrics API"):
        asked(some(2), ["300m", "500m"], 2, Aim(resources.CPU, "other", utilization=20))


def test_what_says_nothing() -> None:
    with pytest.raises(NoMetric, match="missing request for cpu in container web of Pod p"):
        asked([working("p", request="")], ["1"], 1)
    with pytest.raises(NoMetric, match="pods might be unready"):
        asked([never_ready("p")], ["1"], 1)
    with pytest.raises(NoMetric, match="unable to get metrics for resource cpu"):
        asked([], [], 1)


def rules(**fields: Any) -> autoscaling.HPAScalingRules:
    return autoscaling.HPAScalingRules(**fields)


def policy(type_: str, value: int, period_s: int = 60) -> autoscaling.HPAScalingPolicy:
    return autoscaling.HPAScalingPolicy(type=type_, value=value, period_seconds=period_s)


def bounds(current: int, up: Any = None, down: Any = None) -> Bounds:
    """With at least one and at most a hundred."""
    behavior = autoscaling.HorizontalPodAutoscalerBehavior(
        scale_up=up or rules(policies=(policy("Percent", 1000),), stabilization_window_seconds=0),
        scale_down=down or rules(policies=(policy("Percent", 100),), stabilization_window_seconds=0),
    )
    return Bounds(current, 1, 100, behavior)


PODS_OR_PERCENT = (policy("Pods", 4), policy("Percent", 50))


@pytest.mark.parametrize(
    ("where", "asked_for", "expected", "reason"),
    [
        (Bounds(3, 1, 100), 50, 6, "ScaleUpLimit"),
        (Bounds(1, 1, 100), 50, 4, "ScaleUpLimit"),
        (Bounds(60, 1, 100), 500, 100, "TooManyReplicas"),
        (Bounds(3, 2, 100), 1, 2, "TooFewReplicas"),
        (Bounds(3, 1, 100), 5, 5, "DesiredWithinRange"),
        (bounds(10, up=rules(policies=PODS_OR_PERCENT)), 50, 15, "ScaleUpLimit"),
        (bounds(10, up=rules(policies=PODS_OR_PERCENT, select_policy="Min")), 50, 14, "ScaleUpLimit"),
        (bounds(10, up=rules(policies=PODS_OR_PERCENT, select_policy="Disabled")), 50, 10, "ScaleUpLimit"),
        (bounds(10, down=rules(policies=PODS_OR_PERCENT, stabilization_window_seconds=0)), 1, 5, "ScaleDownLimit"),
        (
            bounds(10, down=rules(policies=PODS_OR_PERCENT, select_policy="Min", stabilization_window_seconds=0)),
            1, 6, "ScaleDownLimit",
        ),
        (bounds(10), 0, 1, "TooFewReplicas"),
        (bounds(10), 500, 100, "TooManyReplicas"),
    ],
)  # fmt: skip
def test_how_far_at_once(where: Bounds, asked_for: int, expected: int, reason: str) -> None:
    done = followed(where, asked_for, Past(), NOW)
    assert (done.replicas, done.limit[0], done.limited) == (expected, reason, expected != asked_for)


def test_steps_of_the_period_count() -> None:
    grown = Past(steps=((NOW - 10_000, 3), (NOW - 70_000, 50)))
    assert followed(bounds(10, up=rules(policies=(policy("Pods", 4),))), 50, grown, NOW).replicas == 11
    shrunk = Past(steps=((NOW - 10_000, -3),))
    down = rules(policies=(policy("Pods", 4),), stabilization_window_seconds=0)
    assert followed(bounds(10, down=down), 1, shrunk, NOW).replicas == 9


def test_recent_recommendations_hold() -> None:
    past = Past(recommendations=((NOW - 400_000, 9), (NOW - 100_000, 5), (NOW - 20_000, 4)))
    done = followed(Bounds(6, 1, 100), 2, past, NOW)
    assert (done.replicas, done.able[0]) == (5, "ScaleDownStabilized")
    quick = bounds(6, down=rules(policies=(policy("Percent", 100),), stabilization_window_seconds=30))
    assert followed(quick, 2, past, NOW).replicas == 4
    slow = bounds(3, up=rules(policies=(policy("Percent", 1000),), stabilization_window_seconds=200))
    done = followed(slow, 8, past, NOW)
    assert (done.replicas, done.able[0]) == (4, "ScaleUpStabilized")


def autoscaler(name: str = "web", **spec: Any) -> autoscaling.HorizontalPodAutoscaler:
    """Of the Deployment `web`, by 80 percent of its processors."""
    target = autoscaling.CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web")
    given = {"scale_target_ref": target, "max_replicas": 10, **spec}
    made = autoscaling.HorizontalPodAutoscaler(
        metadata=meta(name, generation=3), spec=autoscaling.HorizontalPodAutoscalerSpec(**given)
    )
    return defaults.apply(made)


def run(*objects: Any, cpu: str = "", memory: Memory | None = None, now: int = NOW) -> tuple[Decision, Memory]:
    """One decision, all pods using as much."""
    sources = Sources(usage=lambda one: uses(one.metadata.name, cpu) if cpu else None)
    decision, kept = decide(KEY, view(*objects), now, sources, memory or Memory())
    assert kept is not None
    return decision, kept


def status_of(decision: Decision) -> autoscaling.HorizontalPodAutoscalerStatus:
    """The status that was written."""
    (found,) = [effect.object for effect in decision.effects if isinstance(effect, UpdateStatus)]
    assert isinstance(found, autoscaling.HorizontalPodAutoscaler)
    return found.status


def conditions(decision: Decision) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in status_of(decision).conditions}


def events(decision: Decision) -> list[tuple[str, str]]:
    return [(effect.reason, effect.message) for effect in decision.effects if isinstance(effect, Emit)]


def replicas_in(obj: Any) -> Any:
    return obj.spec.replicas


def sizes(decision: Decision) -> list[Any]:
    return [replicas_in(effect.object) for effect in decision.effects if isinstance(effect, Update)]


def test_it_goes_up() -> None:
    decision, memory = run(autoscaler(), deployment(1), working("p0"), cpu="2400m")
    assert sizes(decision) == [3]
    name = "cpu resource utilization (percentage of request)"
    assert events(decision) == [("SuccessfulRescale", f"New size: 3; reason: {name} above target")]
    assert conditions(decision) == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    status = status_of(decision)
    assert (status.current_replicas, status.desired_replicas, status.observed_generation) == (1, 3, 3)
    assert status.last_scale_time == at()
    current = status.current_metrics[0].resource
    assert current is not None
    assert (current.current.average_utilization, current.current.average_value) == (240, "2400m")
    again, _ = run(autoscaler(), deployment(3), working("p0"), cpu="2400m", memory=memory, now=NOW + 5000)
    assert again == Decision(wake_after_ms=10_000)
    _, later = run(autoscaler(), deployment(3), working("p0"), cpu="800m", memory=memory, now=NOW + 15_000)
    assert later.past.steps == ((NOW, 2),)
    bounced, _ = run(autoscaler(), deployment(1), working("p0"), cpu="2400m", memory=memory, now=NOW + 15_000)
    assert sizes(bounced) == [3]


def test_after_a_restart_it_goes_down_a_window_later() -> None:
    objects = (autoscaler(), deployment(3), *some(3))
    decision, memory = run(*objects, cpu="100m")
    assert sizes(decision) == []
    assert conditions(decision)["AbleToScale"] == ("True", "ScaleDownStabilized")
    decision, _ = run(*objects, cpu="100m", memory=memory, now=NOW + 301_000)
    assert sizes(decision) == [1]
    assert events(decision) == [("SuccessfulRescale", "New size: 1; reason: All metrics below target")]


@pytest.mark.parametrize(
    ("replicas", "expected", "reason"),
    [(20, [10], "above Spec.MaxReplicas"), (1, [2], "below Spec.MinReplicas")],
)  # fmt: skip
def test_bounds_need_no_metrics(replicas: int, expected: list[int], reason: str) -> None:
    decision, _ = run(autoscaler(min_replicas=2), deployment(replicas))
    assert sizes(decision) == expected
    assert events(decision)[0][1].endswith(f"reason: Current number of replicas {reason}")


def test_zero_switches_it_off() -> None:
    decision, _ = run(autoscaler(), deployment(0), cpu="1")
    assert conditions(decision)["ScalingActive"] == ("False", "ScalingDisabled")
    assert sizes(decision) == []


def test_without_a_target_or_a_metric() -> None:
    decision, _ = run(autoscaler())
    assert conditions(decision) == {"AbleToScale": ("False", "FailedGetScale")}
    assert events(decision) == [("FailedGetScale", 'deployments.apps "web" not found')]
    decision, _ = run(autoscaler(), deployment(1), working("p0"))
    text = "failed to get cpu utilization: unable to get metrics for resource cpu: "
    text += "no metrics returned from resource metrics API"
    first = "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value"
    assert events(decision) == [
        ("FailedGetResourceMetric", text), ("FailedComputeMetricsReplicas", f"{first}: {text}"),
    ]  # fmt: skip
    assert conditions(decision)["ScalingActive"] == ("False", "FailedGetResourceMetric")


def test_two_autoscalers_of_the_same_pods() -> None:
    decision, _ = run(autoscaler(), autoscaler("other"), deployment(1), working("p0", labels=LABELS), cpu="2")
    assert conditions(decision)["ScalingActive"] == ("False", "AmbiguousSelector")
    told = "pods by selector app=web are controlled by multiple HPAs: [default/other default/web]"
    assert events(decision) == [("AmbiguousSelector", told)]
    assert sizes(decision) == []


def test_a_tolerance_of_its_own() -> None:
    behavior = autoscaling.HorizontalPodAutoscalerBehavior(scale_up=rules(tolerance="500m"))
    objects = (autoscaler(behavior=behavior), deployment(1), working("p0"))
    assert sizes(run(*objects, cpu="1100m")[0]) == []
    assert sizes(run(*objects, cpu="1300m")[0]) == [2]
