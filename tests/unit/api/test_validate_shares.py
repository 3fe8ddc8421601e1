"""What the API refuses of flow schemas, priority levels and devices."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, kinds
from tests.unit.api.kind_rules import begins, changed, mistakes, refusals

FLOW, LEVEL, CLASS = kinds.FLOW_SCHEMA, kinds.PRIORITY_LEVEL, kinds.DEVICE_CLASS
CLAIM, TEMPLATE, SLICE = kinds.RESOURCE_CLAIM, kinds.RESOURCE_CLAIM_TEMPLATE, kinds.RESOURCE_SLICE
ONE = "spec.devices.requests[0]"
EXACTLY = {"deviceClassName": "gpu"}


def rules(**fields: Any) -> dict[str, Any]:
    return {"rules": [fields]}


def limited(**fields: Any) -> dict[str, Any]:
    return {"limited": fields}


def requests(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"devices": {"requests": list(items), **more}}


def devices(*items: dict[str, Any]) -> dict[str, Any]:
    return {"devices": list(items)}


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (FLOW, {"matchingPrecedence": -1}, ["spec.matchingPrecedence: Invalid value: -1: must be a positive value"]),
        (FLOW, {"matchingPrecedence": 10_001}, ["spec.matchingPrecedence: Invalid value: 10001: must not be greater"]),
        (FLOW, {"matchingPrecedence": 1}, [
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt'",
        ]),
        (FLOW, {"priorityLevelConfiguration": {"name": ""}}, ["spec.priorityLevelConfiguration.name: Required value"]),
        (FLOW, {"distinguisherMethod": {"type": "X"}}, ['spec.distinguisherMethod.type: Unsupported value: "X"']),
        (FLOW, rules(), [
            "spec.rules[0].subjects: Required value: subjects must contain at least one value",
            "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
        ]),
        (FLOW, rules(subjects=[{"kind": "User", "group": {"name": "g"}}], resourceRules=[{"verbs": ["*", "get"]}]), [
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            'spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if \'*\' is present',
            "spec.rules[0].resourceRules[0].apiGroups: Required value",
            "spec.rules[0].resourceRules[0].resources: Required value",
            "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped",
        ]),
        (LEVEL, {"type": "X"}, ['spec.type: Unsupported value: "X": supported values: "Exempt", "Limited"']),
        (LEVEL, {"type": "Exempt"}, [
            "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
            "spec.limited: Forbidden: must be nil if the type is not Limited",
        ]),
        (LEVEL, {"limited": None}, ["spec.limited: Required value: must not be empty when type is Limited"]),
        (LEVEL, limited(nominalConcurrencyShares=-1, lendablePercent=101, borrowingLimitPercent=-1), [
            "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
        ]),
        (LEVEL, limited(limitResponse={"type": "Reject"}), [
            "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Queue",
        ]),
        (LEVEL, limited(limitResponse={"type": "Queue", "queuing": {"queues": 2, "handSize": 4}}), [
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 4: should not be greater than queues (2)",
        ]),
        (CLASS, {"selectors": [{"cel": {"expression": ""}}, {"cel": None}]}, [
            "spec.selectors[0].cel.expression: Required value", "spec.selectors[1].cel: Required value",
        ]),
        (CLASS, {"config": [{}, {"opaque": {"driver": "gpu.example.com"}}]}, [
            "spec.config[0].opaque: Required value", "spec.config[1].opaque.parameters: Required value",
        ]),
        (CLAIM, requests({"name": "a", "exactly": EXACTLY}, {"name": "a", "exactly": EXACTLY}), [
            'spec.devices.requests[1].name: Duplicate value: "a"',
        ]),
        (CLAIM, requests({"name": "A"}), [
            f'{ONE}.name: Invalid value: "A": a lowercase RFC 1123 label',
            f"{ONE}: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ]),
        (CLAIM, requests({"name": "a", "exactly": {"deviceClassName": "", "allocationMode": "X"}}), [
            f"{ONE}.exactly.deviceClassName: Required value",
            f'{ONE}.exactly.allocationMode: Unsupported value: "X": supported values: "All", "ExactCount"',
        ]),
        (CLAIM, requests({"name": "a", "exactly": EXACTLY | {"allocationMode": "All", "count": 2}}), [
            f"{ONE}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
        ]),
        (CLAIM, requests({"name": "a", "firstAvailable": [EXACTLY | {"name": "x", "count": -1}]}), [
            f"{ONE}.firstAvailable[0].count: Invalid value: -1: must be greater than zero",
        ]),
        (CLAIM, requests({"name": "a", "exactly": EXACTLY}, constraints=[{"requests": ["b"]}]), [
            'spec.devices.constraints[0].requests[0]: Invalid value: "b": must be the name of a request in the claim',
            "spec.devices.constraints[0]: Required value: exactly one of `matchAttribute` or `distinctAttribute`",
        ]),
        (TEMPLATE, {"spec": {"devices": {"requests": [{"name": "a"}]}}}, [
            "spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ]),
        (SLICE, {"driver": "", "pool": {"name": "", "resourceSliceCount": 0}}, [
            "spec.driver: Required value", "spec.driver: Invalid value: ", "spec.pool.name: Required value",
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
        ]),
        (SLICE, {"nodeName": None}, ["spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`"]),
        (SLICE, {"allNodes": True}, ['spec: Invalid value: "": exactly one of `nodeName`']),
        (SLICE, devices({"name": "a", "attributes": {"m": {}, "n": {"int": 1, "bool": True}}}, {"name": "a"}), [
            "spec.devices[0].attributes[m]: Invalid value: ", "spec.devices[0].attributes[n]: Invalid value: ",
            'spec.devices[1].name: Duplicate value: "a"',
        ]),
        (SLICE, devices({"name": "a", "taints": [{"key": "k", "effect": "X"}]}), [
            'spec.devices[0].taints[0].effect: Unsupported value: "X": supported values: "NoExecute", "NoSchedule"',
        ]),
    ],
)  # fmt: skip
def test_mistakes(kind: kinds.Kind[Any], spec: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(kind, {"spec": spec}), expected)


@pytest.mark.parametrize("kind", [CLAIM, TEMPLATE], ids=lambda kind: kind.plural)
def test_wishes_stay(kind: kinds.Kind[Any]) -> None:
    change = {"devices": {"requests": [{"name": "other", "exactly": EXACTLY}]}}
    spec = {"spec": change} if kind is TEMPLATE else change
    begins(refusals(kind, {"spec": spec}), ["spec: Invalid value: "])


def test_what_was_given_stays_until_it_is_given_back() -> None:
    given = {"status": {"allocation": {"devices": {"results": [{"request": "gpu", "driver": "d", "pool": "p"}]}}}}
    begins(refusals(CLAIM, given, status=True), [])
    begins(refusals(CLAIM, {"status": {"allocation": None}}, given, status=True), [])
    other = {"status": {"allocation": {"devices": {"results": []}}}}
    begins(refusals(CLAIM, other, given, status=True), ["status.allocation: Invalid value: "])
    user = {"resource": "pods", "name": "p", "uid": "u"}
    begins(
        refusals(CLAIM, {"status": {"reservedFor": [user, user]}}, status=True),
        [
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
            'status.reservedFor[1].uid: Duplicate value: "u"',
        ],
    )


def test_slices_stay_where_they_are() -> None:
    begins(
        refusals(SLICE, {"spec": {"driver": "other.example.com", "pool": {"name": "n2"}, "nodeName": "n2"}}),
        ["spec.pool.name: Invalid value: ", "spec.driver: Invalid value: ", "spec.nodeName: Invalid value: "],
    )


def test_defaults() -> None:
    (wanted,) = codec.to_dict(changed(CLAIM))["spec"]["devices"]["requests"]
    assert wanted["exactly"] == {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    assert changed(FLOW).spec.matching_precedence == 1000
    level = codec.to_dict(changed(LEVEL))["spec"]["limited"]
    assert (level["nominalConcurrencyShares"], level["lendablePercent"]) == (30, 0)
    assert level["limitResponse"]["queuing"] == {"queues": 16, "handSize": 4, "queueLengthLimit": 50}
    exempt = changed(LEVEL, {"metadata": {"name": "exempt"}, "spec": {"type": "Exempt", "limited": None}})
    assert codec.to_dict(exempt)["spec"]["exempt"] == {"nominalConcurrencyShares": 0, "lendablePercent": 0}
