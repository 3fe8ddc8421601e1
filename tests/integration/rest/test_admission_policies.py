"""Admission policies through stock kubectl, on a server whose controllers run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.store.memory import MemoryBackend, MemoryStore
from tests.fixtures.api_server import api_server
from tests.fixtures.deciders import deciding
from tests.integration.rest.conftest import Kubectl, kubectls
from tests.integration.rest.widgets import definition, widget

GROUP = "admissionregistration.k8s.io/v1"
DEPLOYMENTS = {
    "resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE", "UPDATE"]}
    ]
}


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    """The newest kubectl of this machine, for a server whose controllers run."""
    found = kubectls()
    if not found:
        pytest.skip("no kubectl on this machine")
    store = MemoryStore(MemoryBackend())
    async with api_server(tmp_path, store=store) as server, deciding(store, server.registry):
        yield Kubectl(found[-1], server, tmp_path)


def one(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """A policy or a binding."""
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec}


def deployment(name: str, replicas: int = 1, **labels: str) -> dict[str, Any]:
    """A deployment."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


async def apply(kubectl: Kubectl, *objects: Any) -> str:
    """Apply objects, which must succeed."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    return await kubectl("apply", "-f", "-", stdin=text)


async def refused(kubectl: Kubectl, obj: Any) -> str:
    """What is said to an object that is not let in."""
    return await kubectl.fails("apply", "-f", "-", stdin=json.dumps(obj))


async def test_a_policy_with_parameters_denies_and_warns(kubectl: Kubectl) -> None:
    limits = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits"}, "data": {"most": "3"}}
    policy = one(
        "ValidatingAdmissionPolicy",
        "few",
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        matchConstraints=DEPLOYMENTS,
        variables=[{"name": "most", "expression": "int(params.data.most)"}],
        validations=[
            {
                "expression": "object.spec.replicas <= variables.most",
                "messageExpression": "'no more than ' + string(variables.most) + ' replicas'",
            }
        ],
    )
    ref = {"name": "limits", "parameterNotFoundAction": "Deny"}
    binding = one(
        "ValidatingAdmissionPolicyBinding", "few-b", policyName="few", validationActions=["Deny"], paramRef=ref
    )
    await apply(kubectl, limits, policy, binding)
    await apply(kubectl, deployment("web", 3))
    said = "ValidatingAdmissionPolicy 'few' with binding 'few-b' denied request: no more than 3 replicas"
    assert f'The deployments "many" is invalid: : {said}' in await refused(kubectl, deployment("many", 4))
    # The scale of a deployment is another resource, which this policy is not for; a patch of the deployment is not.
    assert said in await kubectl.fails("patch", "deployment", "web", "-p", '{"spec":{"replicas":9}}')

    await kubectl("delete", "configmap", "limits")
    said = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert said in await refused(kubectl, deployment("other"))

    warning = {**binding, "spec": {**binding["spec"], "validationActions": ["Warn"]}}
    await apply(kubectl, {**limits, "data": {"most": "1"}}, warning)
    await apply(kubectl, deployment("many", 4))
    said = "Validation failed for ValidatingAdmissionPolicy 'few' with binding 'few-b': no more than 1 replicas"
    assert f"Warning: {said}" in kubectl.said


async def test_policies_are_for_users_kinds_and_take_parameters_of_them(kubectl: Kubectl) -> None:
    await apply(kubectl, definition())
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s")
    rules = [{"apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"], "operations": ["*"]}]
    policy = one(
        "ValidatingAdmissionPolicy",
        "sized",
        paramKind={"apiVersion": "example.com/v1", "kind": "Widget"},
        matchConstraints={"resourceRules": rules},
        matchConditions=[{"name": "not-itself", "expression": "request.name != 'pattern'"}],
        validations=[
            {
                "expression": "request.operation == 'DELETE' || object.spec.size == params.spec.size",
                "reason": "Forbidden",
            }
        ],
    )
    ref = {"name": "pattern", "parameterNotFoundAction": "Allow"}
    binding = one(
        "ValidatingAdmissionPolicyBinding", "sized-b", policyName="sized", validationActions=["Deny"], paramRef=ref
    )
    await apply(kubectl, widget("pattern", size="large"), policy, binding)
    assert 'widgets.example.com "small" is forbidden: ValidatingAdmissionPolicy' in await refused(
        kubectl, widget("small", size="small")
    )
    await apply(kubectl, widget("big", size="large"))
    await kubectl("delete", "widget", "big")


async def test_objects_are_changed_on_their_way_in(kubectl: Kubectl) -> None:
    container = "Object.spec.template.spec.containers{name: 'side', image: 's:1'}"
    spec = (
        f"Object.spec{{template: Object.spec.template{{spec: Object.spec.template.spec{{containers: [{container}]}}}}}}"
    )
    changing = one(
        "MutatingAdmissionPolicy",
        "side",
        matchConstraints=DEPLOYMENTS,
        failurePolicy="Fail",
        reinvocationPolicy="Never",
        mutations=[
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": f"Object{{spec: {spec}}}"}},
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": "[JSONPatch{op: 'add', path: '/metadata/annotations/' + "
                    "jsonpatch.escapeKey('example.com/by'), value: request.userInfo.username}]"
                },
            },
        ],
    )
    await apply(kubectl, changing, one("MutatingAdmissionPolicyBinding", "side-b", policyName="side"))
    await apply(kubectl, deployment("web"))
    found = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    containers = found["spec"]["template"]["spec"]["containers"]
    assert [(one["name"], one["image"], one["imagePullPolicy"]) for one in containers] == [
        ("c", "i:1", "IfNotPresent"),
        ("side", "s:1", "IfNotPresent"),
    ]
    assert found["metadata"]["annotations"]["example.com/by"]


async def test_what_controllers_write_is_judged_too(kubectl: Kubectl) -> None:
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]
    policy = one(
        "ValidatingAdmissionPolicy",
        "no-pods",
        matchConstraints={"resourceRules": rules},
        validations=[{"expression": "has(object.metadata.labels.fine)", "message": "not fine"}],
    )
    binding = one("ValidatingAdmissionPolicyBinding", "no-b", policyName="no-pods", validationActions=["Deny"])
    await apply(kubectl, policy, binding, deployment("web"))
    condition = "--for=condition=ReplicaFailure"
    await kubectl("wait", condition, "deployment/web", "--timeout=20s")
    found = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    (said,) = [one["message"] for one in found["status"]["conditions"] if one["type"] == "ReplicaFailure"]
    assert "ValidatingAdmissionPolicy 'no-pods' with binding 'no-b' denied request: not fine" in said


async def test_the_status_says_what_does_not_fit(kubectl: Kubectl) -> None:
    policy = one(
        "ValidatingAdmissionPolicy",
        "typo",
        matchConstraints=DEPLOYMENTS,
        validations=[{"expression": "object.replicas > 1"}],
    )
    await apply(kubectl, policy)
    await kubectl("wait", "--for=jsonpath={.status.observedGeneration}=1", "validatingadmissionpolicy/typo")
    found = json.loads(await kubectl("get", "validatingadmissionpolicy", "typo", "-o", "json"))
    (warning,) = found["status"]["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[0].expression"
    assert warning["warning"].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^"
    )
    bad = {**policy, "spec": {**policy["spec"], "validations": [{"expression": "variables.none"}]}}
    said = await refused(kubectl, bad)
    assert 'spec.validations[0].expression: Invalid value: "variables.none": compilation failed: ERROR:' in said
    assert "undefined field 'none'" in said
