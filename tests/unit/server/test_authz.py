"""The authorizer over a cache: what it finds, what it says, and that it notices every change."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controlplane.access.values import UserInfo, Wanted
from controlplane.server.authz import Authorizer
from mizzen.api.errors import Forbidden
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from mizzen.engine import canonical
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Entry
from tests.fixtures.admission import Cluster

ANN = UserInfo("ann", ("devs", "system:authenticated"))
GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, resources: str, group: str = "", names: tuple[str, ...] = ()) -> rbac.PolicyRule:
    return rbac.PolicyRule(
        verbs=tuple(verbs.split()), api_groups=(group,), resources=tuple(resources.split()), resource_names=names
    )


def role(name: str, *rules: rbac.PolicyRule, namespace: str = "") -> rbac.Role | rbac.ClusterRole:
    metadata = meta.ObjectMeta(name=name, namespace=namespace)
    return rbac.Role(metadata=metadata, rules=rules) if namespace else rbac.ClusterRole(metadata=metadata, rules=rules)


def bind(
    name: str, ref: str, *subjects: tuple[str, str], namespace: str = "", kind: str = "ClusterRole"
) -> rbac.RoleBinding | rbac.ClusterRoleBinding:
    metadata = meta.ObjectMeta(name=name, namespace=namespace)
    whom = tuple(rbac.Subject(kind=kind_, name=name_) for kind_, name_ in subjects)
    target = rbac.RoleRef(api_group=GROUP, kind=kind, name=ref)
    if namespace:
        return rbac.RoleBinding(metadata=metadata, role_ref=target, subjects=whom)
    return rbac.ClusterRoleBinding(metadata=metadata, role_ref=target, subjects=whom)


def put(cache: Cache, obj: rbac.ClusterRole, version: int) -> None:
    kind = next(kind for kind in cache.kinds() if kind.type is type(obj))
    cache.put(Entry(kind, "", obj.metadata.name, version, canonical.stamp(kind, canonical.rest(obj), version)))


def test_the_reason_names_the_binding() -> None:
    view = Cluster(
        (
            role("reader", rule("get list", "pods pods/log"), namespace="shop"),
            bind("readers", "reader", ("User", "ann"), namespace="shop", kind="Role"),
            role("scaler", rule("*", "*/scale", "apps")),
            bind("scalers", "scaler", ("Group", "devs")),
        )
    ).view
    access = Authorizer(view)
    verdict = access.decide(ANN, Wanted("get", "", "pods/log", "shop", "p"))
    assert verdict.allowed
    assert verdict.reason == 'RBAC: allowed by RoleBinding "readers/shop" of Role "reader" to User "ann"'
    verdict = access.decide(ANN, Wanted("patch", "apps", "deployments/scale", "kitchen", "web"))
    assert verdict.reason == 'RBAC: allowed by ClusterRoleBinding "scalers" of ClusterRole "scaler" to Group "devs"'
    for wanted in (
        Wanted("get", "", "pods", "kitchen"),
        Wanted("get", "", "pods"),
        Wanted("delete", "", "pods", "shop"),
        Wanted("get", "", "pods/exec", "shop"),
        Wanted("get", "apps", "pods", "shop"),
        Wanted("get", path="/metrics"),
    ):
        assert not access.decide(ANN, wanted).allowed, wanted
    assert not access.decide(UserInfo("bob"), Wanted("get", "", "pods", "shop")).allowed


def test_a_service_account_of_the_bindings_own_namespace() -> None:
    view = Cluster(
        (
            role("reader", rule("get", "pods"), namespace="shop"),
            bind("readers", "reader", ("ServiceAccount", "robot"), namespace="shop", kind="Role"),
        )
    ).view
    robot = UserInfo("system:serviceaccount:shop:robot")
    verdict = Authorizer(view).decide(robot, Wanted("get", "", "pods", "shop"))
    assert verdict.reason.endswith('of Role "reader" to ServiceAccount "robot/shop"')


def test_names_and_paths() -> None:
    view = Cluster(
        (
            role(
                "one",
                rule("get", "secrets", names=("a",)),
                rbac.PolicyRule(verbs=("get",), non_resource_urls=("/x/*",)),
            ),
            bind("ones", "one", ("User", "ann")),
        )
    ).view
    access = Authorizer(view)
    assert access.decide(ANN, Wanted("get", "", "secrets", "shop", "a")).allowed
    assert not access.decide(ANN, Wanted("get", "", "secrets", "shop", "b")).allowed
    assert not access.decide(ANN, Wanted("list", "", "secrets", "shop")).allowed
    assert access.decide(ANN, Wanted("get", path="/x/y")).allowed
    assert not access.decide(ANN, Wanted("get", path="/xy")).allowed


def test_refusals_in_the_words_of_the_api() -> None:
    access = Authorizer(Cluster((bind("lost", "nowhere", ("User", "ann")),)).view)
    with pytest.raises(Forbidden) as refused:
        access.check(ANN, Wanted("list", "", "pods", "shop"))
    assert refused.value.message == (
        'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "shop": '
        'RBAC: clusterrole.rbac.authorization.k8s.io "nowhere" not found'
    )
    with pytest.raises(
        Forbidden, match=r'deployments\.apps "web" is forbidden: User "bob" cannot get .* at the cluster'
    ):
        access.check(UserInfo("bob"), Wanted("get", "apps", "deployments/scale", name="web"))
    with pytest.raises(Forbidden, match='forbidden: User "bob" cannot get path "/metrics"'):
        access.check_path(UserInfo("bob"), "GET", "/metrics")


def test_a_change_counts_at_once() -> None:
    reader = role("reader", rule("get", "pods"))
    assert isinstance(reader, rbac.ClusterRole)
    view = Cluster((reader, bind("readers", "reader", ("User", "ann")))).view
    access = Authorizer(view)
    wanted = Wanted("delete", "", "pods", "shop")
    assert not access.decide(ANN, wanted).allowed
    put(view, replace(reader, rules=(rule("*", "*"),)), 9)
    assert access.decide(ANN, wanted).allowed
    put(view, reader, 10)
    assert not access.decide(ANN, wanted).allowed
