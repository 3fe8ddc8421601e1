"""The roles and bindings that every cluster has, and how those that are there are brought up to date.

Names, labels and meaning are Kubernetes', so that manifests which bind to `view` or `edit`, and charts which add to
them by label, work. `admin`, `edit` and `view` are put together from parts (see `aggregate`).
"""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.access import policy_components, policy_controllers
from controlplane.access.aggregate import aggregated
from controlplane.access.rules import EVERYTHING, Rules, missing
from controlplane.access.values import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
"""Annotation: `false` leaves the object alone."""
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_GROUP = "rbac.authorization.k8s.io"

_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SCALED = ("deployments", "replicasets", "statefulsets")
_CLAIMS = "persistentvolumeclaims"


def _on(verbs: tuple[str, ...], group: str, *resources: str, names: tuple[str, ...] = ()) -> rbac.PolicyRule:
    return rbac.PolicyRule(verbs=verbs, api_groups=(group,), resources=tuple(sorted(resources)), resource_names=names)


def _at(*paths: str) -> rbac.PolicyRule:
    return rbac.PolicyRule(verbs=("get",), non_resource_urls=paths)


_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", *_HEALTH[2:])

_VIEW: Rules = (
    _on(
        _READ, "", "configmaps", "endpoints", _CLAIMS, f"{_CLAIMS}/status", "pods", "replicationcontrollers",
        "replicationcontrollers/scale", "serviceaccounts", "services", "services/status",
    ),
    _on(
        _READ, "", "bindings", "events", "limitranges", "namespaces/status", "pods/log", "pods/status",
        "replicationcontrollers/status", "resourcequotas", "resourcequotas/status",
    ),
    _on(_READ, "", "namespaces"),
    _on(_READ, "discovery.k8s.io", "endpointslices"),
    _on(
        _READ, "apps", "controllerrevisions", "daemonsets", "daemonsets/status", *_SCALED,
        *(f"{name}/{sub}" for name in _SCALED for sub in ("scale", "status")),
    ),
    _on(_READ, "autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    _on(_READ, "batch", "cronjobs", "cronjobs/status", "jobs", "jobs/status"),
    _on(_READ, "networking.k8s.io", "ingresses", "ingresses/status", "networkpolicies"),
    _on(_READ, "policy", "poddisruptionbudgets", "poddisruptionbudgets/status"),
)  # fmt: skip
_EDIT: Rules = (
    _on(_READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"),
    _on(("impersonate",), "", "serviceaccounts"),
    _on(_WRITE, "", "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"),
    _on(("create",), "", "pods/eviction"),
    _on(
        _WRITE, "", "configmaps", "events", _CLAIMS, "replicationcontrollers",
        "replicationcontrollers/scale", "secrets", "serviceaccounts", "services", "services/proxy",
    ),
    _on(("create",), "", "serviceaccounts/token"),
    _on(_WRITE, "apps", "daemonsets", "deployments/rollback", *_SCALED, *(f"{name}/scale" for name in _SCALED)),
    _on(_WRITE, "autoscaling", "horizontalpodautoscalers"),
    _on(_WRITE, "batch", "cronjobs", "jobs"),
    _on(_WRITE, "networking.k8s.io", "ingresses", "networkpolicies"),
    _on(_WRITE, "policy", "poddisruptionbudgets"),
    _on(_ALL, "coordination.k8s.io", "leases"),
)  # fmt: skip
_ADMIN: Rules = (
    _on(("create",), "authorization.k8s.io", "localsubjectaccessreviews"),
    _on(_ALL, _GROUP, "rolebindings", "roles"),
)
_KEYS = (
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
)


def _role(name: str, *rules: rbac.PolicyRule, **labels: str) -> rbac.ClusterRole:
    return rbac.ClusterRole(metadata=_metadata(name, labels), rules=rules)


def _part(of: str, rules: Rules) -> rbac.ClusterRole:
    return rbac.ClusterRole(metadata=_metadata(f"system:aggregate-to-{of}", {f"{_AGGREGATE}{of}": "true"}), rules=rules)


def _whole(name: str, labels: dict[str, str]) -> rbac.ClusterRole:
    selector = meta.LabelSelector(match_labels={f"{_AGGREGATE}{name}": "true"})
    rule = rbac.AggregationRule(cluster_role_selectors=(selector,))
    return rbac.ClusterRole(metadata=_metadata(name, labels), aggregation_rule=rule)


def _metadata(name: str, labels: dict[str, str]) -> meta.ObjectMeta:
    return meta.ObjectMeta(name=name, labels={**_LABELS, **labels}, annotations={AUTO_UPDATE: "true"})


def cluster_roles() -> tuple[rbac.ClusterRole, ...]:
    """The cluster roles, parts before what is put together from them."""
    plain = (
        _role("cluster-admin", *EVERYTHING),
        _role("system:discovery", _at(*_DISCOVERY)),
        _role("system:public-info-viewer", _at(*_HEALTH)),
        _role(
            "system:monitoring",
            _at("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*"),
        ),
        _role(
            "system:basic-user",
            _on(("create",), "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
            _on(("create",), "authentication.k8s.io", "selfsubjectreviews"),
        ),
        _role(
            "system:auth-delegator",
            _on(("create",), "authentication.k8s.io", "tokenreviews"),
            _on(("create",), "authorization.k8s.io", "subjectaccessreviews"),
        ),
        _role("system:service-account-issuer-discovery", _at(*_KEYS)),
        _role(
            "system:aggregated-metrics-reader",
            _on(_READ, "metrics.k8s.io", "nodes", "pods"),
            **{f"{_AGGREGATE}{name}": "true" for name in ("view", "edit", "admin")},
        ),
        _role(
            "system:aggregated-custom-metrics-reader",
            _on(("get", "list"), "custom.metrics.k8s.io", "*"),
            _on(("get", "list"), "external.metrics.k8s.io", "*"),
            **{f"{_AGGREGATE}{name}": "true" for name in ("view", "edit", "admin")},
        ),
        *(_role(name, *rules) for name, rules in policy_components.ROLES.items()),
        *(_role(name, *rules) for name, rules in policy_controllers.ROLES.items()),
        _part("view", _VIEW),
        _part("edit", _EDIT),
        _part("admin", _ADMIN),
    )
    wholes: list[rbac.ClusterRole] = []
    for name, into in (("view", "edit"), ("edit", "admin"), ("admin", "")):
        role = _whole(name, {f"{_AGGREGATE}{into}": "true"} if into else {})
        assert role.aggregation_rule is not None
        wholes.append(replace(role, rules=aggregated(role.aggregation_rule, name, (*plain, *wholes))))
    return (*plain, *wholes)


def cluster_role_bindings() -> tuple[rbac.ClusterRoleBinding, ...]:
    """Who has which of them."""
    given = (
        ("cluster-admin", (MASTERS,)),
        ("system:monitoring", ("system:monitoring",)),
        ("system:discovery", (AUTHENTICATED,)),
        ("system:basic-user", (AUTHENTICATED,)),
        ("system:public-info-viewer", (AUTHENTICATED, UNAUTHENTICATED)),
        ("system:service-account-issuer-discovery", ("system:serviceaccounts",)),
    )
    to_groups = tuple(
        _binding(name, *(rbac.Subject(kind="Group", api_group=_GROUP, name=group) for group in groups))
        for name, groups in given
    )
    to_one = policy_components.SUBJECTS | policy_controllers.SUBJECTS
    return (*to_groups, *(_binding(name, subject) for name, subject in to_one.items()))


def _binding(name: str, *subjects: rbac.Subject) -> rbac.ClusterRoleBinding:
    return rbac.ClusterRoleBinding(
        metadata=_metadata(name, {}),
        role_ref=rbac.RoleRef(api_group=_GROUP, kind="ClusterRole", name=name),
        subjects=subjects,
    )


def role_up_to_date(found: rbac.ClusterRole, wanted: rbac.ClusterRole) -> rbac.ClusterRole:
    """The role that is there, with what is missing; itself when nothing is, or when it wants to be left alone.

    Nothing is taken away: what a cluster's owner has added stays.
    """
    if found.metadata.annotations.get(AUTO_UPDATE) == "false":
        return found
    own = () if wanted.aggregation_rule is not None else wanted.rules
    lacking = tuple(rule for rule in own if missing((rule,), found.rules))
    rule = found.aggregation_rule or wanted.aggregation_rule
    metadata = _marked(found.metadata, wanted.metadata)
    return replace(found, metadata=metadata, rules=(*found.rules, *lacking), aggregation_rule=rule)


def binding_up_to_date(found: rbac.ClusterRoleBinding, wanted: rbac.ClusterRoleBinding) -> rbac.ClusterRoleBinding:
    """The same for a binding; one to another role stays as it is, because its role can't change."""
    if found.metadata.annotations.get(AUTO_UPDATE) == "false" or found.role_ref != wanted.role_ref:
        return found
    added = tuple(subject for subject in wanted.subjects if subject not in found.subjects)
    return replace(found, metadata=_marked(found.metadata, wanted.metadata), subjects=(*found.subjects, *added))


def _marked(found: meta.ObjectMeta, wanted: meta.ObjectMeta) -> meta.ObjectMeta:
    return replace(
        found, labels={**found.labels, **wanted.labels}, annotations={**found.annotations, **wanted.annotations}
    )
