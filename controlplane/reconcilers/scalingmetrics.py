"""What one metric of an autoscaler is and asks for, whichever of the five types it has.

Words, reasons and the order of checks are those of Kubernetes' horizontal pod autoscaler and its replica calculator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.reconcilers import usageratios
from controlplane.reconcilers.usageratios import Aim, Measured, NoMetric, Tolerance, Wanted
from mizzen.api import quantity, resources, selectors
from mizzen.api.kinds import Kind
from mizzen.api.metric_values import ALL, NAMESPACES, PODS, Asked, Value
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import core_v1, meta_v1, metrics_v1beta1
from mizzen.engine.values import Instant
from mizzen.engine.view import View

Usage = Callable[[core_v1.Pod], metrics_v1beta1.PodMetrics | None]
"""What a pod uses now, if somebody knows."""
Metrics = Callable[[Asked], Sequence[Value]]
"""What metrics are now. Raises NoMetric with what its API answers, or NotYet."""
_UNFETCHED = "unable to fetch metrics from custom metrics API"


def unmeasured(pod: core_v1.Pod) -> None:
    """What is known of a pod's usage where nothing is measured."""
    del pod


def unserved(asked: Asked) -> Sequence[Value]:
    """What metrics are where nobody serves them. Raises NoMetric."""
    raise NoMetric(f"no {_api(asked)} ({asked.group}) registered")


class NotYet(Exception):
    """The answer is on its way: ask again in a moment."""


class Failed(Exception):
    """A metric says nothing."""

    def __init__(self, reason: str, why: str, within: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.within = within
        """What could not be had, in front of the reason."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where figures come from."""

    usage: Usage = unmeasured
    metrics: Metrics = unserved


NO_SOURCES = Sources()
"""Nothing is measured and nobody serves metrics."""


@dataclass(frozen=True, slots=True)
class Asks:
    """What a metric asks for, its name, and what is told of it."""

    replicas: int
    name: str
    status: autoscaling.MetricStatus


@dataclass(frozen=True, slots=True)
class Situation:
    """What all metrics of an autoscaler are looked at with."""

    namespace: str
    view: View
    selector: str
    """Of the target's pods."""
    current: int
    """Replicas that the target is to have."""
    running: int
    """Replicas that it says it has."""
    pods: Sequence[core_v1.Pod]
    measured: Measured
    metrics: Metrics
    tolerance: Tolerance
    now: Instant


def asked_by(spec: autoscaling.MetricSpec, where: Situation) -> Asks:
    """What one metric asks for. Raises Failed or NotYet."""
    if spec.pods is not None:
        return _by_pods(spec.pods, where)
    if spec.object is not None:
        return _by_object(spec.object, where)
    if spec.external is not None:
        return _by_external(spec.external, where)
    return _by_usage(spec, where)


def kind_named(api_version: str, kind: str, view: View) -> Kind[Any] | None:
    """The kind that a reference means: in its version or, where that is not served, in another of its group."""
    group = api_version.rpartition("/")[0]
    return view.catalog.by_type.get((api_version, kind)) or next(
        (one for one in view.catalog.served if (one.group, one.kind) == (group, kind)), None
    )


# What pods use


def _by_usage(spec: autoscaling.MetricSpec, where: Situation) -> Asks:
    inside = "" if spec.resource is not None else " container"
    aim = _aim(spec)
    try:
        found = usageratios.wanted(aim, where.current, where.pods, where.measured, where.tolerance, where.now)
    except NoMetric as error:
        what = "utilization" if aim.utilization is not None else "usage"
        text = f"failed to get {aim.resource} {what}: {error}"
        reason = f"FailedGet{spec.type}Metric"
        raise Failed(reason, text, f"failed to get {aim.resource}{inside} resource metric value") from error
    name = f"{aim.resource}{inside} resource"
    if aim.utilization is not None:
        name = f"{name} utilization (percentage of request)"
    return Asks(found.replicas, name, _usage_status(spec, aim, found))


def _aim(spec: autoscaling.MetricSpec) -> Aim:
    if spec.container_resource is not None:
        name, container = spec.container_resource.name, spec.container_resource.container
        target = spec.container_resource.target
    else:
        assert spec.resource is not None
        name, container, target = spec.resource.name, "", spec.resource.target
    if target.average_value is not None:
        return Aim(name, container, value=quantity.milli(target.average_value))
    return Aim(name, container, utilization=target.average_utilization)


def _usage_status(spec: autoscaling.MetricSpec, aim: Aim, found: Wanted) -> autoscaling.MetricStatus:
    amount = quantity.of_milli(found.average)
    if aim.resource == resources.MEMORY and found.average % 1000 == 0:
        amount = str(found.average // 1000)
    current = autoscaling.MetricValueStatus(average_value=amount, average_utilization=found.utilization)
    if spec.container_resource is not None:
        of_container = autoscaling.ContainerResourceMetricStatus(
            name=aim.resource, container=aim.container, current=current
        )
        return autoscaling.MetricStatus(type=spec.type, container_resource=of_container)
    of_pod = autoscaling.ResourceMetricStatus(name=aim.resource, current=current)
    return autoscaling.MetricStatus(type=spec.type, resource=of_pod)


# What pods and other objects tell


def _by_pods(source: autoscaling.PodsMetricSource, where: Situation) -> Asks:
    metric = source.metric
    asked = Asked(where.namespace, metric.name, _series(metric), PODS, ALL, where.selector)
    try:
        try:
            values = {value.name: value.milli for value in _some(asked, where)}
        except NoMetric as error:
            raise NoMetric(f"unable to get metric {metric.name}: {error}") from error
        target = _milli(source.target.average_value)
        found = usageratios.by_values(target, where.current, where.pods, values, where.tolerance)
    except NoMetric as error:
        raise Failed("FailedGetPodsMetric", str(error), "failed to get pods metric value") from error
    current = autoscaling.MetricValueStatus(average_value=quantity.of_milli(found.average))
    told = autoscaling.PodsMetricStatus(metric=metric, current=current)
    status = autoscaling.MetricStatus(type="Pods", pods=told)
    return Asks(found.replicas, f"pods metric {metric.name}", status)


def _by_object(source: autoscaling.ObjectMetricSource, where: Situation) -> Asks:
    metric, of, target = source.metric, source.described_object, source.target
    reason, within = "FailedGetObjectMetric", "failed to get object metric value"
    by_value = target.type == "Value" and target.value is not None
    if not by_value and (target.type != "AverageValue" or target.average_value is None):
        text = "invalid object metric source: neither a value target nor an average value target was set"
        raise Failed(reason, text, within)
    try:
        value = _of_object(source, where)
        if by_value:
            replicas, current = _by_whole(value, _milli(target.value), where)
        else:
            replicas, current = _by_share(value, _milli(target.average_value), where)
    except NoMetric as error:
        if not by_value:
            within = f"{within}: failed to get {metric.name} object metric"
        raise Failed(reason, str(error), within) from error
    told = autoscaling.ObjectMetricStatus(described_object=of, metric=metric, current=current)
    name = f"{of.kind} metric {metric.name}" if by_value else _external_name(metric)
    return Asks(replicas, name, autoscaling.MetricStatus(type="Object", object=told))


def _of_object(source: autoscaling.ObjectMetricSource, where: Situation) -> int:
    metric, of = source.metric, source.described_object
    try:
        kind = kind_named(of.api_version, of.kind, where.view)
        if kind is None:
            group = of.api_version.rpartition("/")[0]
            raise NoMetric(f'{_UNFETCHED}: no matches for kind "{of.kind}" in group "{group}"')
        # The value of a namespace is asked for by that namespace's name, wherever the autoscaler is.
        namespace = of.name if kind.resource == NAMESPACES else where.namespace
        asked = Asked(namespace, metric.name, _series(metric), kind.resource, of.name)
        values = _answered(asked, where)
        if len(values) != 1:
            count = f"the custom metrics API server returned {len(values)} results when we asked for exactly one"
            raise NoMetric(f"{_UNFETCHED}: {count}")
    except NoMetric as error:
        raise NoMetric(
            f"unable to get metric {metric.name}: {of.kind} on {where.namespace} {of.name}/{error}"
        ) from error
    return values[0].milli


def _by_external(source: autoscaling.ExternalMetricSource, where: Situation) -> Asks:
    metric, target = source.metric, source.target
    reason, within = "FailedGetExternalMetric", f"failed to get {metric.name} external metric value"
    if target.value is None and target.average_value is None:
        text = "invalid external metric source: neither a value target nor an average value target was set"
        raise Failed(reason, text, within)
    try:
        try:
            value = sum(one.milli for one in _some(Asked(where.namespace, metric.name, _series(metric)), where))
        except NoMetric as error:
            named = f"{where.namespace}/{metric.name}/{_shown(metric.selector)}"
            raise NoMetric(f"unable to get external metric {named}: {error}") from error
        if target.average_value is not None:
            replicas, current = _by_share(value, _milli(target.average_value), where)
        else:
            replicas, current = _by_whole(value, _milli(target.value), where)
    except NoMetric as error:
        what = f"{metric.name} external metric"
        what = what if target.average_value is not None else f"external metric {metric.name}"
        raise Failed(reason, str(error), f"{within}: failed to get {what}") from error
    told = autoscaling.ExternalMetricStatus(metric=metric, current=current)
    return Asks(replicas, _external_name(metric), autoscaling.MetricStatus(type="External", external=told))


def _by_whole(value: int, target: int, where: Situation) -> tuple[int, autoscaling.MetricValueStatus]:
    """Where it is to be so much altogether."""
    replicas = usageratios.by_ratio(value / target, where.current, where.pods, where.tolerance)
    return replicas, autoscaling.MetricValueStatus(value=quantity.of_milli(value))


def _by_share(value: int, target: int, where: Situation) -> tuple[int, autoscaling.MetricValueStatus]:
    """Where it is to be so much for each pod; where there is none, the whole is told."""
    replicas = usageratios.by_share(value, target, where.running, where.tolerance)
    share = -(-value // max(1, where.running))
    return replicas, autoscaling.MetricValueStatus(average_value=quantity.of_milli(share))


def _some(asked: Asked, where: Situation) -> Sequence[Value]:
    values = _answered(asked, where)
    if not values:
        raise NoMetric(f"no metrics returned from {_api(asked)}")
    return values


def _answered(asked: Asked, where: Situation) -> Sequence[Value]:
    try:
        return where.metrics(asked)
    except NoMetric as error:
        raise NoMetric(f"unable to fetch metrics from {_api(asked)}: {error}") from error


def _api(asked: Asked) -> str:
    return f"{'custom' if asked.resource else 'external'} metrics API"


def _milli(text: str | None) -> int:
    return quantity.milli(text or "0")


def _series(metric: autoscaling.MetricIdentifier) -> str:
    return "" if metric.selector is None else str(selectors.from_field(metric.selector))


def _external_name(metric: autoscaling.MetricIdentifier) -> str:
    return f"external metric {metric.name}({_shown(metric.selector)})"


def _shown(selector: meta_v1.LabelSelector | None) -> str:
    """A selector as Kubernetes prints it in messages."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.key},Operator:{one.operator},Values:[{' '.join(one.values)}],}},"
        for one in selector.match_expressions
    )
    shown = f"MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}}"
    return f"&LabelSelector{{{shown},}}"
