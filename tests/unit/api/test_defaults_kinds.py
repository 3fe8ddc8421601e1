"""What the API fills in for workloads, batch, storage, networking and autoscaling."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, kinds
from tests.fixtures.examples import TEMPLATE
from tests.unit.api.kind_rules import changed


def spec_of(kind: kinds.Kind[Any], **spec: Any) -> dict[str, Any]:

    return dict(codec.to_dict(changed(kind, {"spec": spec}))["spec"])


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (kinds.STATEFUL_SET, {}, {
            "replicas": 1, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        }),
        (kinds.STATEFUL_SET, {"updateStrategy": {"type": "OnDelete"}}, {"updateStrategy": {"type": "OnDelete"}}),
        (kinds.DAEMON_SET, {}, {
            "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        }),
        (kinds.REPLICATION_CONTROLLER, {}, {"replicas": 1, "selector": {"app": "web"}}),
        (kinds.PERSISTENT_VOLUME, {}, {
            "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
            "hostPath": {"path": "/data", "type": ""},
        }),
        (kinds.PERSISTENT_VOLUME_CLAIM, {"dataSource": {"kind": "PersistentVolumeClaim", "name": "s"}}, {
            "volumeMode": "Filesystem",
            "dataSourceRef": {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "s"},
        }),
        (kinds.PERSISTENT_VOLUME_CLAIM, {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s"}}, {
            "dataSource": {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "s"},
        }),
        (kinds.LIMIT_RANGE, {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "8Mi"}}]}, {
            "limits": [{
                "type": "Container", "max": {"cpu": "2"}, "min": {"memory": "8Mi"}, "default": {"cpu": "2"},
                "defaultRequest": {"cpu": "2", "memory": "8Mi"},
            }],
        }),
        (kinds.JOB, {}, {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
            "manualSelector": False, "podReplacementPolicy": "TerminatingOrFailed",
        }),
        (kinds.JOB, {"completions": 5}, {"parallelism": 1, "completions": 5}),
        (kinds.JOB, {"parallelism": 5}, {"parallelism": 5, "completions": None}),
        (kinds.JOB, {"backoffLimitPerIndex": 1}, {"backoffLimit": 2147483647}),
        (kinds.JOB, {"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "A"}]}]}}, {
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "A", "status": "True"}]}]},
        }),
        (kinds.CRON_JOB, {}, {
            "concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
        }),
        (kinds.NETWORK_POLICY, {}, {"policyTypes": ["Ingress"]}),
        (kinds.NETWORK_POLICY, {"egress": [{"ports": [{"port": 53}]}]}, {
            "policyTypes": ["Ingress", "Egress"], "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
        }),
        (kinds.INGRESS_CLASS, {"parameters": {"kind": "K", "name": "n"}}, {
            "parameters": {"kind": "K", "name": "n", "scope": "Cluster"},
        }),
        (kinds.HORIZONTAL_POD_AUTOSCALER, {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}}}, {
            "minReplicas": 1,
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 5, "selectPolicy": "Max", "policies": [
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                    ],
                },
                "scaleDown": {
                    "selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
            },
        }),
        (kinds.CSI_DRIVER, {}, {
            "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False,
            "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"], "seLinuxMount": False,
        }),
    ],
)  # fmt: skip
def test_specs(kind: kinds.Kind[Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = spec_of(kind, **given)
    assert {name: found.get(name) for name in expected} == expected


def test_classes() -> None:
    storage = changed(kinds.STORAGE_CLASS)
    assert (storage.reclaim_policy, storage.volume_binding_mode) == ("Delete", "Immediate")
    assert changed(kinds.PRIORITY_CLASS).preemption_policy == "PreemptLowerPriority"


def test_labels_come_from_the_template() -> None:
    labelled = {"spec": {"template": {"metadata": TEMPLATE["metadata"]}}}
    for kind in (kinds.JOB, kinds.REPLICATION_CONTROLLER):
        assert changed(kind, labelled).metadata.labels == {"app": "web"}
        assert changed(kind, labelled, {"metadata": {"labels": {"a": "b"}}}).metadata.labels == {"a": "b"}


def test_templates_have_the_defaults_of_pods() -> None:
    for kind in (kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB, kinds.REPLICATION_CONTROLLER):
        assert changed(kind).spec.template.spec.dns_policy == "ClusterFirst"
    assert changed(kinds.CRON_JOB).spec.job_template.spec.template.spec.dns_policy == "ClusterFirst"
    assert changed(kinds.POD_TEMPLATE).template.spec.dns_policy == "ClusterFirst"


def test_claims_of_stateful_sets_have_the_defaults_of_claims() -> None:
    (claim,) = changed(
        kinds.STATEFUL_SET, {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}
    ).spec.volume_claim_templates
    assert (claim.kind, claim.spec.volume_mode, claim.status.phase) == (
        "PersistentVolumeClaim",
        "Filesystem",
        "Pending",
    )
