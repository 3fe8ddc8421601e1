"""The default roles of Kubernetes' controllers, each for the service account of its name in kube-system.

Our own controllers need none of these: they write to the store, fenced, and not through the API. Clusters have them
all the same, since charts, audits and controllers that run beside ours name them. There is one for each controller
that version 1.36 starts of itself; those behind features that are off there are left out.
"""

from __future__ import annotations

from controlplane.access.policy_rules import CHANGE, EVENTS, FOLLOW, READ, on
from controlplane.access.rules import Rules
from mizzen.api.types import rbac_v1 as rbac

_PREFIX = "system:controller:"
_WRITE = ("create", "delete", *CHANGE)
_OWN = (*_WRITE, *READ)
"""What controllers do to objects that are theirs alone."""
_TEND = (*READ, "update")
_RUN = ("create", "delete", "list", "patch", "watch")
"""What a workload's controller does to its pods."""
_UPDATE = ("update",)
_APPS, _BATCH, _CERTIFICATES, _STORAGE = "apps", "batch", "certificates.k8s.io", "storage.k8s.io"
_ADMISSION, _DISCOVERY, _NETWORKING = "admissionregistration.k8s.io", "discovery.k8s.io", "networking.k8s.io"
_DEVICES, _POLICY, _SCALING = "resource.k8s.io", "policy", "autoscaling"
_OLD_APPS = ("apps", "extensions")
_CLAIMS, _VOLUMES = "persistentvolumeclaims", "persistentvolumes"
_SIGNERS = tuple(
    f"kubernetes.io/{name}"
    for name in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")
)


def _workload(group: str | tuple[str, ...], plural: str, tend: tuple[str, ...] = _TEND) -> Rules:
    """What a controller does to the objects that it brings about: reads them, tells their state, holds them."""
    return (
        on(tend, group, plural),
        on(_UPDATE, group, f"{plural}/status"),
        on(_UPDATE, group, f"{plural}/finalizers"),
    )


_RULES: dict[str, Rules] = {
    "attachdetach-controller": (
        on(FOLLOW, "", _CLAIMS, _VOLUMES),
        on(READ, "", "nodes"),
        on(CHANGE, "", "nodes/status"),
        on(FOLLOW, "", "pods"),
        EVENTS,
        on(("create", "delete", *READ), _STORAGE, "volumeattachments"),
        on(READ, _STORAGE, "csidrivers"),
        on(READ, _STORAGE, "csinodes"),
    ),
    "certificate-controller": (
        on(("delete", *READ), _CERTIFICATES, "certificatesigningrequests"),
        on(
            _UPDATE, _CERTIFICATES, "certificatesigningrequests/approval", "certificatesigningrequests/status"
        ),
        on(("approve",), _CERTIFICATES, "signers", names=("kubernetes.io/kube-apiserver-client-kubelet",)),
        on(("sign",), _CERTIFICATES, "signers", names=_SIGNERS),
        on(("create",), "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        on(("escalate", *READ, *CHANGE), "rbac.authorization.k8s.io", "clusterroles"),
    ),
    "cronjob-controller": (
        on(_TEND, _BATCH, "cronjobs"),
        on(_OWN, _BATCH, "jobs"),
        on(_UPDATE, _BATCH, "cronjobs/status"),
        on(_UPDATE, _BATCH, "cronjobs/finalizers"),
        on(("delete", *FOLLOW), "", "pods"),
        EVENTS,
    ),
    "daemon-set-controller": (
        *_workload(_OLD_APPS, "daemonsets", READ),
        on(FOLLOW, "", "nodes"),
        on(_RUN, "", "pods"),
        on(("create",), "", "pods/binding"),
        on(_OWN, _APPS, "controllerrevisions"),
        EVENTS,
    ),
    "deployment-controller": (
        *_workload(_OLD_APPS, "deployments"),
        on(_OWN, _OLD_APPS, "replicasets"),
        on(_TEND, "", "pods"),
        EVENTS,
    ),
    "device-taint-eviction-controller": (
        on(("delete", *READ), "", "pods"),
        on(CHANGE, "", "pods/status"),
        on(READ, _DEVICES, "resourceclaims"),
        on(READ, _DEVICES, "resourceslices"),
        on(READ, _DEVICES, "deviceclasses"),
        EVENTS,
    ),
    "disruption-controller": (
        on(READ, _OLD_APPS, "deployments"),
        on(READ, _OLD_APPS, "replicasets"),
        on(READ, "", "replicationcontrollers"),
        on(READ, _POLICY, "poddisruptionbudgets"),
        on(READ, _APPS, "statefulsets"),
        on(_UPDATE, _POLICY, "poddisruptionbudgets/status"),
        on(CHANGE, "", "pods/status"),
        on(("get",), "*", "*/scale"),
        EVENTS,
    ),
    "endpoint-controller": (
        on(READ, "", "pods", "services"),
        on(("create", "delete", *_TEND), "", "endpoints"),
        on(("create",), "", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        on(READ, "", "nodes", "pods", "services"),
        on(_UPDATE, "", "services/finalizers"),
        on(("create", "delete", *_TEND), _DISCOVERY, "endpointslices"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        on(READ, "", "endpoints", "services"),
        on(_UPDATE, "", "services/finalizers"),
        on(_UPDATE, "", "endpoints/finalizers"),
        on(("create", "delete", *_TEND), _DISCOVERY, "endpointslices"),
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        on(READ, "", "pods"),
        on(_UPDATE, "", "pods/finalizers"),
        on(("create", *READ), "", _CLAIMS),
        EVENTS,
    ),
    "expand-controller": (
        on((*READ, *CHANGE), "", _VOLUMES),
        on(CHANGE, "", f"{_CLAIMS}/status"),
        on(READ, "", _CLAIMS),
        EVENTS,
    ),
    "generic-garbage-collector": (on(("delete", *READ, *CHANGE), "*", "*"), EVENTS),
    "horizontal-pod-autoscaler": (
        on(READ, _SCALING, "horizontalpodautoscalers"),
        on(_UPDATE, _SCALING, "horizontalpodautoscalers/status"),
        on(("get", "update"), "*", "*/scale"),
        on(FOLLOW, "", "pods"),
        on(FOLLOW, "metrics.k8s.io", "pods"),
        on(READ, "custom.metrics.k8s.io", "*"),
        on(READ, "external.metrics.k8s.io", "*"),
        EVENTS,
    ),
    "job-controller": (*_workload(_BATCH, "jobs", (*READ, *CHANGE)), on(_RUN, "", "pods"), EVENTS),
    "legacy-service-account-token-cleaner": (
        on(("get",), "", "configmaps", names=("kube-apiserver-legacy-service-account-token-tracking",)),
        on(("delete", "patch"), "", "secrets"),
    ),
    "namespace-controller": (
        on(("delete", *READ), "", "namespaces"),
        on(_UPDATE, "", "namespaces/finalize", "namespaces/status"),
        on(("delete", "deletecollection", *READ), "*", "*"),
    ),
    "node-controller": (
        on(("delete", *READ, *CHANGE), "", "nodes"),
        on(CHANGE, "", "nodes/status"),
        on(CHANGE, "", "pods/status"),
        on(("delete", *READ), "", "pods"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        on(("create", "delete", *_TEND), "", _VOLUMES),
        on(_UPDATE, "", f"{_VOLUMES}/status"),
        on(_TEND, "", _CLAIMS),
        on(_UPDATE, "", f"{_CLAIMS}/status"),
        on(("create", "delete", *READ), "", "pods"),
        on(READ, _STORAGE, "storageclasses"),
        on(FOLLOW, "", "nodes"),
        EVENTS,
        on(("watch",), "", "events"),
    ),
    "pod-garbage-collector": (
        on(("delete", *FOLLOW), "", "pods"),
        on(READ, "", "nodes"),
        on(("patch",), "", "pods/status"),
    ),
    "pv-protection-controller": (on(_TEND, "", _VOLUMES), EVENTS),
    "pvc-protection-controller": (
        on(_TEND, "", _CLAIMS),
        on(_UPDATE, "", f"{_CLAIMS}/status"),
        on(READ, "", "pods"),
        EVENTS,
    ),
    "replicaset-controller": (*_workload(_OLD_APPS, "replicasets"), on(_RUN, "", "pods"), EVENTS),
    "replication-controller": (*_workload("", "replicationcontrollers"), on(_RUN, "", "pods"), EVENTS),
    "resource-claim-controller": (
        on(READ, "", "pods"),
        on(_UPDATE, "", "pods/finalizers"),
        on(("create", "delete", *READ), _DEVICES, "resourceclaims"),
        on(CHANGE, _DEVICES, "resourceclaims", "resourceclaims/status"),
        on(CHANGE, "", "pods/status"),
        EVENTS,
        on(CHANGE, _DEVICES, "resourceclaims/binding"),
    ),
    "resourcequota-controller": (on(FOLLOW, "*", "*"), on(_UPDATE, "", "resourcequotas/status"), EVENTS),
    "root-ca-cert-publisher": (on(("create", "update"), "", "configmaps"), EVENTS),
    "route-controller": (on(FOLLOW, "", "nodes"), on(("patch",), "", "nodes/status"), EVENTS),
    "selinux-warning-controller": (
        EVENTS,
        on(READ, "", _VOLUMES),
        on(READ, "", _CLAIMS),
        on(READ, "", "pods"),
        on(READ, _STORAGE, "csidrivers"),
    ),
    "service-account-controller": (on(("create",), "", "serviceaccounts"), EVENTS),
    "service-cidrs-controller": (
        on((*READ, *CHANGE), _NETWORKING, "servicecidrs"),
        on(CHANGE, _NETWORKING, "servicecidrs/finalizers"),
        on(CHANGE, _NETWORKING, "servicecidrs/status"),
        on(READ, _NETWORKING, "ipaddresses"),
        EVENTS,
    ),
    "service-controller": (
        on(READ, "", "services"), on(CHANGE, "", "services/status"), on(FOLLOW, "", "nodes"), EVENTS,
    ),
    "statefulset-controller": (
        on(FOLLOW, "", "pods"),
        *_workload(_APPS, "statefulsets", READ),
        on(("get", *_WRITE), "", "pods"),
        on(_OWN, _APPS, "controllerrevisions"),
        on(("create", *READ), "", _CLAIMS),
        on(("delete", "update"), "", _CLAIMS),
        on(_UPDATE, "", "pods/finalizers"),
        EVENTS,
    ),
    "ttl-after-finished-controller": (on(("delete", *READ), _BATCH, "jobs"), EVENTS),
    "ttl-controller": (on((*FOLLOW, *CHANGE), "", "nodes"), EVENTS),
    "validatingadmissionpolicy-status-controller": (
        on(READ, _ADMISSION, "validatingadmissionpolicies"),
        on(("get", *CHANGE), _ADMISSION, "validatingadmissionpolicies/status"),
        EVENTS,
    ),
    "volumeattributesclass-protection-controller": (
        on(READ, "", _CLAIMS), on(READ, "", _VOLUMES), on(_TEND, _STORAGE, "volumeattributesclasses"), EVENTS,
    ),
}  # fmt: skip

ROLES: dict[str, Rules] = {f"{_PREFIX}{name}": rules for name, rules in _RULES.items()}
"""The rules by the roles' names."""

SUBJECTS: dict[str, rbac.Subject] = {
    f"{_PREFIX}{name}": rbac.Subject(kind="ServiceAccount", name=name, namespace="kube-system") for name in _RULES
}
"""Who has which of them from the beginning."""
