"""What autoscalers make of metrics of pods, of other objects and of what is outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers.autoscaler import NOT_YET_MS, Memory, decide
from controlplane.reconcilers.scalingmetrics import Metrics, NotYet, Sources
from controlplane.reconcilers.scalingrules import Past
from controlplane.reconcilers.usageratios import NoMetric
from mizzen.api.metric_values import Asked, Value
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.effects import Decision, Emit, Update, UpdateStatus
from tests.fixtures.cluster_objects import NOW, deployment, view
from tests.unit.reconcilers.test_autoscaler import (
    KEY,
    autoscaler,
    conditions,
    events,
    never_ready,
    sizes,
    some,
    status_of,
)

HITS = autoscaling.MetricIdentifier(name="hits")
SERVICE = autoscaling.CrossVersionObjectReference(api_version="v1", kind="Service", name="front")
OF_PODS = Asked("default", "hits", "", "pods", "*", "app=web")
OF_SERVICE = Asked("default", "hits", "", "services", "front")
OUTSIDE = Asked("default", "hits")
Answers = Mapping[Asked, Sequence[Value] | Exception]


def target(average: str = "", value: str = "") -> autoscaling.MetricTarget:
    if value:
        return autoscaling.MetricTarget(type="Value", value=value)
    return autoscaling.MetricTarget(type="AverageValue", average_value=average)


def of_pods(average: str = "10", metric: autoscaling.MetricIdentifier = HITS) -> autoscaling.MetricSpec:
    source = autoscaling.PodsMetricSource(metric=metric, target=target(average))
    return autoscaling.MetricSpec(type="Pods", pods=source)


def of_service(
    aim: autoscaling.MetricTarget, of: autoscaling.CrossVersionObjectReference = SERVICE
) -> autoscaling.MetricSpec:
    source = autoscaling.ObjectMetricSource(described_object=of, metric=HITS, target=aim)
    return autoscaling.MetricSpec(type="Object", object=source)


def outside(aim: autoscaling.MetricTarget, metric: autoscaling.MetricIdentifier = HITS) -> autoscaling.MetricSpec:
    source = autoscaling.ExternalMetricSource(metric=metric, target=aim)
    return autoscaling.MetricSpec(type="External", external=source)


def answering(answers: Answers) -> Metrics:
    """An API that says this, and nothing of what else it is asked."""

    def metrics(asked: Asked) -> Sequence[Value]:
        found = answers.get(
            asked, NoMetric(f"the server could not find the metric {asked.metric} for {asked.resource}")
        )
        if isinstance(found, Exception):
            raise found
        return found

    return metrics


def each(*amounts: float) -> list[Value]:
    """So much of each pod."""
    return [Value(f"p{number}", round(amount * 1000)) for number, amount in enumerate(amounts)]


def run(
    metrics: Sequence[autoscaling.MetricSpec],
    answers: Answers,
    replicas: int = 2,
    pods: Sequence[core_v1.Pod] | None = None,
    hpa: autoscaling.HorizontalPodAutoscaler | None = None,
    running: int | None = None,
) -> Decision:
    """One decision about a Deployment that goes up and down at once."""
    made = deployment(replicas)
    made = replace(made, status=replace(made.status, replicas=replicas if running is None else running))
    quick = autoscaling.HPAScalingRules(stabilization_window_seconds=0)
    behavior = autoscaling.HorizontalPodAutoscalerBehavior(scale_up=quick, scale_down=quick)
    hpa = hpa or autoscaler(metrics=tuple(metrics), behavior=behavior)
    objects = (hpa, made, *(some(replicas) if pods is None else pods))
    decision, _ = decide(KEY, view(*objects), NOW, Sources(metrics=answering(answers)), Memory())
    return decision


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        pytest.param((10, 10), [], id="as it should be"),
        pytest.param((10.9, 10.9), [], id="within the tolerance"),
        pytest.param((20, 30), [5], id="more"),
        pytest.param((4, 4), [1], id="less"),
        pytest.param((50,), [5], id="up, the unknown counted as nothing"),
        pytest.param((1,), [], id="not down where the unknown may be at its target"),
    ],
)
def test_pods_metrics_are_means(amounts: tuple[float, ...], expected: list[int]) -> None:
    decision = run([of_pods()], {OF_PODS: each(*amounts)})
    assert sizes(decision) == expected
    assert conditions(decision)["ScalingActive"] == ("True", "ValidMetricFound")
    told = status_of(decision).current_metrics[0].pods
    assert told is not None
    assert (told.metric.name, told.current.average_value) == ("hits", _text(sum(amounts) / len(amounts)))


def _text(amount: float) -> str:
    return f"{round(amount * 1000)}m" if amount % 1 else f"{round(amount)}"


def test_pods_that_wait_count_as_nothing_on_the_way_up() -> None:
    waiting = replace(never_ready("p2"), status=core_v1.PodStatus(phase="Pending"))
    pods = [*some(2), waiting]
    assert sizes(run([of_pods()], {OF_PODS: each(12, 12)}, replicas=3, pods=pods)) == []
    assert sizes(run([of_pods()], {OF_PODS: each(30, 30)}, replicas=3, pods=pods)) == [6]


@pytest.mark.parametrize(
    ("spec", "asked", "values", "expected", "told"),
    [
        pytest.param(of_service(target(value="50")), OF_SERVICE, (100,), [4], "Service metric hits", id="whole"),
        pytest.param(of_service(target(value="50")), OF_SERVICE, (52,), [], "", id="whole, within the tolerance"),
        pytest.param(
            of_service(target("10")), OF_SERVICE, (42,), [5], "external metric hits(nil)", id="a share of each pod"
        ),
        pytest.param(of_service(target("10")), OF_SERVICE, (21,), [], "", id="a share, within the tolerance"),
        pytest.param(outside(target(value="50")), OUTSIDE, (60, 40), [4], "external metric hits(nil)", id="summed"),
        pytest.param(outside(target("10")), OUTSIDE, (20, 22), [5], "external metric hits(nil)", id="summed share"),
    ],
)
def test_other_metrics_are_one_number(
    spec: autoscaling.MetricSpec, asked: Asked, values: tuple[float, ...], expected: list[int], told: str
) -> None:
    decision = run([spec], {asked: each(*values)})
    assert sizes(decision) == expected
    if told:
        assert ("SuccessfulRescale", f"New size: {expected[0]}; reason: {told} above target") in events(decision)
    current = status_of(decision).current_metrics[0]
    of = current.object or current.external
    assert of is not None
    whole = spec.object.target.value if spec.object is not None else spec.external.target.value  # type: ignore[union-attr]
    assert (of.current.value if whole else of.current.average_value) == _text(sum(values) / (1 if whole else 2))


def test_selectors_of_series_are_askedreplace() -> None:
    selector = meta_v1.LabelSelector(
        match_labels={"queue": "mail"},
        match_expressions=(meta_v1.LabelSelectorRequirement(key="zone", operator="In", values=("a", "b")),),
    )
    metric = autoscaling.MetricIdentifier(name="hits", selector=selector)
    asked = Asked("default", "hits", "queue=mail,zone in (a,b)")
    assert sizes(run([outside(target("10"), metric)], {asked: each(30)})) == [3]
    shown = "&LabelSelector{MatchLabels:map[string]string{queue: mail,},MatchExpressions:[]LabelSelectorRequirement"
    shown += "{LabelSelectorRequirement{Key:zone,Operator:In,Values:[a b],},},}"
    why = f"unable to get external metric default/hits/{shown}: no metrics returned from external metrics API"
    assert ("FailedGetExternalMetric", why) in events(run([outside(target("10"), metric)], {asked: []}))
    of = Asked("default", "hits", "queue=mail,zone in (a,b)", "pods", "*", "app=web")
    assert sizes(run([of_pods(metric=metric)], {of: each(20, 20)})) == [4]


def test_described_objects_by_kind() -> None:
    def of(api_version: str, kind: str, name: str) -> autoscaling.MetricSpec:
        reference = autoscaling.CrossVersionObjectReference(api_version=api_version, kind=kind, name=name)
        return of_service(target(value="10"), reference)

    for spec, asked in (
        (of("networking.k8s.io/v1", "Ingress", "i"), Asked("default", "hits", "", "ingresses.networking.k8s.io", "i")),
        (of("apps/v1", "Deployment", "d"), Asked("default", "hits", "", "deployments.apps", "d")),
        (of("v1", "Namespace", "shop"), Asked("shop", "hits", "", "namespaces", "shop")),
    ):
        assert sizes(run([spec], {asked: each(20)})) == [4], asked
    decision = run([of("x.io/v1", "Thing", "t")], {})
    assert 'no matches for kind "Thing" in group "x.io"' in events(decision)[0][1]


_CUSTOM = "unable to fetch metrics from custom metrics API: the server could not find the metric hits for"
_EXTERNAL = "unable to fetch metrics from external metrics API: the server could not find the metric hits for "
NO_PODS = f"unable to get metric hits: {_CUSTOM} pods"
NO_SERVICE = f"unable to get metric hits: Service on default front/{_CUSTOM} services"
NOTHING_OUTSIDE = f"unable to get external metric default/hits/nil: {_EXTERNAL}"


@pytest.mark.parametrize(
    ("spec", "reason", "why", "within"),
    [
        (of_pods(), "FailedGetPodsMetric", NO_PODS, "failed to get pods metric value"),
        (
            of_service(target(value="1")), "FailedGetObjectMetric", NO_SERVICE, "failed to get object metric value",
        ),
        (
            of_service(target("1")), "FailedGetObjectMetric", NO_SERVICE,
            "failed to get object metric value: failed to get hits object metric",
        ),
        (
            outside(target("1")), "FailedGetExternalMetric", NOTHING_OUTSIDE,
            "failed to get hits external metric value: failed to get hits external metric",
        ),
        (
            outside(target(value="1")), "FailedGetExternalMetric", NOTHING_OUTSIDE,
            "failed to get hits external metric value: failed to get external metric hits",
        ),
    ],
)  # fmt: skip
def test_what_says_nothing(spec: autoscaling.MetricSpec, reason: str, why: str, within: str) -> None:
    decision = run([spec], {})
    first = f"invalid metrics (1 invalid out of 1), first error is: {within}: {why}"
    assert events(decision) == [(reason, why), ("FailedComputeMetricsReplicas", first)]
    (active,) = [one for one in status_of(decision).conditions if one.type == "ScalingActive"]
    told = f"the HPA was unable to compute the replica count: {why}"
    assert (active.status, active.reason, active.message) == ("False", reason, told)
    assert sizes(decision) == []


def test_without_any_api() -> None:
    decision, _ = decide(KEY, view(autoscaler(metrics=(of_pods(),)), deployment(1), *some(1)), NOW, Sources(), Memory())
    assert "no custom metrics API (custom.metrics.k8s.io) registered" in events(decision)[0][1]


def test_what_is_not_answered_yet_is_waited_for() -> None:
    memory = Memory(generation=1, past=Past(((NOW - 1, 2),)))
    sources = Sources(metrics=answering({OF_PODS: NotYet()}))
    objects = (autoscaler(metrics=(of_pods(),)), deployment(2), *some(2))
    assert decide(KEY, view(*objects), NOW, sources, memory) == (Decision(wake_after_ms=NOT_YET_MS), memory)


def test_the_most_counts_and_nothing_shrinks_on_half_the_truth() -> None:
    both = [of_pods(), outside(target("10"))]
    assert sizes(run(both, {OF_PODS: each(20, 20), OUTSIDE: each(55)})) == [6]
    assert sizes(run(both, {OF_PODS: each(20, 20)})) == [4]
    held = run(both, {OF_PODS: each(1, 1)})
    assert sizes(held) == []
    assert conditions(held)["ScalingActive"] == ("False", "FailedGetExternalMetric")


def switched_off(status: str = "True", **spec: Any) -> autoscaling.HorizontalPodAutoscaler:
    """An autoscaler that says whether its target is at zero by its doing."""
    quick = autoscaling.HPAScalingRules(stabilization_window_seconds=0)
    behavior = autoscaling.HorizontalPodAutoscalerBehavior(scale_up=quick, scale_down=quick)
    given = {"min_replicas": 0, "metrics": (outside(target("10")),), "behavior": behavior, **spec}
    zero = autoscaling.HorizontalPodAutoscalerCondition(type="ScaledToZero", status=status)
    return replace(autoscaler(**given), status=autoscaling.HorizontalPodAutoscalerStatus(conditions=(zero,)))


def test_to_zero_the_condition_is_written_first() -> None:
    decision = run([], {OUTSIDE: each(0)}, hpa=switched_off("False"))
    assert [type(effect) for effect in decision.effects] == [UpdateStatus, Emit, Update]
    assert sizes(decision) == [0]
    assert conditions(decision)["ScaledToZero"] == ("True", "ScaledToZero")


@pytest.mark.parametrize(
    ("hpa", "value", "expected", "zero"),
    [
        pytest.param(switched_off(), 0, [], ("True", ""), id="stays"),
        pytest.param(switched_off(), 1, [1], ("False", "NotScaledToZero"), id="comes back for anything"),
        pytest.param(switched_off(), 35, [4], ("False", "NotScaledToZero"), id="comes back at once as far as it may"),
        pytest.param(switched_off(metrics=(outside(target(value="10")),)), 25, [3], None, id="comes back by a whole"),
        pytest.param(switched_off(min_replicas=2), 0, [2], None, id="more are the least by now"),
        pytest.param(switched_off("False"), 50, [], None, id="somebody else has switched it off"),
    ],
)
def test_from_zero(
    hpa: autoscaling.HorizontalPodAutoscaler, value: float, expected: list[int], zero: tuple[str, str] | None
) -> None:
    decision = run([], {OUTSIDE: each(value)}, replicas=0, hpa=hpa)
    assert sizes(decision) == expected
    if zero is not None:
        assert conditions(decision)["ScaledToZero"] == zero


def test_who_was_at_zero_and_is_not_says_so() -> None:
    decision = run([], {OUTSIDE: each(20)}, replicas=2, hpa=switched_off())
    assert conditions(decision)["ScaledToZero"] == ("False", "NotScaledToZero")


def test_pods_alone_never_bring_it_back() -> None:
    decision = run([], {OUTSIDE: each(0)}, replicas=0, hpa=switched_off(metrics=(of_pods(), outside(target("10")))))
    assert sizes(decision) == []
    decision = run([], {OUTSIDE: each(30)}, replicas=0, hpa=switched_off(metrics=(of_pods(), outside(target("10")))))
    assert sizes(decision) == [3]
