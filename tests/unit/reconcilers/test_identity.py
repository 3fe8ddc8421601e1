"""Accounts, the authority, roles put together, requests for certificates."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.access import signers
from controlplane.reconcilers import certificates, clusterroleaggregation, rootca, serviceaccount, tokensecrets
from mizzen.api.types import certificates_v1, core_v1, meta_v1, rbac_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Issue, Sign, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, view
from tests.fixtures.signing_requests import signing_request

IDS = SeededIds(1)
HERE = Key("namespaces", "", "shop")
HOUR_S = 3600


def namespace(phase: str = "Active", **metadata: Any) -> core_v1.Namespace:
    return core_v1.Namespace(
        metadata=meta_v1.ObjectMeta(name="shop", **metadata), status=core_v1.NamespaceStatus(phase=phase)
    )


def test_every_namespace_gets_an_account_and_the_authority() -> None:
    (effect,) = serviceaccount.reconcile(HERE, view(namespace()), NOW, IDS).effects
    assert isinstance(effect, Create)
    assert (effect.object.kind, effect.object.metadata.namespace) == ("ServiceAccount", "shop")
    assert serviceaccount.reconcile(HERE, view(namespace(), effect.object), NOW, IDS) == Decision()

    (effect,) = rootca.reconcile("PEM", HERE, view(namespace()), NOW, IDS).effects
    assert isinstance(effect, Create)
    assert isinstance(effect.object, core_v1.ConfigMap)
    assert effect.object.data == {"ca.crt": "PEM"}
    assert rootca.reconcile("PEM", HERE, view(namespace(), effect.object), NOW, IDS) == Decision()
    (effect,) = rootca.reconcile("NEW", HERE, view(namespace(), effect.object), NOW, IDS).effects
    assert isinstance(effect, Update)


def test_a_namespace_that_goes_gets_nothing() -> None:
    going = view(namespace("Terminating", deletion_timestamp=at(-1)))
    assert serviceaccount.reconcile(HERE, going, NOW, IDS) == Decision()
    assert rootca.reconcile("PEM", HERE, going, NOW, IDS) == Decision()
    assert serviceaccount.reconcile(HERE, view(), NOW, IDS) == Decision()


def test_a_role_follows_its_parts() -> None:
    rule = rbac_v1.PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))
    selector = meta_v1.LabelSelector(match_labels={"part": "yes"})
    whole = rbac_v1.ClusterRole(
        metadata=meta_v1.ObjectMeta(name="whole", labels={"part": "yes"}),
        aggregation_rule=rbac_v1.AggregationRule(cluster_role_selectors=(selector,)),
    )
    parts = [
        rbac_v1.ClusterRole(metadata=meta_v1.ObjectMeta(name=name, labels={"part": yes}), rules=(rule,))
        for name, yes in (("a", "yes"), ("b", "yes"), ("c", "no"))
    ]
    key = Key("clusterroles.rbac.authorization.k8s.io", "", "whole")
    (effect,) = clusterroleaggregation.reconcile(key, view(whole, *parts), NOW, IDS).effects
    assert isinstance(effect, Update)
    assert isinstance(effect.object, rbac_v1.ClusterRole)
    assert effect.object.rules == (rule,)
    assert clusterroleaggregation.reconcile(key, view(effect.object, *parts), NOW, IDS) == Decision()
    plain = key._replace(name="a")
    assert clusterroleaggregation.reconcile(plain, view(whole, *parts), NOW, IDS) == Decision()


def test_a_secret_gets_a_token_and_ends_with_its_account() -> None:
    def secret(data: dict[str, bytes] | None = None, **annotations: str) -> core_v1.Secret:
        notes = {f"kubernetes.io/service-account.{key}": value for key, value in annotations.items()}
        metadata = meta_v1.ObjectMeta(name="s", namespace="shop", uid="u", resource_version="7", annotations=notes)
        return core_v1.Secret(metadata=metadata, type=tokensecrets.TYPE, data=data or {})

    account = core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name="robot", namespace="shop", uid="a"))
    key = Key("secrets", "shop", "s")

    def decided(*objects: Any) -> Decision:
        return tokensecrets.reconcile(key, view(*objects), NOW, IDS)

    (effect,) = decided(account, secret(name="robot")).effects
    assert isinstance(effect, Issue)
    full = {"ca.crt": b"c", "namespace": b"n", "token": b"t"}
    assert decided(account, secret(full, name="robot", uid="a")) == Decision()
    for gone in ((secret(full, name="robot", uid="a"),), (account, secret(full, name="robot", uid="other"))):
        (effect,) = decided(*gone).effects
        assert isinstance(effect, Delete)
    assert decided(replace(secret(name="robot"), type="Opaque")) == Decision()


def asked(*conditions: str, since_s: int = 0, **spec: Any) -> certificates_v1.CertificateSigningRequest:
    given = {
        "signer_name": "kubernetes.io/kube-apiserver-client",
        "usages": ("client auth",),
        "request": b"PEM",
        **spec,
    }
    return certificates_v1.CertificateSigningRequest(
        metadata=meta_v1.ObjectMeta(name="ann", uid="u", creation_timestamp=at(since_s)),
        spec=certificates_v1.CertificateSigningRequestSpec(**given),
        status=certificates_v1.CertificateSigningRequestStatus(
            conditions=tuple(
                certificates_v1.CertificateSigningRequestCondition(
                    type=type_, status="True", last_update_time=at(since_s)
                )
                for type_ in conditions
            )
        ),
    )


def signing(request: certificates_v1.CertificateSigningRequest) -> Decision:
    key = Key("certificatesigningrequests.certificates.k8s.io", "", "ann")
    return certificates.reconcile(key, view(request), NOW, IDS)


def test_what_is_approved_is_signed() -> None:
    (effect,) = signing(asked("Approved", expiration_seconds=900)).effects
    assert isinstance(effect, Sign)
    assert effect.seconds == 900
    (effect,) = signing(asked("Approved", expiration_seconds=10 * 365 * 86400)).effects
    assert isinstance(effect, Sign)
    assert effect.seconds == certificates.LIFE_S
    issued = asked("Approved")
    issued = replace(issued, status=replace(issued.status, certificate=b"PEM"))
    for other in (
        asked(),
        asked("Denied"),
        asked("Approved", "Failed"),
        asked("Approved", signer_name="a.io/b"),
        issued,
    ):
        assert signing(other).effects == ()


def test_a_certificate_for_other_ends_fails() -> None:
    (effect,) = signing(asked("Approved", usages=("server auth",))).effects
    assert isinstance(effect, UpdateStatus)
    assert isinstance(effect.object, certificates_v1.CertificateSigningRequest)
    assert [condition.type for condition in effect.object.status.conditions] == ["Approved", "Failed"]


@pytest.mark.parametrize(("conditions", "hours"), [((), 24), (("Denied",), 1), (("Approved",), 1), (("Failed",), 1)])
def test_old_requests_go(conditions: tuple[str, ...], hours: int) -> None:
    young = signing(asked(*conditions, since_s=-hours * HOUR_S + 10, signer_name="a.io/b"))
    assert (young.effects, young.wake_after_ms) == ((), 10_000)
    (effect,) = signing(asked(*conditions, since_s=-hours * HOUR_S, signer_name="a.io/b")).effects
    assert isinstance(effect, Delete)


def test_a_node_that_may_is_given_its_certificate_without_a_person() -> None:
    rule = rbac_v1.PolicyRule(
        verbs=("create",),
        api_groups=("certificates.k8s.io",),
        resources=("certificatesigningrequests/selfnodeclient",),
    )
    role = rbac_v1.ClusterRole(metadata=meta_v1.ObjectMeta(name="r"), rules=(rule,))
    binding = rbac_v1.ClusterRoleBinding(
        metadata=meta_v1.ObjectMeta(name="r"),
        role_ref=rbac_v1.RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="r"),
        subjects=(rbac_v1.Subject(kind="Group", name="system:nodes"),),
    )
    request = asked(
        signer_name=signers.NODE_CLIENT,
        usages=("client auth", "digital signature"),
        request=signing_request("system:node:n1", ("system:nodes",)),
        username="system:node:n1",
        groups=("system:nodes",),
    )
    key = Key("certificatesigningrequests.certificates.k8s.io", "", "ann")
    (effect,) = certificates.reconcile(key, view(request, role, binding), NOW, IDS).effects
    assert isinstance(effect, UpdateStatus)
    approved = effect.object
    assert isinstance(approved, certificates_v1.CertificateSigningRequest)
    assert [(one.type, one.reason) for one in approved.status.conditions] == [("Approved", "AutoApproved")]
    (effect,) = signing(approved).effects
    assert isinstance(effect, Sign)
    assert signing(request).effects == ()
