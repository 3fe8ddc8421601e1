"""Defaults of autoscalers, in the form of version 2."""

from __future__ import annotations

from mizzen.api.edit import edited, filled, maybe
from mizzen.api.types import autoscaling_v2 as autoscaling

CPU_PERCENT = 80
PERIOD_S = 15

_CPU = autoscaling.MetricSpec(
    type="Resource",
    resource=autoscaling.ResourceMetricSource(
        name="cpu", target=autoscaling.MetricTarget(type="Utilization", average_utilization=CPU_PERCENT)
    ),
)
_DOUBLE = autoscaling.HPAScalingPolicy(type="Percent", value=100, period_seconds=PERIOD_S)
_UP = (autoscaling.HPAScalingPolicy(type="Pods", value=4, period_seconds=PERIOD_S), _DOUBLE)
_DOWN = (_DOUBLE,)


def autoscaler(obj: autoscaling.HorizontalPodAutoscaler) -> autoscaling.HorizontalPodAutoscaler:
    """At least one pod; by 80 percent of the requested CPU; a given behaviour is completed."""
    spec = filled(obj.spec, min_replicas=1)
    spec = edited(spec, metrics=spec.metrics or (_CPU,), behavior=maybe(spec.behavior, _behavior))
    return edited(obj, spec=spec)


def _behavior(behavior: autoscaling.HorizontalPodAutoscalerBehavior) -> autoscaling.HorizontalPodAutoscalerBehavior:
    up = behavior.scale_up or autoscaling.HPAScalingRules()
    down = behavior.scale_down or autoscaling.HPAScalingRules()
    return edited(
        behavior,
        scale_up=filled(edited(up, policies=up.policies or _UP), stabilization_window_seconds=0, select_policy="Max"),
        # Without a window of its own, scaling down goes by that of the control plane.
        scale_down=filled(edited(down, policies=down.policies or _DOWN), select_policy="Max"),
    )
