"""Admission policies: whom they concern, what they say, and what they make of objects."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from controlplane.access.values import UserInfo
from controlplane.admission import Operation
from controlplane.reconcilers import policystatus
from mizzen.api import codec, kinds
from mizzen.api.errors import ApiError
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from mizzen.base.ids import SeededIds
from mizzen.engine.values import Key
from tests.fixtures.admission import NOW_MS, Cluster

ALL = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}
MATCH = {"resourceRules": [ALL]}
DENIED = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
TWO = [{"name": "one", "expression": "1"}, {"name": "two", "expression": "variables.one + 1"}]
COMPOSITED = 'composited variable "bad" fails to evaluate: no such key: no'
NOTHING = {"name": "c", "expression": "object.data.z == 'z'"}
TOLD = {"expression": "false", "message": " told "}
OOPS = (
    'spec.validations[0].expression: Invalid value: "request.oops": compilation failed: ERROR: <input>:1:8: undefined'
)
REPLICAS = (
    "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^"
)
_UIDS = count()


def made(type_: Any, name: str, **spec: Any) -> Any:
    """An object of the configuration of admission; each has a uid of its own."""
    metadata = {"name": name, "uid": str(next(_UIDS)), "generation": 1}
    return codec.from_dict({"metadata": metadata, "spec": spec}, type_)


def validating(*expressions: str, name: str = "p", **spec: Any) -> Any:
    validations = [{"expression": one} for one in expressions]
    spec = {"matchConstraints": MATCH, "validations": validations, **spec}
    return made(admission.ValidatingAdmissionPolicy, name, **spec)


def bound(*actions: str, **spec: Any) -> Any:
    spec = {"policyName": "p", "validationActions": list(actions or ("Deny",)), **spec}
    return made(admission.ValidatingAdmissionPolicyBinding, "b", **spec)


def mutating(*mutations: tuple[str, str], name: str = "p", **spec: Any) -> tuple[Any, Any]:
    changes = [{"patchType": f"{kind[0].upper()}{kind[1:]}", kind: {"expression": text}} for kind, text in mutations]
    for change in changes:
        change["patchType"] = {"JsonPatch": "JSONPatch"}.get(change["patchType"], change["patchType"])
    spec = {"matchConstraints": MATCH, "mutations": changes, "reinvocationPolicy": "Never", **spec}
    return (
        made(admission.MutatingAdmissionPolicy, name, **spec),
        made(admission.MutatingAdmissionPolicyBinding, f"{name}-b", policyName=name),
    )


def settings(name: str = "m", **data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name), data=data)


def cluster(*objects: Any) -> Cluster:
    return Cluster.with_namespaces("shop").having(*objects)


def said(where: Cluster, obj: Any = None, **more: Any) -> str:
    """What a refused creation says; empty where it is not refused."""
    try:
        where.create(obj or settings(a="x"), "shop", **more)
    except ApiError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (validating("object.data.a == 'x'"), ""),
        (validating("object.data.a == 'y'"), "failed expression: object.data.a == 'y'"),
        (validating("object.data.b == 'y'"), "expression 'object.data.b == 'y'' resulted in error: no such key: b"),
        (validating("object.data.b == 'y'", failurePolicy="Ignore"), ""),
        (validating("object.data.a == 'y'", failurePolicy="Ignore"), "failed expression: object.data.a == 'y'"),
        (validating("request.operation == 'CREATE' && oldObject == null && request.name == 'm'"), ""),
        (validating("request.userInfo.username == 'jo' && 'dev' in request.userInfo.groups"), ""),
        (validating("namespaceObject.metadata.name == 'shop'"), ""),
        (validating("variables.two == 2", variables=TWO), ""),
        (validating("true || variables.bad", variables=[{"name": "bad", "expression": "object.no.such"}]), ""),
        (
            validating("variables.bad == 1", variables=[{"name": "bad", "expression": "object.no.such"}]),
            "expression 'variables.bad == 1' resulted in error: " + COMPOSITED,
        ),
        (validating("false", matchConditions=[{"name": "c", "expression": "object.data.a == 'z'"}]), ""),
        (
            validating("true", matchConditions=[{"name": "c", "expression": "object.data.z == 'z'"}]),
            "expression 'object.data.z == 'z'' resulted in error: no such key: z",
        ),
        (
            validating(
                "true",
                matchConditions=[NOTHING, {"name": "d", "expression": "false"}],
            ),
            "",
        ),
        (validating("false", matchConstraints={"resourceRules": [{**ALL, "operations": ["UPDATE"]}]}), ""),
        (validating("false", matchConstraints={"resourceRules": [{**ALL, "resourceNames": ["other"]}]}), ""),
        (validating("false", matchConstraints={**MATCH, "excludeResourceRules": [ALL]}), ""),
        (validating("false", matchConstraints={**MATCH, "objectSelector": {"matchLabels": {"a": "b"}}}), ""),
        (validating("false", matchConstraints={**MATCH, "namespaceSelector": {"matchLabels": {"a": "b"}}}), ""),
        (validating("false", matchConstraints={"resourceRules": [{**ALL, "apiGroups": ["apps"]}]}), ""),
        (
            validating(validations=[{**TOLD, "messageExpression": "'made of ' + object.data.a"}]),
            "made of x",
        ),
        (validating(validations=[{**TOLD, "messageExpression": "object.data.no"}]), "told"),
        (validating(validations=[{**TOLD, "messageExpression": "'a\\nb'"}]), "told"),
        (
            validating("authorizer.group('').resource('pods').namespace('shop').check('delete').allowed()"),
            "failed expression: authorizer.group('').resource('pods').namespace('shop').check('delete').allowed()",
        ),
        (validating("authorizer.group('').resource('pods').namespace('shop').check('get').allowed()"), ""),
        (validating("authorizer.requestResource.check('get').allowed() == false"), ""),
        (validating("authorizer.serviceAccount('shop', 'x').path('/healthz').check('get').allowed() == false"), ""),
        (validating("quantity('1Gi').isGreaterThan(quantity('1Mi'))"), ""),
    ],
)  # fmt: skip
def test_what_a_policy_says(policy: Any, why: str) -> None:
    role = rbac.Role(
        metadata=meta.ObjectMeta(name="see", namespace="shop"),
        rules=(rbac.PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",)),),
    )
    binding = rbac.RoleBinding(
        metadata=meta.ObjectMeta(name="see", namespace="shop"),
        role_ref=rbac.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="see"),
        subjects=(rbac.Subject(kind="User", name="jo"),),
    )
    answer = said(cluster(policy, bound(), role, binding), user=UserInfo("jo", ("dev",)))
    assert answer == (f'configmaps "m" is forbidden: {DENIED}{why}' if why else "")


@pytest.mark.parametrize(
    ("reason", "code"), [(None, 422), ("Forbidden", 403), ("Unauthorized", 401), ("RequestEntityTooLarge", 413)]
)
def test_the_reason_of_a_denial_is_its_code(reason: str | None, code: int) -> None:
    policy = validating(validations=[{"expression": "false", "reason": reason}])
    with pytest.raises(ApiError) as refused:
        cluster(policy, bound()).create(settings(), "shop")
    status = refused.value.status
    assert (status.code, status.reason) == (code, reason or "Invalid")
    assert status.details is not None
    assert [cause.message for cause in status.details.causes] == [f"{DENIED}failed expression: false"]


def test_actions_are_warnings_and_nothing_at_all() -> None:
    warned = cluster(validating("false"), bound("Warn", "Audit")).create(settings(), "shop")
    assert warned.warnings == (
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: false",
    )
    assert cluster(validating("false"), bound("Audit")).create(settings(), "shop").warnings == ()


FAILURES = "validation.policy.admission.k8s.io/validation_failure"


def test_what_the_audit_log_is_told() -> None:
    noted = [
        {"key": "name", "valueExpression": "' it is ' + object.metadata.name"},
        {"key": "nothing", "valueExpression": "null"},
    ]
    policy = validating("true", "object.metadata.name == 'x'", auditAnnotations=noted)
    admitted = cluster(policy, bound("Audit")).create(settings(), "shop")
    assert dict(admitted.annotations) == {
        "p/name": "it is m",
        FAILURES: '[{"message":"failed expression: object.metadata.name == \'x\'","policy":"p","binding":"b",'
        '"expressionIndex":1,"validationActions":["Audit"]}]',
    }
    with pytest.raises(ApiError) as refused:
        cluster(policy, bound("Deny")).create(settings(), "shop")
    assert refused.value.annotations == {"p/name": "it is m"}
    assert cluster(validating("true"), bound("Audit")).create(settings(), "shop").annotations == {}


@pytest.mark.parametrize(("failure_policy", "is_refused"), [("Fail", True), ("Ignore", False)])
def test_an_annotation_that_can_not_be_made(failure_policy: str, is_refused: bool) -> None:
    noted = [{"key": "a", "valueExpression": "object.data.none"}]
    policy = validating(auditAnnotations=noted, failurePolicy=failure_policy)
    why = "valueExpression 'object.data.none' resulted in error: no such key: none"
    assert said(cluster(policy, bound("Audit"))) == (
        f'configmaps "m" is forbidden: {DENIED}{why}' if is_refused else ""
    )


PARAM = {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ({"name": "limits", "parameterNotFoundAction": "Deny"}, "failed expression: object.data.a == params.data.a"),
        ({"name": "none", "parameterNotFoundAction": "Allow"}, ""),
        (
            {"name": "none", "parameterNotFoundAction": "Deny"},
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
        ),
        ({"name": "limits", "namespace": "other", "parameterNotFoundAction": "Allow"}, ""),
        (
            {"selector": {"matchLabels": {"for": "p"}}, "parameterNotFoundAction": "Deny"},
            "failed expression: object.data.a == params.data.a",
        ),
    ],
)
def test_parameters(ref: dict[str, Any], why: str) -> None:
    limits = core.ConfigMap(
        metadata=meta.ObjectMeta(name="limits", namespace="shop", labels={"for": "p"}), data={"a": "z"}
    )
    policy = validating("object.data.a == params.data.a", paramKind=PARAM)
    answer = said(cluster(limits, policy, bound(paramRef=ref)))
    assert answer == (f'configmaps "m" is forbidden: {DENIED}{why}' if why else "")


def test_a_kind_of_parameters_that_there_is_not() -> None:
    policy = validating("true", paramKind={"apiVersion": "example.com/v1", "kind": "Limit"})
    where = cluster(policy, bound(paramRef={"name": "x", "parameterNotFoundAction": "Allow"}))
    assert said(where).endswith("failed to configure binding: paramKind kind `example.com/v1, Kind=Limit` not known")


def test_an_expression_that_costs_too_much_is_cancelled() -> None:
    many = settings(**{f"k{i}": "x" * 50 for i in range(400)})
    policy = validating("object.data.all(a, object.data.all(b, a + b != 'z'))")
    assert said(cluster(policy, bound()), many).endswith("operation cancelled: actual cost limit exceeded")


def test_the_budget_of_a_policy_ends() -> None:
    many = settings(**{f"k{i}": "x" for i in range(60)})
    policy = validating(*[f"object.data.all(a, object.data.all(b, a + b != 'z{i}'))" for i in range(120)])
    why = "validation failed due to running out of cost budget, no further validation rules will be run"
    assert said(cluster(policy, bound()), many).endswith(why)


def test_deletes_are_judged_by_what_there_was() -> None:
    where = cluster(validating("request.operation != 'DELETE' || (object == null && oldObject.data.a == 'x')"), bound())
    old = settings(a="y")
    with pytest.raises(ApiError, match="denied request"):
        where.ask(Operation.DELETE, kinds.CONFIG_MAP, "shop", old, old)
    old = settings(a="x")
    where.ask(Operation.DELETE, kinds.CONFIG_MAP, "shop", old, old)


def test_policies_are_no_concern_of_policies() -> None:
    rules = {"resourceRules": [{**ALL, "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}
    where = cluster(validating("false", matchConstraints=rules), bound())
    where.create(made(admission.ValidatingAdmissionPolicyBinding, "c", policyName="p", validationActions=["Deny"]), "")
    assert said(where)


# -- changes -----------------------------------------------------------------------------------------------------------

LABEL = "Object{metadata: Object.metadata{labels: {'by': 'p', 'had': string(size(object.data))}}}"


def test_objects_are_changed_in_order() -> None:
    first = mutating(
        ("applyConfiguration", LABEL),
        ("jsonPatch", "[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('b'), value: 'two'}]"),
    )
    then = mutating(("applyConfiguration", "Object{data: {'c': object.data.b + '!'}}"), name="q")
    made_of = cluster(*then, *first).create(settings(a="x"), "shop").object
    assert made_of.data == {"a": "x", "b": "two", "c": "two!"}
    assert made_of.metadata.labels == {"by": "p", "had": "1"}
    assert made_of.metadata.name == "m"


def test_a_policy_is_asked_again_if_it_wants_to() -> None:
    counting = "Object{data: {'count': string(size(object.data))}}"
    never = mutating(("applyConfiguration", counting))
    later = mutating(("applyConfiguration", "Object{data: {'z': 'z'}}"), name="q")
    assert cluster(*never, *later).create(settings(a="x"), "shop").object.data["count"] == "1"
    again = mutating(("applyConfiguration", counting), reinvocationPolicy="IfNeeded")
    assert cluster(*again, *later).create(settings(a="x"), "shop").object.data["count"] == "3"


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("applyConfiguration", "Object{oops: 'x'}", "error applying patch: failed to convert patch object to typed"),
        ("applyConfiguration", "Object{metadata: Object.metadata{finalizers: object.no}}", "no such key: no"),
        ("jsonPatch", "[JSONPatch{op: 'remove', path: '/data/zzz'}]", "error applying JSON Patch: "),
    ],
)
def test_a_change_that_cannot_be_made_refuses_or_is_ignored(kind: str, text: str, why: str) -> None:
    answer = said(cluster(*mutating((kind, text))))
    assert answer.startswith("policy 'p' with binding 'p-b' denied request: ")
    assert why in answer
    assert said(cluster(*mutating((kind, text), failurePolicy="Ignore"))) == ""


def test_atomic_parts_are_not_changed_in_part() -> None:
    match = {"resourceRules": [{**ALL, "resources": ["services"]}]}
    apply = "Object{spec: Object.spec{externalIPs: ['::']}}"
    policy = mutating(("applyConfiguration", apply), matchConstraints=match)
    service = core.Service(metadata=meta.ObjectMeta(name="s"), spec=core.ServiceSpec(ports=(core.ServicePort(port=1),)))
    assert "may not mutate atomic arrays, maps or structs: .spec.externalIPs" in said(cluster(*policy), service)


# -- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (validating("1"), 'spec.validations[0].expression: Invalid value: "1": must evaluate to bool'),
        (
            validating("params.x == 1"),
            "compilation failed: ERROR: <input>:1:7: undeclared reference to 'params.x'",
        ),
        (
            validating("request.oops"),
            OOPS,
        ),
        (
            validating("true", auditAnnotations=[{"key": "k", "valueExpression": "true"}]),
            'auditAnnotations[0].valueExpression: Invalid value: "true": must evaluate to one of [string null_type]',
        ),
        (
            mutating(("applyConfiguration", "{'a': 1}"))[0],
            "spec.mutations[0].applyConfiguration.expression: Invalid value: \"{'a': 1}\": must evaluate to Object",
        ),
        (
            mutating(("applyConfiguration", "Object{spec: Object.oops{}}"))[0],
            "unexpected type name 'Object.oops', expected 'Object.spec', which matches field name path",
        ),
    ],
)  # fmt: skip
def test_expressions_are_checked_when_they_are_written(policy: Any, why: str) -> None:
    assert why in said_of(policy)


def said_of(policy: Any) -> str:
    with pytest.raises(ApiError) as refused:
        cluster().create(policy, "")
    return refused.value.message


def test_the_status_says_what_does_not_fit_the_kinds() -> None:
    rules = [{**ALL, "apiGroups": ["apps"], "resources": ["deployments"]}]
    policy = validating("object.replicas > 1", "object.spec.replicas > 1", matchConstraints={"resourceRules": rules})
    key = Key(kinds.VALIDATING_POLICY.resource, "", "p")
    (effect,) = policystatus.reconcile(key, cluster(policy).view, NOW_MS, SeededIds(1)).effects
    status = effect.object.status  # type: ignore[union-attr]
    assert status.observed_generation == 1
    assert [(one.field_ref, one.warning) for one in status.type_checking.expression_warnings] == [
        (
            "spec.validations[0].expression",
            REPLICAS,
        )
    ]
    done = effect.object  # type: ignore[union-attr]
    assert policystatus.reconcile(key, cluster(done).view, NOW_MS, SeededIds(1)).effects == ()
