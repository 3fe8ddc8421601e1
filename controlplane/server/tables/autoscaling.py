"""The table of autoscalers: what their metrics are, and what they should be."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.server.tables.model import AGE, NAME, NONE, UNKNOWN, UNSET, Row, TableOf, age, column
from mizzen.api.autoscaling import to_v2
from mizzen.api.types import autoscaling_v1
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.engine.values import Instant

_SHOWN = 2
"""Metrics named before the rest is only counted."""


def autoscaler_row(obj: autoscaling.HorizontalPodAutoscaler, now: Instant) -> Row:
    """The cells of one autoscaler."""
    spec, target = obj.spec, obj.spec.scale_target_ref
    return Row(
        (
            obj.metadata.name,
            f"{target.kind}/{target.name}",
            _targets(spec.metrics, obj.status.current_metrics),
            UNSET if spec.min_replicas is None else str(spec.min_replicas),
            spec.max_replicas,
            obj.status.current_replicas,
            age(obj.metadata, now),
        )
    )


def old_autoscaler_row(obj: autoscaling_v1.HorizontalPodAutoscaler, now: Instant) -> Row:
    """The cells of one autoscaler that is shown in its older version."""
    return autoscaler_row(to_v2(obj), now)


def _targets(metrics: Sequence[autoscaling.MetricSpec], current: Sequence[autoscaling.MetricStatus]) -> str:
    if not metrics:
        return NONE
    texts = [_metric(metric, current[i] if i < len(current) else None) for i, metric in enumerate(metrics)]
    text = ", ".join(texts[:_SHOWN])
    return f"{text} + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else text


def _metric(metric: autoscaling.MetricSpec, current: autoscaling.MetricStatus | None) -> str:
    """One metric: what it is, a slash, what it should be."""
    attr = _ATTRIBUTES.get(metric.type, "")
    source = getattr(metric, attr, None)
    if source is None:
        return f"{UNKNOWN}/{NONE}"
    status = getattr(current, attr, None)
    now = autoscaling.MetricValueStatus() if status is None else status.current
    target: autoscaling.MetricTarget = source.target
    if target.average_utilization is not None:
        use = UNKNOWN if now.average_utilization is None else f"{now.average_utilization}%"
        return f"{source.name}: {use}/{target.average_utilization}%"
    if metric.type in ("Resource", "ContainerResource"):
        return f"{source.name}: {now.average_value or UNKNOWN}/{target.average_value}"
    if target.average_value is not None:
        average = "" if metric.type == "Pods" else " (avg)"
        return f"{now.average_value or UNKNOWN}/{target.average_value}{average}"
    return f"{now.value or UNKNOWN}/{target.value}"


_ATTRIBUTES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "container_resource",
}

AUTOSCALER_TABLE = TableOf(
    (
        NAME,
        column("Reference", "The workload that it scales."),
        column("Targets", "What its metrics are, and what they should be."),
        column("MinPods", "The fewest pods."),
        column("MaxPods", "The most pods."),
        column("Replicas", "Pods that there are."),
        AGE,
    ),
    autoscaler_row,
)
OLD_AUTOSCALER_TABLE = TableOf(AUTOSCALER_TABLE.columns, old_autoscaler_row)
