"""Webhooks, policies and served groups: what is filled in, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane.admission.warnings import warnings_for
from mizzen.api import codec, defaults, kinds, validate
from mizzen.api.kinds import Kind

LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
NO_PARAMS = (
    'webhooks[0].matchConditions[0].expression: Invalid value: "params == null": compilation failed: '
    "ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params == null\n | ^"
)
DOMAIN = 'webhooks[0].name: Invalid value: "{}": should be a domain with at least three segments separated by dots'
RULE: dict[str, Any] = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
WEBHOOK: dict[str, Any] = {
    "name": "pods.example.com",
    "clientConfig": {"service": {"name": "hook", "namespace": "default"}},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
MATCH: dict[str, Any] = {"resourceRules": [RULE]}
POLICY: dict[str, Any] = {"matchConstraints": MATCH, "validations": [{"expression": "true"}]}
MUTATION: dict[str, Any] = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}


def made(kind: Kind[Any], **content: Any) -> Any:
    """An object named `a` with its defaults."""
    return defaults.apply(codec.decode_dict({"metadata": {"name": "a"}} | content, kind)[0])


def said(kind: Kind[Any], **content: Any) -> list[str]:
    """What is wrong with a new object."""
    return [str(error) for error in validate.validate_create(made(kind, **content))]


def test_webhooks_get_their_defaults() -> None:
    (webhook,) = made(kinds.MUTATING_WEBHOOKS, webhooks=[WEBHOOK]).webhooks
    assert (webhook.failure_policy, webhook.match_policy, webhook.timeout_seconds) == ("Fail", "Equivalent", 10)
    assert (webhook.reinvocation_policy, webhook.rules[0].scope, webhook.client_config.service.port) == (
        "Never",
        "*",
        443,
    )
    assert webhook.namespace_selector is not None


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, []),
        (
            {"name": "pods"},
            [DOMAIN.format("pods")],
        ),
        ({"sideEffects": None}, ["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"]),
        (
            {"sideEffects": "Some"},
            ['webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'],
        ),
        (
            {"admissionReviewVersions": ["v9"]},
            ['webhooks[0].admissionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1'],
        ),
        (
            {"timeoutSeconds": 31},
            ["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
        ),
        ({"clientConfig": {}}, ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"]),
        (
            {"clientConfig": {"url": "http://x"}},
            ["webhooks[0].clientConfig.url: Invalid value: \"http://x\": 'https' is the only allowed URL scheme"],
        ),
        (
            {"rules": [RULE | {"operations": ["*", "CREATE"]}]},
            [
                (
                    'webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: '
                    "if '*' is present, must not specify other operations"
                )
            ],
        ),
        (
            {"admissionReviewVersions": ["v1beta1", "v1beta1", "V"]},
            [
                'webhooks[0].admissionReviewVersions[1]: Invalid value: "v1beta1": duplicate version',
                f'webhooks[0].admissionReviewVersions[2]: Invalid value: "V": {LABEL}',
            ],
        ),
        ({"matchConditions": [{"name": "a", "expression": "authorizer.path('/x').check('get').allowed()"}]}, []),
        (
            {"matchConditions": [{"name": "a", "expression": "request.name"}]},
            [
                'webhooks[0].matchConditions[0].expression: Invalid value: "request.name": must evaluate to bool',
            ],
        ),
        (
            {"matchConditions": [{"name": "a", "expression": "params == null"}]},
            [NO_PARAMS],
        ),
        ({"rules": [RULE | {"resources": []}]}, ["webhooks[0].rules[0].resources: Required value"]),
    ],
)
def test_webhooks_that_are_refused(change: dict[str, Any], wrong: list[str]) -> None:
    assert said(kinds.VALIDATING_WEBHOOKS, webhooks=[WEBHOOK | change]) == wrong


def test_conditions_that_stay_as_they_are_need_not_compile() -> None:
    def having(name: str, timeout_s: int) -> Any:
        condition = {"name": name, "expression": "object.gone("}
        webhook = WEBHOOK | {"matchConditions": [condition], "timeoutSeconds": timeout_s}
        return made(kinds.VALIDATING_WEBHOOKS, metadata={"name": "a", "resourceVersion": "1"}, webhooks=[webhook])

    assert validate.validate_update(having("a", 3), having("a", 5)) == ()
    (error,) = validate.validate_update(having("b", 3), having("a", 5))
    assert (error.field, error.value) == ("webhooks[0].matchConditions[0].expression", "object.gone(")


@pytest.mark.parametrize(
    ("kind", "spec", "wrong"),
    [
        (kinds.VALIDATING_POLICY, POLICY, []),
        (kinds.VALIDATING_POLICY, POLICY | {"matchConstraints": None}, ["spec.matchConstraints: Required value"]),
        (
            kinds.VALIDATING_POLICY,
            POLICY | {"validations": []},
            ["spec.validations: Required value: validations or auditAnnotations must be specified"],
        ),
        (
            kinds.MUTATING_POLICY,
            {"matchConstraints": MATCH, "mutations": [MUTATION], "reinvocationPolicy": "Never"},
            [],
        ),
        (
            kinds.MUTATING_POLICY,
            {"matchConstraints": MATCH, "mutations": [{"patchType": "JSONPatch"}], "reinvocationPolicy": "Never"},
            ["spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch"],
        ),
        (kinds.VALIDATING_POLICY_BINDING, {"policyName": "p", "validationActions": ["Deny"]}, []),
        (kinds.VALIDATING_POLICY_BINDING, {"policyName": "p"}, ["spec.validationActions: Required value"]),
        (kinds.MUTATING_POLICY_BINDING, {}, ["spec.policyName: Required value"]),
    ],
)
def test_policies_and_bindings(kind: Kind[Any], spec: dict[str, Any], wrong: list[str]) -> None:
    assert said(kind, spec=spec) == wrong


def test_a_served_group_is_named_for_what_it_is() -> None:
    spec = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15}
    assert said(kinds.API_SERVICE, metadata={"name": "v1.example.com"}, spec=spec) == []
    assert [line.partition(":")[0] for line in said(kinds.API_SERVICE, spec=spec | {"versionPriority": 0})] == [
        "metadata.name",
        "spec.versionPriority",
    ]


@pytest.mark.parametrize(
    "kind",
    [kind for kind in kinds.KINDS if kind.group.startswith("admissionregistration")],
    ids=lambda kind: kind.plural,
)
def test_upstreams_own_objects_are_whole_after_defaults(kind: Kind[Any], upstream: Path) -> None:
    path = upstream / "roundtrip" / f"admissionregistration.k8s.io.v1.{kind.kind}.json"
    if not path.exists():
        pytest.skip(f"upstream has no fixture of {kind.kind}")
    obj = codec.decode_json(path.read_bytes(), kind)[0]
    assert msgspec.json.decode(codec.encode_json(defaults.apply(obj))) == msgspec.json.decode(path.read_bytes())


def test_whoever_relies_on_what_has_no_effect_is_warned() -> None:
    warned = warnings_for(made(kinds.FLOW_SCHEMA, metadata={"name": "all"}))
    assert warned == ("FlowSchema is stored, but this server does not act on it",)
    assert warnings_for(made(kinds.VALIDATING_WEBHOOKS, webhooks=[WEBHOOK])) == ()
