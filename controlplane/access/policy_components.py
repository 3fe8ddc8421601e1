"""The default roles of Kubernetes' components: for those who run one of them, or a tool that takes its place.

Our own scheduler, controllers and agents need none of these: they write to the store, fenced, and not through the API.
A second scheduler, a volume provisioner or a monitor binds to them as it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.access.rules import Rules
from mizzen.api.types import rbac_v1 as rbac

_READ = ("get", "list", "watch")
_FOLLOW = ("list", "watch")
_CHANGE = ("patch", "update")
_CLAIMS, _VOLUMES = "persistentvolumeclaims", "persistentvolumes"
_REQUESTS = "certificatesigningrequests"
_CERTIFICATES, _LEASES, _STORAGE = "certificates.k8s.io", "coordination.k8s.io", "storage.k8s.io"
_GROUP = "rbac.authorization.k8s.io"


def _on(verbs: Sequence[str], groups: str | Sequence[str], *resources: str, name: str = "") -> rbac.PolicyRule:
    listed = (groups,) if isinstance(groups, str) else tuple(groups)
    return rbac.PolicyRule(
        verbs=tuple(verbs), api_groups=listed, resources=resources, resource_names=(name,) if name else ()
    )


_EVENTS = _on(("create", *_CHANGE), ("", "events.k8s.io"), "events")
_REVIEWS = (
    _on(("create",), "authentication.k8s.io", "tokenreviews"),
    _on(("create",), "authorization.k8s.io", "subjectaccessreviews"),
)


def _leading(component: str) -> Rules:
    """What a component needs to be the one of several that acts."""
    return (
        _on(("create",), _LEASES, "leases"),
        _on(("get", "update"), _LEASES, "leases", name=component),
    )


_CONTROLLERS: Rules = (
    _EVENTS,
    *_leading("kube-controller-manager"),
    _on(("create",), "", "secrets", "serviceaccounts"),
    _on(("delete",), "", "secrets"),
    _on(("get",), "", "configmaps", "namespaces", "secrets", "serviceaccounts"),
    _on(("update",), "", "secrets", "serviceaccounts"),
    *_REVIEWS,
    _on(_FOLLOW, "*", "*"),
    _on(("create",), "", "serviceaccounts/token"),
)
_SCHEDULER: Rules = (
    _EVENTS,
    *_leading("kube-scheduler"),
    _on(_READ, "", "nodes"),
    _on(("delete", *_READ), "", "pods"),
    _on(("create",), "", "bindings", "pods/binding"),
    _on(_CHANGE, "", "pods/status"),
    _on(_READ, "", "replicationcontrollers", "services"),
    _on(_READ, ("apps", "extensions"), "replicasets"),
    _on(_READ, "apps", "statefulsets"),
    _on(_READ, "policy", "poddisruptionbudgets"),
    _on(_READ, "", _CLAIMS, _VOLUMES),
    *_REVIEWS,
    _on(_READ, _STORAGE, "csinodes"),
    _on(_READ, "", "namespaces"),
    _on(_READ, _STORAGE, "csidrivers"),
    _on(_READ, _STORAGE, "csistoragecapacities"),
    _on(_READ, "resource.k8s.io", "deviceclasses", "resourceclaims", "resourceslices"),
    _on(_CHANGE, "resource.k8s.io", "resourceclaims/status"),
)
_PROVISIONER: Rules = (
    _on(("create", "delete", *_READ), "", _VOLUMES),
    _on(("get", "list", "update", "watch"), "", _CLAIMS),
    _on(_READ, _STORAGE, "storageclasses"),
    _on(("watch",), "", "events"),
    _EVENTS,
)
_PROXIER: Rules = (
    _on(_FOLLOW, "", "endpoints", "services"),
    _on(_READ, "", "nodes"),
    _EVENTS,
    _on(_FOLLOW, "discovery.k8s.io", "endpointslices"),
)

ROLES: dict[str, Rules] = {
    "system:heapster": (
        _on(_READ, "", "events", "namespaces", "nodes", "pods"), _on(_READ, "extensions", "deployments"),
    ),
    "system:kube-aggregator": (_on(_READ, "", "endpoints", "services"),),
    "system:kube-controller-manager": _CONTROLLERS,
    "system:kube-dns": (_on(_FOLLOW, "", "endpoints", "services"),),
    "system:kube-scheduler": _SCHEDULER,
    "system:kubelet-api-admin": (
        _on(_READ, "", "nodes"),
        _on(("proxy",), "", "nodes"),
        _on(("*",), "", "nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"),
    ),
    "system:node-bootstrapper": (_on(("create", *_READ), _CERTIFICATES, _REQUESTS),),
    "system:node-problem-detector": (
        _on(("get",), "", "nodes"), _on(("patch",), "", "nodes/status"), _EVENTS,
    ),
    "system:node-proxier": _PROXIER,
    "system:persistent-volume-provisioner": _PROVISIONER,
    "system:volume-scheduler": (
        _on((*_READ, *_CHANGE), "", _VOLUMES),
        _on(_READ, _STORAGE, "storageclasses"),
        _on((*_READ, *_CHANGE), "", _CLAIMS),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        _on(("create",), _CERTIFICATES, f"{_REQUESTS}/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        _on(("create",), _CERTIFICATES, f"{_REQUESTS}/selfnodeclient"),
    ),
    **{
        f"system:certificates.k8s.io:{signer}-approver": (
            _on(("approve",), _CERTIFICATES, "signers", name=f"kubernetes.io/{signer}"),
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
