"""The rules for HorizontalPodAutoscalers, in the form of version 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.api import formats, quantity, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.validate_common import (
    NOT_POSITIVE,
    Errors,
    checked,
    label_selector,
    maybe_one_of,
    not_negative,
    required_and,
)

STABILIZATION_MAX_S = 3600
PERIOD_MAX_S = 1800

_SELECTIONS = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_TARGETS = ("Utilization", "Value", "AverageValue")
_POSITIVE = "must be positive"
_WITHOUT_PODS = ("Object", "External")
"""The types of metrics that say something where there are no pods."""


def create_autoscaler(obj: autoscaling.HorizontalPodAutoscaler) -> Errors:
    """A HorizontalPodAutoscaler that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _autoscaler(obj.spec)


def update_autoscaler(new: autoscaling.HorizontalPodAutoscaler, old: autoscaling.HorizontalPodAutoscaler) -> Errors:
    """A HorizontalPodAutoscaler that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _autoscaler(new.spec)


def update_autoscaler_status(
    new: autoscaling.HorizontalPodAutoscaler, old: autoscaling.HorizontalPodAutoscaler
) -> Errors:
    """A HorizontalPodAutoscaler's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from not_negative("status.currentReplicas", new.status.current_replicas)
    yield from not_negative("status.desiredReplicas", new.status.desired_replicas)


def _autoscaler(spec: autoscaling.HorizontalPodAutoscalerSpec) -> Errors:
    least, most = spec.min_replicas, spec.max_replicas
    if least is not None and least < 0:
        yield FieldError.invalid("spec.minReplicas", least, "must be greater than or equal to 0")
    if least == 0 and not any(metric.type in _WITHOUT_PODS for metric in spec.metrics):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield FieldError.forbidden("spec.metrics", why)
    if most < 1:
        yield FieldError.invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        yield FieldError.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _reference("spec.scaleTargetRef", spec.scale_target_ref)
    for i, metric in enumerate(spec.metrics):
        yield from _metric(f"spec.metrics[{i}]", metric)
    if spec.behavior is not None:
        for name, rules in (("scaleUp", spec.behavior.scale_up), ("scaleDown", spec.behavior.scale_down)):
            if rules is not None:
                yield from _rules(f"spec.behavior.{name}", rules)


def _reference(path: str, ref: autoscaling.CrossVersionObjectReference) -> Errors:
    yield from required_and(f"{path}.kind", ref.kind, formats.path_segment)
    yield from required_and(f"{path}.name", ref.name, formats.path_segment)
    if ref.api_version.count("/") > 1:
        why = f"unexpected GroupVersion string: {ref.api_version}"
        yield FieldError.invalid(f"{path}.apiVersion", ref.api_version, why)


def _metric(path: str, metric: autoscaling.MetricSpec) -> Errors:
    if not metric.type:
        yield FieldError.required(f"{path}.type", "must specify a metric source type")
    elif metric.type not in _SOURCES:
        yield FieldError.unsupported(f"{path}.type", metric.type, _SOURCES)
    given = []
    for name, attr, rule in _SOURCES.values():
        source = getattr(metric, attr)
        if source is not None:
            given.append(name)
            yield from rule(f"{path}.{name}", source)
    if metric.type not in _SOURCES:
        return
    expected = _SOURCES[metric.type][0]
    if expected not in given:
        yield FieldError.required(f"{path}.{expected}", "must populate information for the given metric source")
    if len(given) != 1:
        for name in given:
            if name != expected:
                yield FieldError.forbidden(f"{path}.{name}", "must populate the given metric source only")


def _identifier(path: str, metric: autoscaling.MetricIdentifier) -> Errors:
    if not metric.name:
        yield FieldError.required(f"{path}.name", "must specify a metric name")
    else:
        yield from checked(f"{path}.name", metric.name, formats.path_segment)
    yield from label_selector(f"{path}.selector", metric.selector)


def _target(path: str, target: autoscaling.MetricTarget) -> Errors:
    if not target.type:
        yield FieldError.required(f"{path}.type", "must specify a metric target type")
    elif target.type not in _TARGETS:
        yield FieldError.invalid(f"{path}.type", target.type, "must be either Utilization, Value, or AverageValue")
    for name, amount in (("value", target.value), ("averageValue", target.average_value)):
        if amount is not None and not _is_positive(amount):
            yield FieldError.invalid(f"{path}.{name}", amount, _POSITIVE)
    share = target.average_utilization
    if share is not None and share < 1:
        yield FieldError.invalid(f"{path}.averageUtilization", share, "must be greater than 0")


def _is_positive(amount: str) -> bool:
    return quantity.parse(amount).nano > 0


def _object(path: str, source: autoscaling.ObjectMetricSource) -> Errors:
    yield from _reference(f"{path}.describedObject", source.described_object)
    yield from _identifier(f"{path}.metric", source.metric)
    yield from _target(f"{path}.target", source.target)
    if source.target.value is None and source.target.average_value is None:
        why = "must set either a target value or averageValue"
        yield FieldError.required(f"{path}.target.averageValue", why)


def _pods(path: str, source: autoscaling.PodsMetricSource) -> Errors:
    yield from _identifier(f"{path}.metric", source.metric)
    yield from _target(f"{path}.target", source.target)
    average = source.target.average_value
    if average is None or not _is_positive(average):
        yield FieldError.required(f"{path}.target.averageValue", "must specify a positive target averageValue")


def _external(path: str, source: autoscaling.ExternalMetricSource) -> Errors:
    yield from _identifier(f"{path}.metric", source.metric)
    yield from _target(f"{path}.target", source.target)
    value, average = source.target.value, source.target.average_value
    if value is not None and average is not None:
        why = "may not set both a target value for metric and a per-pod target"
        yield FieldError.forbidden(f"{path}.target.value", why)
    elif value is None and average is None:
        why = "must set either a target value for metric or a per-pod target"
        yield FieldError.required(f"{path}.target.averageValue", why)


def _resource(
    path: str, source: autoscaling.ResourceMetricSource | autoscaling.ContainerResourceMetricSource
) -> Errors:
    if not source.name:
        yield FieldError.required(f"{path}.name", "must specify a resource name")
    yield from _target(f"{path}.target", source.target)
    share, average = source.target.average_utilization, source.target.average_value
    if share is None and average is None:
        why = "must set either a target raw value or a target utilization"
        yield FieldError.required(f"{path}.target.averageUtilization", why)
    elif share is not None and average is not None:
        why = "may not set both a target raw value and a target utilization"
        yield FieldError.forbidden(f"{path}.target.averageValue", why)


def _container(path: str, source: autoscaling.ContainerResourceMetricSource) -> Errors:
    if not source.container:
        yield FieldError.required(f"{path}.container", "must specify a container")
    else:
        yield from checked(f"{path}.container", source.container, formats.path_segment)
    yield from _resource(path, source)


_SOURCES: dict[str, tuple[str, str, Callable[[str, Any], Errors]]] = {
    "Object": ("object", "object", _object),
    "External": ("external", "external", _external),
    "Pods": ("pods", "pods", _pods),
    "Resource": ("resource", "resource", _resource),
    "ContainerResource": ("containerResource", "container_resource", _container),
}
"""Name, attribute and rules of the field that fits a type of metric."""


def _rules(path: str, rules: autoscaling.HPAScalingRules) -> Errors:
    window = rules.stabilization_window_seconds
    if window is not None and window < 0:
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    elif window is not None and window > STABILIZATION_MAX_S:
        why = f"must be less than or equal to {STABILIZATION_MAX_S}"
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, why)
    yield from maybe_one_of(f"{path}.selectPolicy", rules.select_policy, _SELECTIONS)
    if not rules.policies:
        yield FieldError.required(f"{path}.policies", "must specify at least one Policy")
    for i, policy in enumerate(rules.policies):
        yield from _policy(f"{path}.policies[{i}]", policy)
    if rules.tolerance is not None and quantity.parse(rules.tolerance).nano < 0:
        yield FieldError.invalid(f"{path}.tolerance", rules.tolerance, "must be greater or equal to zero")


def _policy(path: str, policy: autoscaling.HPAScalingPolicy) -> Errors:
    yield from maybe_one_of(f"{path}.type", policy.type, _POLICIES)
    if policy.value <= 0:
        yield FieldError.invalid(f"{path}.value", policy.value, NOT_POSITIVE)
    if policy.period_seconds <= 0:
        yield FieldError.invalid(f"{path}.periodSeconds", policy.period_seconds, NOT_POSITIVE)
    elif policy.period_seconds > PERIOD_MAX_S:
        why = f"must be less than or equal to {PERIOD_MAX_S}"
        yield FieldError.invalid(f"{path}.periodSeconds", policy.period_seconds, why)
