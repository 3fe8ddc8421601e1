"""What rules allow and cover, who may give what, and the roles that every cluster has."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.access import escalation, policy
from controlplane.access.aggregate import aggregated
from controlplane.access.grants import grants_of
from controlplane.access.rules import EVERYTHING, Grants, described, missing
from controlplane.access.values import UserInfo, Verdict, Wanted
from mizzen.api import kinds, validate
from mizzen.api.errors import Forbidden, NotFound
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from tests.fixtures.admission import Cluster

GROUP = "rbac.authorization.k8s.io"
PODS = rbac.PolicyRule(verbs=("get", "list"), api_groups=("",), resources=("pods",))
ANN = UserInfo("ann", ("devs",))


def test_what_covers_what() -> None:
    everything = EVERYTHING
    assert missing((PODS,), everything) == ()
    assert missing(everything, (PODS,)) == everything
    named = replace(PODS, resource_names=("a",))
    assert missing((named,), (PODS,)) == ()
    assert missing((PODS,), (named,)) == (PODS,)
    scale = rbac.PolicyRule(verbs=("get",), api_groups=("apps",), resources=("deployments/scale",))
    assert missing((scale,), (replace(scale, resources=("*/scale",)),)) == ()
    halves = tuple(replace(PODS, verbs=(verb,)) for verb in PODS.verbs)
    assert missing((PODS,), halves) == (), "several rules together cover one"
    urls = rbac.PolicyRule(verbs=("get",), non_resource_urls=("/healthz/*",))
    assert missing((replace(urls, non_resource_urls=("/healthz/a",)),), (urls,)) == ()
    assert described(named) == '{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get" "list"]}'


def write(new: Any, old: Any = None, leave: tuple[str, ...] = (), *objects: Any) -> None:
    view = Cluster(objects).view

    def decide(wanted: Wanted) -> Verdict:
        return Verdict(wanted.verb in leave)

    escalation.check(ANN, old, new, decide, lambda namespace: grants_of(ANN, namespace, view), view)


def role(name: str, *rules: rbac.PolicyRule, namespace: str = "shop") -> rbac.Role:
    return rbac.Role(metadata=meta.ObjectMeta(name=name, namespace=namespace), rules=rules)


def binding(name: str, ref: str, user: str = "ann") -> rbac.RoleBinding:
    return rbac.RoleBinding(
        metadata=meta.ObjectMeta(name=name, namespace="shop"),
        role_ref=rbac.RoleRef(api_group=GROUP, kind="Role", name=ref),
        subjects=(rbac.Subject(kind="User", name=user),),
    )


def test_nobody_gives_more_than_they_have() -> None:
    held = (role("mine", PODS), binding("mine", "mine"), role("all", *EVERYTHING[:1]))
    write(role("new", PODS), None, (), *held)
    with pytest.raises(Forbidden) as refused:
        write(role("new", replace(PODS, verbs=("get", "delete"))), None, (), *held)
    assert refused.value.message == (
        'roles.rbac.authorization.k8s.io "new" is forbidden: user "ann" (groups=["devs"]) is attempting to grant RBAC '
        'permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'
    )
    write(role("new", *EVERYTHING[:1]), None, ("escalate",), *held)
    write(binding("new", "mine", "bob"), None, (), *held)
    with pytest.raises(Forbidden, match="not currently held"):
        write(binding("new", "all", "bob"), None, (), *held)
    write(binding("new", "all", "bob"), None, ("bind",), *held)
    with pytest.raises(NotFound, match='"none" not found'):
        write(binding("new", "none", "bob"), None, (), *held)


def test_what_gives_nothing_new_is_nobodys_business() -> None:
    strong = role("strong", *EVERYTHING[:1])
    write(replace(strong, metadata=replace(strong.metadata, labels={"a": "b"})), strong)
    write(replace(binding("b", "gone"), metadata=meta.ObjectMeta(name="b", namespace="shop")), binding("b", "gone"))


def test_who_gathers_rules_must_have_all() -> None:
    selector = meta.LabelSelector(match_labels={"a": "b"})
    gathers = rbac.ClusterRole(
        metadata=meta.ObjectMeta(name="g"), aggregation_rule=rbac.AggregationRule(cluster_role_selectors=(selector,))
    )
    with pytest.raises(Forbidden, match=r'Resources:\["\*"\]'):
        write(gathers)
    write(gathers, gathers)


def test_the_default_roles_are_valid_and_hold_one_another() -> None:
    roles = {role.metadata.name: role for role in policy.cluster_roles()}
    for obj in (*roles.values(), *policy.cluster_role_bindings()):
        assert validate.validate_create(obj) == ()
    view, edit, admin = (roles[name].rules for name in ("view", "edit", "admin"))
    assert missing(view, edit) == missing(edit, admin) == ()
    assert missing(edit, view)
    secrets = rbac.PolicyRule(verbs=("get",), api_groups=("",), resources=("secrets",))
    assert missing((secrets,), view), "who may only look does not see secrets"
    assert all(binding.role_ref.name in roles for binding in policy.cluster_role_bindings())
    for name in ("view", "edit", "admin"):
        rule = roles[name].aggregation_rule
        assert rule is not None
        assert aggregated(rule, name, roles.values()) == roles[name].rules


def test_the_default_roles_are_brought_up_to_date() -> None:
    wanted = next(role for role in policy.cluster_roles() if role.metadata.name == "system:discovery")
    extra = rbac.PolicyRule(verbs=("get",), non_resource_urls=("/mine",))
    found = replace(wanted, rules=(extra,), metadata=replace(wanted.metadata, labels={"my": "label"}))
    updated = policy.role_up_to_date(found, wanted)
    assert updated.rules[0] == extra
    assert missing(wanted.rules, updated.rules) == ()
    assert updated.metadata.labels == {"my": "label", "kubernetes.io/bootstrapping": "rbac-defaults"}
    assert policy.role_up_to_date(updated, wanted) == updated
    alone = replace(found, metadata=replace(found.metadata, annotations={policy.AUTO_UPDATE: "false"}))
    assert policy.role_up_to_date(alone, wanted) is alone
    given = policy.cluster_role_bindings()[0]
    bare = replace(given, subjects=())
    assert policy.binding_up_to_date(bare, given).subjects == given.subjects
    other = replace(given, role_ref=replace(given.role_ref, name="other"))
    assert policy.binding_up_to_date(other, given) is other


def test_every_kind_of_the_default_roles_is_named_right() -> None:
    known = {(kind.group, kind.plural) for kind in kinds.KINDS}
    named = {
        (group, resource.partition("/")[0])
        for role in policy.cluster_roles()
        for rule in role.rules
        for group in rule.api_groups
        for resource in rule.resources
    }
    own = {("", "pods"), ("", "serviceaccounts"), ("apps", "deployments"), (GROUP, "roles")}
    assert own <= known & named


def test_components_have_roles_of_their_own() -> None:
    """A scheduler beside ours may bind pods and no more than that takes; nobody else has its role."""
    roles = {role.metadata.name: role for role in policy.cluster_roles()}
    bound = {binding.metadata.name: binding.subjects for binding in policy.cluster_role_bindings()}
    (scheduler,) = bound["system:kube-scheduler"]
    assert (scheduler.kind, scheduler.name) == ("User", "system:kube-scheduler")
    grants = Grants([("a binding", roles["system:kube-scheduler"].rules)])
    may = [
        Wanted("create", "", "pods/binding", "a", "p"),
        Wanted("update", "coordination.k8s.io", "leases", "a", "kube-scheduler"),
    ]
    may_not = [Wanted("get", "", "secrets", "a", "s"), Wanted("update", "coordination.k8s.io", "leases", "a", "other")]
    assert [grants.decide(wanted).allowed for wanted in (*may, *may_not)] == [True, True, False, False]
    assert "system:node-bootstrapper" not in bound
