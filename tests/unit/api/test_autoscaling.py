"""Autoscalers in their two versions: nothing is lost between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mizzen.api import autoscaling, codec, defaults, kinds
from mizzen.api.types import autoscaling_v1 as v1
from mizzen.api.types import autoscaling_v2 as v2
from tests.fixtures.examples import example

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
METRICS: list[dict[str, Any]] = [
    CPU,
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "64Mi"}}},
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 50},
        },
    },
    {
        "type": "Pods",
        "pods": {
            "metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "10"},
        },
    },
    {
        "type": "Object",
        "object": {
            "describedObject": {"kind": "Ingress", "name": "web", "apiVersion": "networking.k8s.io/v1"},
            "metric": {"name": "rps"},
            "target": {"type": "Value", "value": "2k"},
        },
    },
    {
        "type": "External",
        "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "3"}},
    },
]  # fmt: skip
BEHAVIOR = {"scaleDown": {"selectPolicy": "Disabled", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
STATUS: dict[str, Any] = {
    "currentReplicas": 2,
    "desiredReplicas": 3,
    "observedGeneration": 1,
    "lastScaleTime": "2026-01-02T03:04:05Z",
    "currentMetrics": [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 75, "averageValue": "75m"}}},
        {"type": "External", "external": {"metric": {"name": "queue"}, "current": {"averageValue": "4"}}},
        {
            "type": "Object",
            "object": {
                "describedObject": {"kind": "Ingress", "name": "web"},
                "metric": {"name": "rps"},
                "current": {"value": "1k"},
            },
        },
        {"type": "Pods", "pods": {"metric": {"name": "rps"}, "current": {"averageValue": "9"}}},
    ],
    "conditions": [{"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale"}],
}


def autoscaler(**spec: Any) -> v2.HorizontalPodAutoscaler:
    body = example(kinds.HORIZONTAL_POD_AUTOSCALER)
    body["spec"] = body["spec"] | spec
    body["status"] = STATUS
    obj, warnings = codec.decode_dict(body, kinds.HORIZONTAL_POD_AUTOSCALER)
    assert warnings == ()
    return obj


def test_what_version_1_shows() -> None:
    old = autoscaling.to_v1(autoscaler(metrics=METRICS, behavior=BEHAVIOR, minReplicas=2))
    assert (old.api_version, old.kind) == ("autoscaling/v1", "HorizontalPodAutoscaler")
    assert (old.spec.min_replicas, old.spec.max_replicas, old.spec.target_cpu_utilization_percentage) == (2, 3, 60)
    assert old.status.current_cpu_utilization_percentage == 75
    others = msgspec.json.decode(old.metadata.annotations[autoscaling.METRICS])
    assert [metric["type"] for metric in others] == ["Resource", "ContainerResource", "Pods", "Object", "External"]
    assert others[2]["pods"] == {
        "metricName": "rps", "targetAverageValue": "10", "selector": {"matchLabels": {"a": "b"}},
    }  # fmt: skip


@pytest.mark.parametrize("metrics", [METRICS, METRICS[:1], METRICS[1:2], METRICS[3:]], ids=len)
def test_there_and_back(metrics: list[dict[str, Any]]) -> None:
    obj = autoscaler(metrics=metrics, behavior=BEHAVIOR)
    assert autoscaling.to_v2(autoscaling.to_v1(obj)) == obj


def test_without_metrics_an_old_one_goes_by_cpu() -> None:
    body = example(kinds.HORIZONTAL_POD_AUTOSCALER_V1)
    old: v1.HorizontalPodAutoscaler = codec.decode_dict(body, kinds.HORIZONTAL_POD_AUTOSCALER_V1)[0]
    made = defaults.apply(autoscaling.to_v2(old))
    assert codec.to_dict(made)["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
    assert made.spec.min_replicas == 1


def test_a_broken_annotation_counts_as_none() -> None:
    body = example(kinds.HORIZONTAL_POD_AUTOSCALER_V1)
    body["metadata"]["annotations"] = {autoscaling.METRICS: "{", autoscaling.BEHAVIOR: "[]", "mine": "stays"}
    made = autoscaling.to_v2(codec.decode_dict(body, kinds.HORIZONTAL_POD_AUTOSCALER_V1)[0])
    assert made.spec.metrics == ()
    assert made.spec.behavior is None
    assert made.metadata.annotations == {"mine": "stays"}


def test_upstreams_object_survives(upstream: Path) -> None:
    text = (upstream / "roundtrip" / "autoscaling.v1.HorizontalPodAutoscaler.json").read_bytes()
    old = msgspec.json.decode(text, type=v1.HorizontalPodAutoscaler)
    again = autoscaling.to_v1(autoscaling.to_v2(old))
    assert (again.spec, again.status) == (old.spec, old.status)
