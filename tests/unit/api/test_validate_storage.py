"""What the API refuses of volumes, claims, and the classes and drivers behind them."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import kinds
from tests.fixtures.examples import ONCE
from tests.unit.api.kind_rules import begins, mistakes, refusals

PV, PVC, SC = kinds.PERSISTENT_VOLUME, kinds.PERSISTENT_VOLUME_CLAIM, kinds.STORAGE_CLASS
VA, DRIVER, NODE, CAPACITY = kinds.VOLUME_ATTACHMENT, kinds.CSI_DRIVER, kinds.CSI_NODE, kinds.CSI_STORAGE_CAPACITY
VAC, PRIORITY, RUNTIME = kinds.VOLUME_ATTRIBUTES_CLASS, kinds.PRIORITY_CLASS, kinds.RUNTIME_CLASS
SIZE = {"storage": "1"}
MODES = 'supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'
STAYS = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName"


def node_is(key: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
    return {"required": {"nodeSelectorTerms": [term]}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"capacity": None}, ["spec.capacity: Required value"]),
        ({"capacity": {"storage": "0"}}, ['spec.capacity[storage]: Invalid value: "0": must be greater than zero']),
        ({"capacity": {"cpu": "1"}}, ["spec.capacity: Unsupported value: "]),
        ({"accessModes": []}, ["spec.accessModes: Required value"]),
        ({"accessModes": ["X"]}, [f'spec.accessModes: Unsupported value: "X": {MODES}']),
        ({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}, [
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ]),
        ({"hostPath": None}, ["spec: Required value: must specify a volume type"]),
        ({"nfs": {"server": "s", "path": "/p"}}, ["spec.nfs: Forbidden: may not specify more than 1 volume type"]),
        ({"hostPath": None, "local": {"path": "/disk"}}, [
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ]),
        ({"hostPath": None, "local": {"path": "/disk"}, "nodeAffinity": node_is("zone")}, []),
        ({"hostPath": None, "csi": {"driver": "A B"}}, [
            'spec.csi.driver: Invalid value: "A B": a lowercase RFC 1123 subdomain',
            "spec.csi.volumeHandle: Required value",
        ]),
        ({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}, [
            "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
        ]),
        ({"persistentVolumeReclaimPolicy": "X"}, ['spec.persistentVolumeReclaimPolicy: Unsupported value: "X"']),
        ({"volumeMode": "X"}, ['spec.volumeMode: Unsupported value: "X": supported values: "Block", "Filesystem"']),
        ({"nodeAffinity": {}}, ["spec.nodeAffinity.required: Required value: must specify required node constraints"]),
        ({"storageClassName": "A"}, ['spec.storageClassName: Invalid value: "A"']),
        ({"volumeAttributesClassName": "fast"}, [
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ]),
    ],
)  # fmt: skip
def test_volumes(spec: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(PV, {"spec": spec}), expected)


def test_the_storage_behind_a_volume_stays() -> None:
    begins(
        refusals(PV, {"spec": {"hostPath": {"path": "/other"}}}),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\nspec."],
    )
    begins(refusals(PV, {"spec": {"volumeMode": "Block"}}), ['spec.volumeMode: Invalid value: "Block": field is imm'])
    begins(refusals(PV, {"spec": {"nodeAffinity": node_is("a")}}), [])
    begins(
        refusals(PV, {"spec": {"nodeAffinity": node_is("a")}}, {"spec": {"nodeAffinity": node_is("b")}}),
        ["spec.nodeAffinity: Invalid value: "],
    )
    begins(refusals(PV, {"spec": {"claimRef": {"name": "c", "namespace": "n"}, "capacity": {"storage": "2Gi"}}}), [])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"accessModes": None}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
        ({"accessModes": ["X"]}, [f'spec.accessModes: Unsupported value: "X": {MODES}']),
        ({"resources": None}, ["spec.resources[storage]: Required value"]),
        ({"resources": {"requests": {"storage": "0"}}}, [
            'spec.resources[storage]: Invalid value: "0": must be greater than zero',
        ]),
        ({"storageClassName": ""}, []),
        ({"storageClassName": "A"}, ['spec.storageClassName: Invalid value: "A"']),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "X"}]}}, [
            'spec.selector.matchExpressions[0].operator: Invalid value: "X": not a valid selector operator',
        ]),
        ({"dataSource": {"kind": "VolumeSnapshot", "name": "s"}}, [
            'spec.dataSource: Invalid value: "VolumeSnapshot"', 'spec.dataSourceRef: Invalid value: "VolumeSnapshot"',
        ]),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "s"},
          "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "t"}}, [
            'spec: Invalid value: "spec.dataSource": must match dataSourceRef',
        ]),
    ],
)  # fmt: skip
def test_claims(spec: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(PVC, {"spec": spec}), expected)


BOUND: dict[str, Any] = {"spec": {"volumeName": "v"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}


def size(text: str) -> dict[str, Any]:
    return {"resources": {"requests": {"storage": text}}}


@pytest.mark.parametrize(
    ("spec", "before", "expected"),
    [
        ({"volumeName": "v", "storageClassName": "late"}, {}, []),
        ({"accessModes": ["ReadWriteMany"]}, {}, [STAYS]),
        (size("2Gi"), {}, [STAYS]),
        (size("2Gi"), BOUND, []),
        ({"volumeName": "w"}, BOUND, [STAYS]),
        (size("512Mi"), BOUND, [
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        ]),
        ({"volumeAttributesClassName": None}, {"spec": {"volumeAttributesClassName": "fast"}}, [
            "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden",
        ]),
    ],
)  # fmt: skip
def test_what_may_change_of_a_claim(spec: dict[str, Any], before: dict[str, Any], expected: list[str]) -> None:
    begins(refusals(PVC, {"spec": spec}, before), expected)


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (SC, {"provisioner": None}, ["provisioner: Required value"]),
        (SC, {"provisioner": "a b"}, ['provisioner: Invalid value: "a b": name part must consist of']),
        (SC, {"reclaimPolicy": "Recycle"}, ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete"']),
        (SC, {"volumeBindingMode": "X"}, ['volumeBindingMode: Unsupported value: "X": supported values: "Immediate"']),
        (SC, {"parameters": {"": "x"}}, ['parameters: Invalid value: "": field can not be empty.']),
        (SC, {"parameters": {"a": "x" * 300_000}}, ["parameters: Too long: may not be more than 262144 bytes"]),
        (SC, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": []}]}]}, [
            "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
        ]),
        (VA, {"spec": {"source": {"persistentVolumeName": None}}}, [
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ]),
        (VA, {"spec": {"attacher": ""}}, ["spec.attacher: Required value", "spec.attacher: Invalid value: "]),
        (VA, {"spec": {"source": {"persistentVolumeName": None, "inlineVolumeSpec": {**ONCE, "capacity": SIZE}}}}, [
            "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
            "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
            "spec.source.inlineVolumeSpec: Required value: must specify a volume type",
        ]),
        (DRIVER, {"spec": {"fsGroupPolicy": "X"}}, ['spec.fsGroupPolicy: Unsupported value: "X"']),
        (DRIVER, {"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}]}}, [
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than",
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
        ]),
        (DRIVER, {"spec": {"volumeLifecycleModes": ["X"]}}, ['spec.volumeLifecycleModes: Unsupported value: "X"']),
        (DRIVER, {"spec": {"nodeAllocatableUpdatePeriodSeconds": 1}}, [
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 1: must be greater than or equal to 10 seconds",
        ]),
        (NODE, {"spec": {"drivers": [{"name": "a", "nodeID": ""}, {"name": "a", "nodeID": "x" * 200}]}}, [
            "spec.drivers[0].nodeID: Required value",
            'spec.drivers[1].name: Duplicate value: "a"',
            "spec.drivers[1].nodeID: Too long: may not be more than 192 bytes",
        ]),
        (CAPACITY, {"capacity": "-1"}, ['capacity: Invalid value: "-1": must be greater than or equal to 0']),
        (CAPACITY, {"storageClassName": ""}, ['storageClassName: Invalid value: ""']),
        (VAC, {"parameters": None}, ["parameters: Required value: must contain at least one key/value pair"]),
        (VAC, {"driverName": ""}, ["driverName: Required value", "driverName: Invalid value: "]),
        (PRIORITY, {"value": 1_000_000_001}, [
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ]),
        (PRIORITY, {"metadata": {"name": "system-x"}}, [
            "metadata.name: Forbidden: priority class names with 'system-'",
        ]),
        (PRIORITY, {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}, []),
        (PRIORITY, {"preemptionPolicy": "X"}, ['preemptionPolicy: Unsupported value: "X": supported values: "Never"']),
        (RUNTIME, {"handler": "a.b"}, ['handler: Invalid value: "a.b": must not contain dots']),
        (RUNTIME, {"overhead": {"podFixed": {"cpu": "-1"}}}, ['overhead.podFixed[cpu]: Invalid value: "-1": must be']),
        (RUNTIME, {"scheduling": {"tolerations": [{"key": "a", "operator": "X"}]}}, [
            'scheduling.tolerations[0].operator: Unsupported value: "X"',
        ]),
    ],
)  # fmt: skip
def test_classes(kind: kinds.Kind[Any], change: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(kind, change), expected)


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (SC, {"provisioner": "b", "parameters": {"a": "b"}, "reclaimPolicy": "Retain"}, [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        ]),
        (SC, {"volumeBindingMode": "WaitForFirstConsumer"}, ["volumeBindingMode: Invalid value: "]),
        (VA, {"spec": {"nodeName": "n2"}}, ["spec: Invalid value: "]),
        (DRIVER, {"spec": {"attachRequired": False, "volumeLifecycleModes": ["Ephemeral"]}}, [
            "spec.attachRequired: Invalid value: false: field is immutable",
            'spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable',
        ]),
        (NODE, {"spec": {"drivers": [{"name": "disk.example.com", "nodeID": "n2", "topologyKeys": []}]}}, [
            "spec.drivers[0]: Invalid value: ",
        ]),
        (CAPACITY, {"storageClassName": "slow"}, ['storageClassName: Invalid value: "slow": field is immutable']),
        (VAC, {"driverName": "b", "parameters": {"iops": "1"}}, [
            'driverName: Invalid value: "b": field is immutable',
            'parameters: Invalid value: {"iops":"1"}: field is immutable',
        ]),
        (PRIORITY, {"value": 5, "preemptionPolicy": "Never"}, [
            "value: Forbidden: may not be changed in an update.",
            'preemptionPolicy: Invalid value: "Never": field is immutable',
        ]),
        (RUNTIME, {"handler": "other"}, ['handler: Invalid value: "other": field is immutable']),
    ],
)  # fmt: skip
def test_what_stays(kind: kinds.Kind[Any], change: dict[str, Any], expected: list[str]) -> None:
    begins(refusals(kind, change), expected)
