"""HorizontalPodAutoscalers in their two versions: version 2 is stored, version 1 is how old clients see it.

Version 1 has fields for the use of CPU alone. What else there is stands in annotations there, as JSON in the words of
version 1, so that nothing is lost when an object is read in one version and written in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from mizzen.api.types import autoscaling_v1 as v1
from mizzen.api.types import autoscaling_v2 as v2
from mizzen.api.types import meta_v1 as meta

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
ANNOTATIONS = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)

T = TypeVar("T")


def to_v1(obj: v2.HorizontalPodAutoscaler) -> v1.HorizontalPodAutoscaler:
    """An autoscaler as version 1 shows it."""
    spec, status = obj.spec, obj.status
    target, others = None, []
    for metric in spec.metrics:
        utilization = _cpu_target(metric)
        if utilization is None:
            others.append(_metric_to_v1(metric))
        else:
            target = utilization
    current = next((use for use in map(_cpu_use, status.current_metrics) if use is not None), None)
    annotations = dict(_plain(obj.metadata.annotations))
    for name, values in (
        (METRICS, others),
        (CURRENT_METRICS, [_status_to_v1(metric) for metric in status.current_metrics]),
        (CONDITIONS, [_as(v1.HorizontalPodAutoscalerCondition, condition) for condition in status.conditions]),
        (BEHAVIOR, spec.behavior),
    ):
        if values:
            annotations[name] = msgspec.json.encode(values).decode()
    return v1.HorizontalPodAutoscaler(
        metadata=replace(obj.metadata, annotations=annotations),
        spec=v1.HorizontalPodAutoscalerSpec(
            scale_target_ref=_as(v1.CrossVersionObjectReference, spec.scale_target_ref),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            target_cpu_utilization_percentage=target,
        ),
        status=v1.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas,
            desired_replicas=status.desired_replicas,
            current_cpu_utilization_percentage=current,
        ),
    )


def to_v2(obj: v1.HorizontalPodAutoscaler) -> v2.HorizontalPodAutoscaler:
    """An autoscaler of version 1 as it is stored. An annotation that cannot be read counts as not there."""
    spec, status, annotations = obj.spec, obj.status, obj.metadata.annotations
    metrics = [_metric_to_v2(metric) for metric in _read(annotations, METRICS, list[v1.MetricSpec]) or ()]
    if spec.target_cpu_utilization_percentage is not None:
        metrics.insert(0, _cpu(spec.target_cpu_utilization_percentage))
    current = [_status_to_v2(metric) for metric in _read(annotations, CURRENT_METRICS, list[v1.MetricStatus]) or ()]
    if status.current_cpu_utilization_percentage is not None and all(_cpu_use(metric) is None for metric in current):
        use = v2.MetricValueStatus(average_utilization=status.current_cpu_utilization_percentage)
        current.insert(0, v2.MetricStatus(type="Resource", resource=v2.ResourceMetricStatus(name="cpu", current=use)))
    conditions = _read(annotations, CONDITIONS, list[v2.HorizontalPodAutoscalerCondition]) or ()
    return v2.HorizontalPodAutoscaler(
        metadata=replace(obj.metadata, annotations=_plain(annotations)),
        spec=v2.HorizontalPodAutoscalerSpec(
            scale_target_ref=_as(v2.CrossVersionObjectReference, spec.scale_target_ref),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            metrics=tuple(metrics),
            behavior=_read(annotations, BEHAVIOR, v2.HorizontalPodAutoscalerBehavior),
        ),
        status=v2.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas,
            desired_replicas=status.desired_replicas,
            current_metrics=tuple(current),
            conditions=tuple(conditions),
        ),
    )


def _plain(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """The annotations without those that stand for fields of version 2."""
    return {name: text for name, text in annotations.items() if name not in ANNOTATIONS}


def _read(annotations: Mapping[str, str], name: str, type_: type[T]) -> T | None:
    text = annotations.get(name)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _as(type_: type[T], value: Any) -> T:
    """A value as another type with the same fields."""
    return type_(**{name: getattr(value, name) for name in value.__struct_fields__})


def _cpu(percent: int) -> v2.MetricSpec:
    target = v2.MetricTarget(type="Utilization", average_utilization=percent)
    return v2.MetricSpec(type="Resource", resource=v2.ResourceMetricSource(name="cpu", target=target))


def _cpu_target(metric: v2.MetricSpec) -> int | None:
    """The wanted use of CPU, if that is what the metric is about."""
    source = metric.resource
    if metric.type != "Resource" or source is None or source.name != "cpu":
        return None
    return source.target.average_utilization


def _cpu_use(metric: v2.MetricStatus) -> int | None:
    source = metric.resource
    if metric.type != "Resource" or source is None or source.name != "cpu":
        return None
    return source.current.average_utilization


# Metrics in the words of version 1


def _metric_to_v1(metric: v2.MetricSpec) -> v1.MetricSpec:
    one, pods, resource = metric.object, metric.pods, metric.resource
    container, external = metric.container_resource, metric.external
    return v1.MetricSpec(
        type=metric.type,
        object=None if one is None else v1.ObjectMetricSource(
            target=_as(v1.CrossVersionObjectReference, one.described_object),
            metric_name=one.metric.name,
            selector=one.metric.selector,
            target_value=one.target.value or "0",
            average_value=one.target.average_value,
        ),
        pods=None if pods is None else v1.PodsMetricSource(
            metric_name=pods.metric.name,
            selector=pods.metric.selector,
            target_average_value=pods.target.average_value or "0",
        ),
        resource=None if resource is None else v1.ResourceMetricSource(
            name=resource.name,
            target_average_utilization=resource.target.average_utilization,
            target_average_value=resource.target.average_value,
        ),
        container_resource=None if container is None else v1.ContainerResourceMetricSource(
            name=container.name,
            container=container.container,
            target_average_utilization=container.target.average_utilization,
            target_average_value=container.target.average_value,
        ),
        external=None if external is None else v1.ExternalMetricSource(
            metric_name=external.metric.name,
            metric_selector=external.metric.selector,
            target_value=external.target.value,
            target_average_value=external.target.average_value,
        ),
    )  # fmt: skip


def _metric_to_v2(metric: v1.MetricSpec) -> v2.MetricSpec:
    one, pods, resource = metric.object, metric.pods, metric.resource
    container, external = metric.container_resource, metric.external
    return v2.MetricSpec(
        type=metric.type,
        object=None if one is None else v2.ObjectMetricSource(
            described_object=_as(v2.CrossVersionObjectReference, one.target),
            metric=_identifier(one.metric_name, one.selector),
            target=_target(None if one.average_value else one.target_value, one.average_value, None),
        ),
        pods=None if pods is None else v2.PodsMetricSource(
            metric=_identifier(pods.metric_name, pods.selector),
            target=_target(None, pods.target_average_value, None),
        ),
        resource=None if resource is None else v2.ResourceMetricSource(
            name=resource.name,
            target=_target(None, resource.target_average_value, resource.target_average_utilization),
        ),
        container_resource=None if container is None else v2.ContainerResourceMetricSource(
            name=container.name,
            container=container.container,
            target=_target(None, container.target_average_value, container.target_average_utilization),
        ),
        external=None if external is None else v2.ExternalMetricSource(
            metric=_identifier(external.metric_name, external.metric_selector),
            target=_target(external.target_value, external.target_average_value, None),
        ),
    )  # fmt: skip


def _identifier(name: str, selector: meta.LabelSelector | None) -> v2.MetricIdentifier:
    return v2.MetricIdentifier(name=name, selector=selector)


def _target(value: str | None, average: str | None, utilization: int | None) -> v2.MetricTarget:
    type_ = "Utilization" if utilization is not None else "AverageValue" if average else "Value"
    return v2.MetricTarget(
        type=type_, value=value or None, average_value=average or None, average_utilization=utilization
    )


def _status_to_v1(metric: v2.MetricStatus) -> v1.MetricStatus:
    one, pods, resource = metric.object, metric.pods, metric.resource
    container, external = metric.container_resource, metric.external
    return v1.MetricStatus(
        type=metric.type,
        object=None if one is None else v1.ObjectMetricStatus(
            target=_as(v1.CrossVersionObjectReference, one.described_object),
            metric_name=one.metric.name,
            selector=one.metric.selector,
            current_value=one.current.value or "0",
            average_value=one.current.average_value,
        ),
        pods=None if pods is None else v1.PodsMetricStatus(
            metric_name=pods.metric.name,
            selector=pods.metric.selector,
            current_average_value=pods.current.average_value or "0",
        ),
        resource=None if resource is None else v1.ResourceMetricStatus(
            name=resource.name,
            current_average_utilization=resource.current.average_utilization,
            current_average_value=resource.current.average_value or "0",
        ),
        container_resource=None if container is None else v1.ContainerResourceMetricStatus(
            name=container.name,
            container=container.container,
            current_average_utilization=container.current.average_utilization,
            current_average_value=container.current.average_value or "0",
        ),
        external=None if external is None else v1.ExternalMetricStatus(
            metric_name=external.metric.name,
            metric_selector=external.metric.selector,
            current_value=external.current.value or "0",
            current_average_value=external.current.average_value,
        ),
    )  # fmt: skip


def _status_to_v2(metric: v1.MetricStatus) -> v2.MetricStatus:
    one, pods, resource = metric.object, metric.pods, metric.resource
    container, external = metric.container_resource, metric.external
    return v2.MetricStatus(
        type=metric.type,
        object=None if one is None else v2.ObjectMetricStatus(
            described_object=_as(v2.CrossVersionObjectReference, one.target),
            metric=_identifier(one.metric_name, one.selector),
            current=_value(one.current_value, one.average_value, None),
        ),
        pods=None if pods is None else v2.PodsMetricStatus(
            metric=_identifier(pods.metric_name, pods.selector),
            current=_value(None, pods.current_average_value, None),
        ),
        resource=None if resource is None else v2.ResourceMetricStatus(
            name=resource.name,
            current=_value(None, resource.current_average_value, resource.current_average_utilization),
        ),
        container_resource=None if container is None else v2.ContainerResourceMetricStatus(
            name=container.name,
            container=container.container,
            current=_value(None, container.current_average_value, container.current_average_utilization),
        ),
        external=None if external is None else v2.ExternalMetricStatus(
            metric=_identifier(external.metric_name, external.metric_selector),
            current=_value(external.current_value, external.current_average_value, None),
        ),
    )  # fmt: skip


def _value(value: str | None, average: str | None, utilization: int | None) -> v2.MetricValueStatus:
    """What a metric is; version 1 writes an amount of 0 where there is none."""
    return v2.MetricValueStatus(
        value=None if value in ("", "0") else value,
        average_value=None if average in ("", "0") and utilization is None and value is not None else average or None,
        average_utilization=utilization,
    )
