"""The default roles of Kubernetes' components: for those who run one of them, or a tool that takes its place.

Our own scheduler, controllers and agents need none of these: they write to the store, fenced, and not through the API.
A second scheduler, a volume provisioner or a monitor binds to them as it does elsewhere.
"""

from __future__ import annotations

from controlplane.access.policy_rules import CHANGE, EVENTS, FOLLOW, READ, on
from controlplane.access.rules import Rules
from mizzen.api.types import rbac_v1 as rbac

_CLAIMS, _VOLUMES = "persistentvolumeclaims", "persistentvolumes"
_REQUESTS = "certificatesigningrequests"
_CERTIFICATES, _LEASES, _STORAGE = "certificates.k8s.io", "coordination.k8s.io", "storage.k8s.io"
_GROUP = "rbac.authorization.k8s.io"
_REVIEWS = (
    on(("create",), "authentication.k8s.io", "tokenreviews"),
    on(("create",), "authorization.k8s.io", "subjectaccessreviews"),
)


def _leading(component: str) -> Rules:
    """What a component needs to be the one of several that acts."""
    return (
        on(("create",), _LEASES, "leases"),
        on(("get", "update"), _LEASES, "leases", names=(component,)),
    )


_CONTROLLERS: Rules = (
    EVENTS,
    *_leading("kube-controller-manager"),
    on(("create",), "", "secrets", "serviceaccounts"),
    on(("delete",), "", "secrets"),
    on(("get",), "", "configmaps", "namespaces", "secrets", "serviceaccounts"),
    on(("update",), "", "secrets", "serviceaccounts"),
    *_REVIEWS,
    on(FOLLOW, "*", "*"),
    on(("create",), "", "serviceaccounts/token"),
)
_SCHEDULER: Rules = (
    EVENTS,
    *_leading("kube-scheduler"),
    on(READ, "", "nodes"),
    on(("delete", *READ), "", "pods"),
    on(("create",), "", "bindings", "pods/binding"),
    on(CHANGE, "", "pods/status"),
    on(READ, "", "replicationcontrollers", "services"),
    on(READ, ("apps", "extensions"), "replicasets"),
    on(READ, "apps", "statefulsets"),
    on(READ, "policy", "poddisruptionbudgets"),
    on(READ, "", _CLAIMS, _VOLUMES),
    *_REVIEWS,
    on(READ, _STORAGE, "csinodes"),
    on(READ, "", "namespaces"),
    on(READ, _STORAGE, "csidrivers"),
    on(READ, _STORAGE, "csistoragecapacities"),
    on(READ, "resource.k8s.io", "deviceclasses", "resourceclaims", "resourceslices"),
    on(CHANGE, "resource.k8s.io", "resourceclaims/status"),
)
_PROVISIONER: Rules = (
    on(("create", "delete", *READ), "", _VOLUMES),
    on(("get", "list", "update", "watch"), "", _CLAIMS),
    on(READ, _STORAGE, "storageclasses"),
    on(("watch",), "", "events"),
    EVENTS,
)
_PROXIER: Rules = (
    on(FOLLOW, "", "endpoints", "services"),
    on(READ, "", "nodes"),
    EVENTS,
    on(FOLLOW, "discovery.k8s.io", "endpointslices"),
)

ROLES: dict[str, Rules] = {
    "system:heapster": (
        on(READ, "", "events", "namespaces", "nodes", "pods"), on(READ, "extensions", "deployments"),
    ),
    "system:kube-aggregator": (on(READ, "", "endpoints", "services"),),
    "system:kube-controller-manager": _CONTROLLERS,
    "system:kube-dns": (on(FOLLOW, "", "endpoints", "services"),),
    "system:kube-scheduler": _SCHEDULER,
    "system:kubelet-api-admin": (
        on(READ, "", "nodes"),
        on(("proxy",), "", "nodes"),
        on(("*",), "", "nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"),
    ),
    "system:node-bootstrapper": (on(("create", *READ), _CERTIFICATES, _REQUESTS),),
    "system:node-problem-detector": (
        on(("get",), "", "nodes"), on(("patch",), "", "nodes/status"), EVENTS,
    ),
    "system:node-proxier": _PROXIER,
    "system:persistent-volume-provisioner": _PROVISIONER,
    "system:volume-scheduler": (
        on((*READ, *CHANGE), "", _VOLUMES),
        on(READ, _STORAGE, "storageclasses"),
        on((*READ, *CHANGE), "", _CLAIMS),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        on(("create",), _CERTIFICATES, f"{_REQUESTS}/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        on(("create",), _CERTIFICATES, f"{_REQUESTS}/selfnodeclient"),
    ),
    **{
        f"system:certificates.k8s.io:{signer}-approver": (
            on(("approve",), _CERTIFICATES, "signers", names=(f"kubernetes.io/{signer}",)),
        )
        for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")
    },
}  # fmt: skip
"""The rules by the roles' names."""

SUBJECTS: dict[str, rbac.Subject] = {
    "system:kube-controller-manager": rbac.Subject(
        kind="User", api_group=_GROUP, name="system:kube-controller-manager"
    ),
    "system:kube-dns": rbac.Subject(kind="ServiceAccount", name="kube-dns", namespace="kube-system"),
    "system:kube-scheduler": rbac.Subject(kind="User", api_group=_GROUP, name="system:kube-scheduler"),
    "system:node-proxier": rbac.Subject(kind="User", api_group=_GROUP, name="system:kube-proxy"),
    "system:volume-scheduler": rbac.Subject(kind="User", api_group=_GROUP, name="system:kube-scheduler"),
}
"""Who has which of them from the beginning."""
