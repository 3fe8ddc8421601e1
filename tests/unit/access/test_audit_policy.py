"""Audit policies: which rule decides, and what is said of wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.access.audit_policy import Attributes, AuditPolicy, BadPolicy, Decision, read_policy
from controlplane.access.values import UserInfo

ANN = UserInfo("ann", ("devs",))


def policy(*rules: dict[str, Any], **more: Any) -> AuditPolicy:
    return read_policy(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules)} | more))


def pods(verb: str = "get", **more: Any) -> Attributes:
    about = {"resource": "pods", "namespace": "default", "name": "p", "user": ANN} | more
    return Attributes(verb=verb, **about)


@pytest.mark.parametrize(
    ("rule", "asked", "fits"),
    [
        ({}, pods(), True),
        ({}, Attributes(None, "get", "/healthz"), True),
        ({"users": ["ann"]}, pods(), True),
        ({"users": ["bob"]}, pods(), False),
        ({"users": ["ann"]}, pods(user=None), False),
        ({"userGroups": ["ops", "devs"]}, pods(), True),
        ({"userGroups": ["ops"]}, pods(), False),
        ({"verbs": ["get"]}, pods(), True),
        ({"verbs": ["list"]}, pods(), False),
        ({"namespaces": ["default"]}, pods(), True),
        ({"namespaces": ["other"]}, pods(), False),
        ({"namespaces": [""]}, pods(namespace="", resource="nodes"), True),
        ({"namespaces": ["default"]}, Attributes(ANN, "get", "/healthz"), False),
        ({"resources": [{"group": ""}]}, pods(), True),
        ({"resources": [{"group": "apps"}]}, pods(), False),
        ({"resources": [{"resources": ["pods"]}]}, pods(), True),
        ({"resources": [{"resources": ["pods"]}]}, pods(subresource="log"), False),
        ({"resources": [{"resources": ["pods/log"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods/*"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["*/log"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["*/log"]}]}, pods(), False),
        ({"resources": [{"resources": ["*"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["q"]}]}, pods(), False),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["p"]}]}, pods(), True),
        ({"nonResourceURLs": ["/healthz*"]}, Attributes(ANN, "get", "/healthz/ping"), True),
        ({"nonResourceURLs": ["/healthz"]}, Attributes(ANN, "get", "/healthz/ping"), False),
        ({"nonResourceURLs": ["*"]}, Attributes(ANN, "get", "/version"), True),
        ({"nonResourceURLs": ["*"]}, pods(), False),
    ],
)
def test_which_rules_fit(rule: dict[str, Any], asked: Attributes, fits: bool) -> None:
    decided = policy({"level": "Metadata"} | rule, {"level": "Request"}).decide(asked)
    assert decided.level == ("Metadata" if fits else "Request")


def test_the_first_rule_decides() -> None:
    made = policy(
        {"level": "None", "verbs": ["watch"]},
        {"level": "Request", "omitStages": ["ResponseStarted"], "omitManagedFields": False, "verbs": ["get"]},
        {"level": "RequestResponse", "verbs": ["list"]},
        omitStages=["RequestReceived"],
        omitManagedFields=True,
    )
    assert made.decide(pods("watch")) == Decision("None", frozenset({"RequestReceived"}), True)
    assert made.decide(pods("get")) == Decision("Request", frozenset({"RequestReceived", "ResponseStarted"}), False)
    assert made.decide(pods("list")).omit_managed_fields
    assert made.decide(pods("create")) == Decision()
    assert made.decide(pods("get")).covers("Metadata")
    assert not made.decide(pods("get")).covers("RequestResponse")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "rules[0].level: Required value"),
        ({"level": "All"}, 'rules[0].level: Unsupported value: "All": supported values: "Metadata", "None", "Request"'),
        (
            {"level": "None", "omitStages": ["Never"]},
            "allowed stages are RequestReceived,ResponseStarted,ResponseComplete",
        ),
        ({"level": "None", "nonResourceURLs": ["a"]}, "rules must begin with a '/' character"),
        ({"level": "None", "nonResourceURLs": ["/*/a"]}, "'*' must be the final character of the rule"),
        (
            {"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["b"]},
            "both regular resources and non-resource URLs",
        ),
        ({"level": "None", "resources": [{"group": "a/b"}]}, "rules[0].resources[0].group: Invalid value"),
        ({"level": "None", "resources": [{"resourceNames": ["a"]}]}, "resourceNames requires at least one resource"),
        ({"level": "None", "verb": []}, "unknown field `verb`"),
    ],
)
def test_wrong_policies(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(BadPolicy) as refused:
        policy(rule)
    assert said in str(refused.value)


def test_no_policies() -> None:
    with pytest.raises(BadPolicy, match="0 rules"):
        policy()
    with pytest.raises(BadPolicy, match=r"must be of apiVersion audit.k8s.io/v1 and kind Policy"):
        read_policy("{}")
    with pytest.raises(BadPolicy, match="can't be read"):
        read_policy("[")
