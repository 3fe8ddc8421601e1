"""The roles of Kubernetes' controllers: all that version 1.36 starts with, bound to their accounts, with its rules."""

from __future__ import annotations

import pytest

from controlplane.access import policy
from controlplane.access.grants import grants_of, wants
from controlplane.access.values import ACCOUNTS, UserInfo, account_user
from mizzen.api.types import rbac_v1 as rbac
from tests.fixtures.admission import Cluster

NAMES = [
    "attachdetach-controller",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
]
PREFIX = "system:controller:"
ROLES = {role.metadata.name: role for role in policy.cluster_roles()}
VIEW = Cluster((*ROLES.values(), *policy.cluster_role_bindings())).view


def test_there_is_one_for_each_controller() -> None:
    assert sorted(name.removeprefix(PREFIX) for name in ROLES if name.startswith(PREFIX)) == NAMES


def test_each_is_bound_to_the_account_of_its_name() -> None:
    bound = {one.metadata.name: one for one in policy.cluster_role_bindings()}
    for name in NAMES:
        binding = bound[PREFIX + name]
        assert binding.role_ref.name == PREFIX + name
        assert binding.subjects == (rbac.Subject(kind="ServiceAccount", name=name, namespace="kube-system"),)
        for obj in (ROLES[PREFIX + name], binding):
            assert obj.metadata.labels == {"kubernetes.io/bootstrapping": "rbac-defaults"}
            assert obj.metadata.annotations == {policy.AUTO_UPDATE: "true"}


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        # what is allowed and refused: verb, group, resource, name
        ("attachdetach-controller", "patch - nodes/status", "delete - pods"),
        ("certificate-controller", "sign certificates.k8s.io signers kubernetes.io/kubelet-serving",
         "sign certificates.k8s.io signers example.com/own"),
        ("certificate-controller", "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet",
         "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client"),
        ("clusterrole-aggregation-controller", "escalate rbac.authorization.k8s.io clusterroles",
         "escalate rbac.authorization.k8s.io roles"),
        ("cronjob-controller", "create batch jobs", "create - pods"),
        ("daemon-set-controller", "create - pods/binding", "update - pods"),
        ("daemon-set-controller", "get extensions daemonsets", "update apps daemonsets"),
        ("deployment-controller", "delete apps replicasets", "delete - pods"),
        ("disruption-controller", "get example.com widgets/scale", "update example.com widgets/scale"),
        ("endpointslice-controller", "update discovery.k8s.io endpointslices", "create - endpoints"),
        ("expand-controller", "patch - persistentvolumeclaims/status", "get - services"),
        ("generic-garbage-collector", "delete example.com widgets", "create example.com widgets"),
        ("horizontal-pod-autoscaler", "update apps deployments/scale", "update apps deployments"),
        ("job-controller", "patch batch jobs", "delete batch jobs"),
        ("legacy-service-account-token-cleaner", "delete - secrets", "get - configmaps other"),
        ("namespace-controller", "deletecollection example.com widgets", "update - pods"),
        ("node-controller", "delete - nodes", "create - nodes"),
        ("persistent-volume-binder", "create - pods", "patch - persistentvolumes"),
        ("pod-garbage-collector", "patch - pods/status", "create - events"),
        ("pvc-protection-controller", "update - persistentvolumeclaims/status", "delete - persistentvolumeclaims"),
        ("resource-claim-controller", "patch resource.k8s.io resourceclaims/binding", "get - secrets"),
        ("resourcequota-controller", "watch - secrets", "get - secrets"),
        ("root-ca-cert-publisher", "update - configmaps", "delete - configmaps"),
        ("route-controller", "patch - nodes/status", "update - nodes/status"),
        ("service-account-controller", "create - serviceaccounts", "create - serviceaccounts/token"),
        ("statefulset-controller", "delete - persistentvolumeclaims", "patch - persistentvolumeclaims"),
        ("ttl-controller", "patch - nodes", "get - nodes"),
        ("volumeattributesclass-protection-controller", "update storage.k8s.io volumeattributesclasses",
         "delete storage.k8s.io volumeattributesclasses"),
    ],
)  # fmt: skip
def test_what_an_account_may(name: str, allowed: str, refused: str) -> None:
    own, other = (UserInfo(account_user(where, name), (ACCOUNTS,)) for where in ("kube-system", "default"))
    for user, words, expected in ((own, allowed, True), (own, refused, False), (other, allowed, False)):
        verb, group, resource, *names = words.split()
        wanted = wants(verb, group.strip("-"), resource, "", *names)
        assert grants_of(user, "", VIEW).decide(wanted).allowed is expected, f"{user.name}: {words}"
