"""The cells of batch, storage, networking, policy and autoscaling, as `kubectl get` prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.server.tables import render
from mizzen.api import codec, kinds, times
from tests.unit.api.kind_rules import changed

NOW = times.parse("2026-05-01T12:00:00Z")
HOUR_AGO = {"metadata": {"creationTimestamp": "2026-05-01T11:00:00Z"}}
CONTAINERS = ["c", "img:1"]


def cells(kind: kinds.Kind[Any], change: dict[str, Any]) -> list[Any]:
    obj = changed(kind, HOUR_AGO, change)
    raw = codec.encode_json(obj)
    made = json.loads(render.rows([(render.row(kind.type, obj, raw, NOW), raw)], NOW).join(render.table(kind.type)))
    return list(made["rows"][0]["cells"])


def job(*conditions: str, **status: Any) -> dict[str, Any]:
    return {"status": status | {"conditions": [{"type": type_, "status": "True"} for type_ in conditions]}}


def targets(metrics: list[Any], current: list[Any] | None = None) -> dict[str, Any]:
    return {"spec": {"metrics": metrics}, "status": {"currentMetrics": current or []}}


def use(name: str, **values: Any) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "current": values}}


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}
QUEUE = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "9"}}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "7"}}}
OWNER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (kinds.STATEFUL_SET, {"status": {"readyReplicas": 1}}, ["example", "1/1", "60m", *CONTAINERS]),
        (kinds.DAEMON_SET, {"status": {"desiredNumberScheduled": 3, "numberReady": 2}}, [
            "example", 3, 0, 2, 0, 0, "<none>", "60m", *CONTAINERS, "app=web",
        ]),
        (kinds.REPLICATION_CONTROLLER, {}, ["example", 1, 0, 0, "60m", *CONTAINERS, "app=web"]),
        (kinds.CONTROLLER_REVISION, {"metadata": {"ownerReferences": [OWNER]}}, [
            "example", "statefulset.apps/web", 1, "60m",
        ]),
        (kinds.POD_TEMPLATE, {}, ["example", *CONTAINERS, "app=web"]),
        (kinds.PERSISTENT_VOLUME, {"spec": {"claimRef": {"namespace": "n", "name": "c"}, "storageClassName": "fast"}}, [
            "example", "1Gi", "RWO", "Retain", "Pending", "n/c", "fast", "<unset>", "", "60m", "Filesystem",
        ]),
        (kinds.PERSISTENT_VOLUME_CLAIM, {}, [
            "example", "Pending", "", "", "", "", "<unset>", "60m", "Filesystem",
        ]),
        (kinds.PERSISTENT_VOLUME_CLAIM, {
            "spec": {"volumeName": "v"},
            "status": {
                "phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            },
        }, ["example", "Bound", "v", "2Gi", "RWO,RWX", "", "<unset>", "60m", "Filesystem"]),
        (kinds.RESOURCE_QUOTA, {"status": {"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "3"}}}, [
            "example", "pods: 3/5", "limits.cpu: 0/2", "60m",
        ]),
        (kinds.LIMIT_RANGE, {}, ["example", "2026-05-01T11:00:00Z"]),
        (kinds.JOB, job(), ["example", "Running", "0/1", "", "60m", *CONTAINERS, "<none>"]),
        (kinds.JOB, job("Complete", succeeded=1, startTime="2026-05-01T11:00:00Z",
                        completionTime="2026-05-01T11:00:30Z"), [
            "example", "Complete", "1/1", "30s", "60m", *CONTAINERS, "<none>",
        ]),
        (kinds.JOB, job("Suspended") | {"spec": {"parallelism": 3}}, [
            "example", "Suspended", "0/1 of 3", "", "60m", *CONTAINERS, "<none>",
        ]),
        (kinds.CRON_JOB, {"status": {"lastScheduleTime": "2026-05-01T11:59:00Z", "active": [{"name": "a"}]}}, [
            "example", "*/5 * * * *", "<none>", False, 1, "60s", "60m", *CONTAINERS, "<none>",
        ]),
        (kinds.INGRESS, {"spec": {"rules": [{"host": host} for host in "abcd"], "tls": [{}]},
                         "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}, [
            "example", "<none>", "a,b,c + 1 more...", "192.0.2.1", "80, 443", "60m",
        ]),
        (kinds.INGRESS, {}, ["example", "<none>", "*", "", "80", "60m"]),
        (kinds.INGRESS_CLASS, {"spec": {"parameters": {"apiGroup": "x.io", "kind": "K", "name": "n"}}}, [
            "example", "example.com/ingress", "K.x.io/n", "60m",
        ]),
        (kinds.NETWORK_POLICY, {}, ["example", "<none>", "60m"]),
        (kinds.IP_ADDRESS, {}, ["10.96.0.7", "services/default/web"]),
        (kinds.SERVICE_CIDR, {}, ["example", "10.97.0.0/16", "60m"]),
        (kinds.POD_DISRUPTION_BUDGET, {"status": {"disruptionsAllowed": 2}}, ["example", "1", "N/A", 2, "60m"]),
        (kinds.HORIZONTAL_POD_AUTOSCALER, {}, [
            "example", "Deployment/web", "cpu: <unknown>/80%", "1", 3, 0, "60m",
        ]),
        (kinds.HORIZONTAL_POD_AUTOSCALER_V1, {"spec": {"targetCPUUtilizationPercentage": 60}}, [
            "example-too", "Deployment/web", "cpu: <unknown>/60%", "1", 3, 0, "60m",
        ]),
        (kinds.STORAGE_CLASS, {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}, [
            "example (default)", "example.com/disk", "Delete", "Immediate", False, "60m",
        ]),
        (kinds.VOLUME_ATTRIBUTES_CLASS, {}, ["example", "disk.example.com", "60m"]),
        (kinds.VOLUME_ATTACHMENT, {"status": {"attached": True}}, ["example", "example.com", "v", "n1", True, "60m"]),
        (kinds.CSI_DRIVER, {}, ["disk.example.com", True, False, False, "<unset>", False, "Persistent", "60m"]),
        (kinds.CSI_NODE, {}, ["example", 1, "60m"]),
        (kinds.CSI_STORAGE_CAPACITY, {}, ["example", "fast", "1Gi"]),
        (kinds.PRIORITY_CLASS, {}, ["example", 1000, False, "60m", "PreemptLowerPriority"]),
        (kinds.RUNTIME_CLASS, {}, ["example", "vm", "60m"]),
    ],
)  # fmt: skip
def test_cells(kind: kinds.Kind[Any], change: dict[str, Any], expected: list[Any]) -> None:
    assert cells(kind, change) == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (targets([cpu(50)], [use("cpu", averageUtilization=20)]), "cpu: 20%/50%"),
        (targets([MEMORY], [use("memory", averageValue="2Gi")]), "memory: 2Gi/1Gi"),
        (targets([QUEUE]), "<unknown>/9"),
        (targets([PODS]), "<unknown>/7"),
        (targets([cpu(50), MEMORY, QUEUE, PODS]), "cpu: <unknown>/50%, memory: <unknown>/1Gi + 2 more..."),
    ],
)
def test_targets_of_autoscalers(change: dict[str, Any], text: str) -> None:
    assert cells(kinds.HORIZONTAL_POD_AUTOSCALER, change)[2] == text


def test_what_is_being_deleted_says_so() -> None:
    ending = {"metadata": {"deletionTimestamp": "2026-05-01T11:59:00Z"}}
    assert cells(kinds.PERSISTENT_VOLUME, ending)[4] == "Terminating"
    assert cells(kinds.PERSISTENT_VOLUME_CLAIM, ending)[1] == "Terminating"
    assert cells(kinds.JOB, ending)[1] == "Terminating"
    assert cells(kinds.JOB, ending | job("Complete"))[1] == "Complete"
