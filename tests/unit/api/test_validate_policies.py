"""What the API refuses of disruption budgets, autoscalers, quotas and limit ranges."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import kinds
from tests.unit.api.kind_rules import begins, mistakes, refusals

PDB, HPA, OLD_HPA = kinds.POD_DISRUPTION_BUDGET, kinds.HORIZONTAL_POD_AUTOSCALER, kinds.HORIZONTAL_POD_AUTOSCALER_V1
QUOTA, LIMITS = kinds.RESOURCE_QUOTA, kinds.LIMIT_RANGE
METRIC = "spec.metrics[0]"
ONE = {"kind": "K", "name": "n"}
BOTH = {"type": "X", "value": "1", "averageValue": "1"}
ENDING = {"scopeName": "Terminating", "operator": "In", "values": ["a"]}


def metric(type_: str, **source: Any) -> dict[str, Any]:
    return {"metrics": [{"type": type_, **source}]}


def resource(**target: Any) -> dict[str, Any]:
    return metric("Resource", resource={"name": "cpu", "target": target})


def up(**rules: Any) -> dict[str, Any]:
    return {"behavior": {"scaleUp": rules}}


def limits(type_: str = "Container", **fields: Any) -> dict[str, Any]:
    return {"limits": [{"type": type_, **fields}]}


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (PDB, {"maxUnavailable": 1}, ["spec: Invalid value: "]),
        (PDB, {"minAvailable": -1}, ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"]),
        (PDB, {"minAvailable": "half"}, ['spec.minAvailable: Invalid value: "half": a valid percent string must be']),
        (PDB, {"minAvailable": "101%"}, ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%']),
        (PDB, {"unhealthyPodEvictionPolicy": "X"}, [
            'spec.unhealthyPodEvictionPolicy: Unsupported value: "X": supported values: "AlwaysAllow", "IfHealthyBud',
        ]),
        (PDB, {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, [
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In'",
        ]),
        (HPA, {"minReplicas": -1}, ["spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"]),
        (HPA, {"minReplicas": 0}, [
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero",
        ]),
        (HPA, {"maxReplicas": 0}, [
            "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
        ]),
        (HPA, {"scaleTargetRef": {"kind": "", "name": "", "apiVersion": "a/b/c"}}, [
            "spec.scaleTargetRef.kind: Required value",
            "spec.scaleTargetRef.name: Required value",
            'spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
        ]),
        (HPA, metric("X"), [f'{METRIC}.type: Unsupported value: "X": supported values: "ContainerResource", "Ext']),
        (HPA, metric("Pods"), [f"{METRIC}.pods: Required value: must populate information for the given"]),
        (HPA, metric("Pods", resource={"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
                     pods={"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}), [
            f"{METRIC}.resource: Forbidden: must populate the given metric source only",
        ]),
        (HPA, resource(), [
            f"{METRIC}.resource.target.type: Required value: must specify a metric target type",
            f"{METRIC}.resource.target.averageUtilization: Required value: must set either a target raw value or a tar",
        ]),
        (HPA, resource(type="Utilization", averageUtilization=0), [
            f"{METRIC}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        ]),
        (HPA, resource(type="Utilization", averageUtilization=5, averageValue="1"), [
            f"{METRIC}.resource.target.averageValue: Forbidden: may not set both a target raw value and a target util",
        ]),
        (HPA, metric("ContainerResource", containerResource={"target": {"type": "Value", "averageValue": "-1"}}), [
            f"{METRIC}.containerResource.container: Required value: must specify a container",
            f"{METRIC}.containerResource.name: Required value: must specify a resource name",
            f'{METRIC}.containerResource.target.averageValue: Invalid value: "-1": must be positive',
        ]),
        (HPA, metric("Object", object={"describedObject": ONE, "metric": {}, "target": {"type": "Value"}}), [
            f"{METRIC}.object.metric.name: Required value: must specify a metric name",
            f"{METRIC}.object.target.averageValue: Required value: must set either a target value or averageValue",
        ]),
        (HPA, metric("External", external={"metric": {"name": "m"}, "target": BOTH}), [
            f'{METRIC}.external.target.type: Invalid value: "X": must be either Utilization, Value, or AverageValue',
            f"{METRIC}.external.target.value: Forbidden: may not set both a target value for metric and",
        ]),
        (HPA, up(stabilizationWindowSeconds=4000, selectPolicy="X", tolerance="-1"), [
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
            'spec.behavior.scaleUp.selectPolicy: Unsupported value: "X": supported values: "Disabled", "Max", "Min"',
            'spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater or equal to zero',
        ]),
        (HPA, up(policies=[{"type": "X", "value": 0, "periodSeconds": 1801}]), [
            'spec.behavior.scaleUp.policies[0].type: Unsupported value: "X": supported values: "Percent", "Pods"',
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ]),
        (OLD_HPA, {"minReplicas": 4, "targetCPUUtilizationPercentage": 0}, [
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
            f"{METRIC}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        ]),
        (QUOTA, {"hard": {"pods": "-1"}}, ['spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0']),
        (QUOTA, {"hard": {"services": "500m"}}, ['spec.hard[services]: Invalid value: "500m": must be an integer']),
        (QUOTA, {"hard": {"count/jobs.batch": "1", "requests.x.io/gpu": "1", "requests.hugepages-2Mi": "1Gi"}}, []),
        (QUOTA, {"hard": {"bananas": "1"}}, [
            'spec.hard[bananas]: Invalid value: "bananas": must be a standard resource type or fully qualified',
            'spec.hard[bananas]: Invalid value: "bananas": must be a standard resource for quota',
        ]),
        (QUOTA, {"scopes": ["BestEffort", "NotBestEffort"], "hard": {"pods": "1"}}, [
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
        ]),
        (QUOTA, {"scopes": ["BestEffort"], "hard": {"cpu": "1"}}, [
            'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource',
        ]),
        (QUOTA, {"scopes": ["X"]}, ['spec.scopes: Invalid value: ["X"]: unsupported scope']),
        (QUOTA, {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}, [
            "spec.scopeSelector.matchExpressions[0].values: Required value: must be specified when",
        ]),
        (QUOTA, {"scopeSelector": {"matchExpressions": [ENDING]}}, [
            "spec.scopeSelector.matchExpressions[0].operator: Invalid value: \"In\": must be 'Exist' when scope is",
        ]),
        (LIMITS, limits("X"), [
            'spec.limits[0].type: Invalid value: "X": must be a standard limit type or fully quali',
        ]),
        (LIMITS, {"limits": [{"type": "Pod"}, {"type": "Pod"}]}, ['spec.limits[1].type: Duplicate value: "Pod"']),
        (LIMITS, limits("Pod", default={"cpu": "1"}), [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
        ]),
        (LIMITS, limits("PersistentVolumeClaim"), [
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required",
        ]),
        (LIMITS, limits(max={"bananas": "1"}), [
            'spec.limits[0].max[bananas]: Invalid value: "bananas": must be a standard resource type or fully qualifi',
            'spec.limits[0].max[bananas]: Invalid value: "bananas": must be a standard resource for containers',
            'spec.limits[0].default[bananas]: Invalid value: "bananas": must be a standard resource type',
            'spec.limits[0].default[bananas]: Invalid value: "bananas": must be a standard resource for containers',
            'spec.limits[0].defaultRequest[bananas]: Invalid value: "bananas": must be a standard resource type',
            'spec.limits[0].defaultRequest[bananas]: Invalid value: "bananas": must be a standard resource for contain',
        ]),
        (LIMITS, limits("Pod", min={"cpu": "2"}, max={"cpu": "1"}), [
            'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
        ]),
        (LIMITS, limits(default={"cpu": "3"}, defaultRequest={"cpu": "100m"}, min={"cpu": "200m"}, max={"cpu": "2"}), [
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "100m": min value 200m is greater than default request',
            'spec.limits[0].default[cpu]: Invalid value: "2": default value 3 is greater than max value 2',
        ]),
        (LIMITS, limits("Pod", maxLimitRequestRatio={"cpu": "500m"}), [
            'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
        ]),
        (LIMITS, limits("Pod", maxLimitRequestRatio={"cpu": "5"}, min={"cpu": "1"}, max={"cpu": "2"}), [
            'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "5": ratio 5 is greater than max/min = 2.000000',
        ]),
        (LIMITS, limits(default={"example.com/gpu": "2"}, defaultRequest={"example.com/gpu": "1"}), [
            'spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: "1": default value 2 must equal to default',
        ]),
    ],
)  # fmt: skip
def test_mistakes(kind: kinds.Kind[Any], spec: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(kind, {"spec": spec}), expected)


def test_the_scopes_of_a_quota_stay() -> None:
    begins(
        refusals(QUOTA, {"spec": {"scopes": ["Terminating"]}}),
        ['spec.scopes: Invalid value: ["Terminating"]: field is immutable'],
    )


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (PDB, {"currentHealthy": -1}, ["status.currentHealthy: Invalid value: -1: must be greater than or equal to 0"]),
        (HPA, {"desiredReplicas": -1}, ["status.desiredReplicas: Invalid value: -1: must be greater than or equal"]),
        (QUOTA, {"used": {"pods": "1.5"}}, ['status.used[pods]: Invalid value: "1500m": must be an integer']),
    ],
)  # fmt: skip
def test_status(kind: kinds.Kind[Any], status: dict[str, Any], expected: list[str]) -> None:
    begins(refusals(kind, {"status": status}, status=True), expected)
