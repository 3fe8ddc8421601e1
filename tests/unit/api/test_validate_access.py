"""What the API refuses of roles, bindings, requests for certificates and questions."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, kinds, validate
from tests.unit.api.test_validate import created, updated

GROUP = "rbac.authorization.k8s.io"
RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
URLS = {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}
REF = {"kind": "Role", "name": "r", "apiGroup": GROUP}
BLOCK = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg=="
"""One PEM block of a request, with nothing in it."""
REQUEST = {"request": BLOCK, "signerName": "example.com/people", "usages": ["client auth"]}


@pytest.mark.parametrize(
    ("kind", "rule", "expected"),
    [
        (kinds.ROLE, RULE, []),
        (kinds.ROLE, {**RULE, "verbs": []}, ["rules[0].verbs: Required value: verbs must contain at least one value"]),
        (
            kinds.ROLE,
            {"verbs": ["get"]},
            [
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        ),
        (
            kinds.ROLE,
            URLS,
            [
                (
                    'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: '
                    "namespaced rules cannot apply to non-resource URLs"
                )
            ],
        ),
        (kinds.CLUSTER_ROLE, URLS, []),
        (
            kinds.CLUSTER_ROLE,
            {**URLS, "resources": ["pods"]},
            [
                (
                    'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: '
                    "rules cannot apply to both regular resources and non-resource URLs"
                )
            ],
        ),
    ],
)
def test_rules(kind: kinds.Kind[Any], rule: dict[str, Any], expected: list[str]) -> None:
    assert created(kind, rules=[rule]) == expected


def test_a_role_that_gathers_needs_selectors() -> None:
    assert created(kinds.CLUSTER_ROLE, aggregationRule={}) == [
        (
            "aggregationRule.clusterRoleSelectors: Required value: "
            "at least one clusterRoleSelector required if aggregationRule is non-nil"
        )
    ]


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        (kinds.ROLE_BINDING, {"kind": "User", "name": "ann"}, []),
        (kinds.ROLE_BINDING, {"kind": "ServiceAccount", "name": "robot"}, []),
        (
            kinds.CLUSTER_ROLE_BINDING,
            {"kind": "ServiceAccount", "name": "robot"},
            ["subjects[0].namespace: Required value"],
        ),
        (kinds.ROLE_BINDING, {"kind": "User"}, ["subjects[0].name: Required value"]),
        (
            kinds.ROLE_BINDING,
            {"kind": "Robot", "name": "r"},
            ['subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"'],
        ),
        (
            kinds.ROLE_BINDING,
            {"kind": "Group", "name": "g", "apiGroup": "x"},
            ['subjects[0].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"'],
        ),
    ],
)
def test_subjects(kind: kinds.Kind[Any], subject: dict[str, Any], expected: list[str]) -> None:
    ref = REF if kind is kinds.ROLE_BINDING else {**REF, "kind": "ClusterRole"}
    assert created(kind, roleRef=ref, subjects=[subject]) == expected


def test_role_references() -> None:
    assert created(kinds.CLUSTER_ROLE_BINDING, roleRef=REF) == [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'
    ]
    assert created(kinds.ROLE_BINDING, roleRef={"kind": "Role"}) == ["roleRef.name: Required value"]
    assert updated(kinds.ROLE_BINDING, {"roleRef": REF}, {"roleRef": {"name": "other"}}) == [
        (
            'roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"other"}: '
            "cannot change roleRef"
        )
    ]
    assert updated(kinds.ROLE_BINDING, {"roleRef": REF}, {"subjects": [{"kind": "User", "name": "a"}]}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"request": "AA=="}, ["spec.request: Invalid value"]),
        ({"usages": []}, ["spec.usages: Required value"]),
        ({"usages": ["flying"]}, ['spec.usages[0]: Unsupported value: "flying"']),
        ({"signerName": ""}, ["spec.signerName: Required value"]),
        (
            {"signerName": "people"},
            ['spec.signerName: Invalid value: "people": must be a fully qualified domain and path'],
        ),
        (
            {"expirationSeconds": 599},
            ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than"],
        ),
    ],
)
def test_requests_for_certificates(change: dict[str, Any], expected: list[str]) -> None:
    found = created(kinds.CERTIFICATE_SIGNING_REQUEST, spec={**REQUEST, **change})
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_a_decision_is_never_taken_back() -> None:
    kind = kinds.CERTIFICATE_SIGNING_REQUEST
    approved = {"conditions": [{"type": "Approved", "status": "True"}], "certificate": "AA=="}
    old = {"spec": REQUEST, "status": approved}
    assert updated(kind, old, {"status": {"conditions": None}}) == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]
    assert updated(kind, old, {"status": {"certificate": "AAA="}}) == [
        "status.certificate: Forbidden: updates may not change certificate content"
    ]
    assert "spec: Invalid value" in updated(kind, old, {"spec": {"signerName": "example.com/other"}})[0]


def asked(kind: kinds.Kind[Any], **body: Any) -> list[str]:
    """What is wrong with a question, which has no metadata unless it is given some."""
    return [str(error) for error in validate.validate_create(codec.decode_dict(body, kind)[0])]


def test_questions() -> None:
    pods = {"verb": "get", "resource": "pods"}
    assert asked(kinds.SELF_SUBJECT_ACCESS_REVIEW, spec={"resourceAttributes": pods}) == []
    assert asked(kinds.SELF_SUBJECT_ACCESS_REVIEW) == [
        (
            "spec.resourceAttributes: Invalid value: null: "
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    ]
    assert asked(kinds.SUBJECT_ACCESS_REVIEW, spec={"resourceAttributes": pods}) == [
        'spec.user: Invalid value: "": at least one of user or group must be specified'
    ]
    local = {"resourceAttributes": {**pods, "namespace": "other"}, "user": "ann"}
    assert asked(kinds.LOCAL_SUBJECT_ACCESS_REVIEW, spec=local) == [
        'spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace'
    ]
    assert created(kinds.TOKEN_REVIEW) == ["spec.token: Required value"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (kinds.SELF_SUBJECT_ACCESS_REVIEW, "must be empty"),
        (kinds.SUBJECT_ACCESS_REVIEW, "must be empty"),
        (kinds.LOCAL_SUBJECT_ACCESS_REVIEW, "must be empty except for namespace"),
    ],
)
def test_questions_about_access_have_no_name(kind: kinds.Kind[Any], words: str) -> None:
    somebody = {} if kind is kinds.SELF_SUBJECT_ACCESS_REVIEW else {"user": "ann"}
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "shop"}, **somebody}
    namespace = {"namespace": "shop"} if kind.namespaced else {}
    assert asked(kind, metadata=namespace, spec=spec) == []
    assert asked(kind, metadata={**namespace, "managedFields": [{"manager": "x"}]}, spec=spec) == []
    for extra in ({"name": "x"}, {"labels": {"a": "b"}}, {"generateName": "x-"}):
        (problem,) = asked(kind, metadata={**namespace, **extra}, spec=spec)
        assert problem.startswith("metadata: Invalid value: ")
        assert problem.endswith(f": {words}")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"rawSelector": "a=b"}, []),
        ({"requirements": [{"key": "a", "operator": "In", "values": ["b"]}]}, []),
        ({"requirements": [{"key": "a", "operator": "Resembles", "values": ["b"]}]}, []),
        ({}, ["requirements: Required value: when {path} is specified, requirements or rawSelector is required"]),
        (
            {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]},
            ['rawSelector: Invalid value: "a=b": may not specified at the same time as requirements'],
        ),
        (
            {"requirements": [{"key": "a", "operator": "Exists", "values": ["b"]}, {"key": "a", "operator": "NotIn"}]},
            [
                (
                    "requirements[0].values: Forbidden: "
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                ),
                "requirements[1].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ],
        ),
    ],
)
@pytest.mark.parametrize("field", ["fieldSelector", "labelSelector"])
def test_selectors_in_questions(field: str, selector: dict[str, Any], expected: list[str]) -> None:
    path = f"spec.resourceAttributes.{field}"
    spec = {"resourceAttributes": {"verb": "list", "resource": "pods", field: selector}}
    found = [f"{path}.{line.format(path=path)}" for line in expected]
    assert asked(kinds.SELF_SUBJECT_ACCESS_REVIEW, spec=spec) == found
    assert asked(kinds.SUBJECT_ACCESS_REVIEW, spec={**spec, "user": "ann"}) == found
    assert [line for line in asked(kinds.LOCAL_SUBJECT_ACCESS_REVIEW, spec=spec) if field in line] == found


def test_keys_in_selectors_of_questions() -> None:
    nameless = {"requirements": [{"operator": "In", "values": ["b"]}]}
    spec = {"resourceAttributes": {"fieldSelector": nameless, "labelSelector": nameless}}
    first, second, *_ = asked(kinds.SELF_SUBJECT_ACCESS_REVIEW, spec=spec)
    where = "spec.resourceAttributes"
    assert first == f"{where}.fieldSelector.requirements[0].key: Required value: must be specified"
    assert second.startswith(f'{where}.labelSelector.requirements[0].key: Invalid value: "": name part must be')
