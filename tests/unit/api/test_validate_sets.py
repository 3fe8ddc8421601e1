"""What the API refuses of stateful sets, daemon sets, revisions and replication controllers."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import kinds
from tests.fixtures.examples import ONCE, TEMPLATE
from tests.unit.api.kind_rules import begins, mistakes, refusals

STS, DS, REV, RC = kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.CONTROLLER_REVISION, kinds.REPLICATION_CONTROLLER
ALWAYS = 'Unsupported value: "Never": supported values: "Always"'
NEVER = {"template": {"spec": {"restartPolicy": "Never"}}}
OTHER = {"matchLabels": {"app": "other"}}
FIXED = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
    "are forbidden"
)


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (STS, {"selector": None}, ["spec.selector: Required value"]),
        (STS, {"selector": {"matchLabels": None}}, [
            "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
        ]),
        (STS, {"selector": OTHER}, ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does']),
        (STS, {"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (STS, {"serviceName": "A_b"}, ['spec.serviceName: Invalid value: "A_b": a lowercase RFC 1123 label']),
        (STS, {"podManagementPolicy": "X"}, [
            "spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
        ]),
        (STS, {"updateStrategy": {"type": "X"}}, ["spec.updateStrategy: Invalid value: "]),
        (STS, {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}, [
            'spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy',
        ]),
        (STS, {"updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}}, [
            "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
        ]),
        (STS, {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "X"}}, [
            'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "X": supported values: "Delete"',
        ]),
        (STS, {"ordinals": {"start": -1}}, ["spec.ordinals.start: Invalid value: -1: must be greater"]),
        (STS, NEVER, [f"spec.template.spec.restartPolicy: {ALWAYS}"]),
        (STS, {"template": {"spec": {"activeDeadlineSeconds": 5}}}, [
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supp",
        ]),
        (STS, {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}, [
            "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
            "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
        ]),
        (DS, {"selector": {"matchLabels": None}}, [
            "spec.selector: Invalid value: {}: empty selector is invalid for daemonset",
        ]),
        (DS, NEVER, [f"spec.template.spec.restartPolicy: {ALWAYS}"]),
        (DS, {"updateStrategy": {"type": "X"}}, [
            'spec.updateStrategy.type: Unsupported value: "X": supported values: "OnDelete", "RollingUpdate"',
        ]),
        (DS, {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}, [
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ]),
        (DS, {"updateStrategy": {"rollingUpdate": {"maxSurge": "10%"}}}, [
            'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is',
        ]),
        (DS, {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}, [
            'spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
        ]),
        (DS, {"minReadySeconds": -1, "revisionHistoryLimit": -1}, [
            "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
        ]),
        (RC, {"template": None}, ["spec.selector: Required value", "spec.template: Required value"]),
        (RC, {"selector": {"a": "b"}}, ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector`']),
        (RC, NEVER, [f"spec.template.spec.restartPolicy: {ALWAYS}"]),
        (RC, {"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    ],
)  # fmt: skip
def test_specs(kind: kinds.Kind[Any], spec: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(kind, {"spec": spec}), expected)


def test_claims_are_volumes_of_the_template() -> None:
    mounted = {"name": "c", "image": "i:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    claim = {"metadata": {"name": "data"}, "spec": {**ONCE, "resources": {"requests": {"storage": "1Gi"}}}}
    template = {"spec": {"containers": [mounted]}}
    begins(mistakes(STS, {"spec": {"template": template, "volumeClaimTemplates": [claim]}}), [])
    begins(
        mistakes(STS, {"spec": {"template": template}}),
        ['spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"'],
    )


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (STS, {"spec": {"serviceName": "other"}}, [FIXED]),
        (STS, {"spec": {"podManagementPolicy": "Parallel"}}, [FIXED]),
        (STS, {"spec": {"replicas": 3, "minReadySeconds": 2, "revisionHistoryLimit": 1, "ordinals": {"start": 1}}}, []),
        (STS, {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}}, []),
        (STS, {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}, []),
        (STS, {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}, []),
        (DS, {"spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}}, [
            "spec.selector: Invalid value: ",
        ]),
        (REV, {"data": {"spec": {"other": 1}}}, ['data: Invalid value: {"spec":{"other":1}}: field is immutable']),
        (REV, {"revision": -1}, ["revision: Invalid value: -1: must be greater than or equal to 0"]),
        (RC, {"spec": {"template": TEMPLATE, "replicas": 4}}, []),
    ],
)  # fmt: skip
def test_updates(kind: kinds.Kind[Any], change: dict[str, Any], expected: list[str]) -> None:
    begins(refusals(kind, change), expected)


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (STS, {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}, [
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas",
        ]),
        (STS, {"collisionCount": 1}, ["status.collisionCount: Invalid value: 1: cannot be decremented"]),
        (DS, {"numberReady": -1}, ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"]),
        (RC, {"replicas": 1, "readyReplicas": 1, "availableReplicas": 2}, [
            "status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
        ]),
    ],
)  # fmt: skip
def test_status(kind: kinds.Kind[Any], status: dict[str, Any], expected: list[str]) -> None:
    begins(
        refusals(kind, {"status": status}, {"status": {"collisionCount": 2}} if kind is STS else {}, status=True),
        expected,
    )


def test_a_revision_holds_something() -> None:
    begins(mistakes(REV, {"data": None}), ["data: Required value: data is mandatory"])
