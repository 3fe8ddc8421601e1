"""The one table of kinds: what the API serves of itself, by which names, and with which type.

What users define beside these stands in `catalog`.

Adding a kind is one entry here and its message in `proto/`. Discovery, REST paths, storage keys, the command line and
the watch feed all read this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mizzen.api.types import (
    admissionregistration_v1,
    apiextensions_v1,
    apiregistration_v1,
    apps_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    events_v1,
    meta_v1,
)


class Object(Protocol):
    """What every kind has."""

    @property
    def api_version(self) -> str:
        """Group and version, such as `apps/v1`; the core group has no name."""
        ...

    @property
    def kind(self) -> str:
        """The kind in CamelCase."""
        ...

    @property
    def metadata(self) -> meta_v1.ObjectMeta:
        """Identity, labels, owners, version."""
        ...


T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[T]):
    """One kind of object. Each is a constant of this module and compared by identity."""

    type: type[T]
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    """Names below the object's path, such as `status` and `scale`."""
    stored: bool = True
    """False for what is another kind's storage seen through a second group (events)."""

    @property
    def singular(self) -> str:
        """The singular resource name."""
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of lists of them."""
        return f"{self.kind}List"

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The resource as kubectl writes it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_WORKLOAD = ("all",)
_SCALED = ("status", "scale")

POD = Kind(
    core_v1.Pod, "", "v1", "Pod", "pods", short_names=("po",), categories=_WORKLOAD,
    subresources=(
        "status", "binding", "eviction", "log", "exec", "attach", "portforward", "ephemeralcontainers", "resize",
        "proxy",
    ),
)  # fmt: skip
NODE = Kind(
    core_v1.Node, "", "v1", "Node", "nodes", namespaced=False, short_names=("no",), subresources=("status", "proxy")
)
NAMESPACE = Kind(
    core_v1.Namespace, "", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",),
    subresources=("status", "finalize"),
)  # fmt: skip
SERVICE = Kind(
    core_v1.Service, "", "v1", "Service", "services", short_names=("svc",), categories=_WORKLOAD,
    subresources=("status", "proxy"),
)  # fmt: skip
ENDPOINTS = Kind(core_v1.Endpoints, "", "v1", "Endpoints", "endpoints", short_names=("ep",))
CONFIG_MAP = Kind(core_v1.ConfigMap, "", "v1", "ConfigMap", "configmaps", short_names=("cm",))
SECRET = Kind(core_v1.Secret, "", "v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind(
    core_v1.ServiceAccount, "", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",), subresources=("token",)
)
EVENT = Kind(core_v1.Event, "", "v1", "Event", "events", short_names=("ev",))
DEPLOYMENT = Kind(
    apps_v1.Deployment, "apps", "v1", "Deployment", "deployments", short_names=("deploy",), categories=_WORKLOAD,
    subresources=_SCALED,
)  # fmt: skip
REPLICA_SET = Kind(
    apps_v1.ReplicaSet, "apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), categories=_WORKLOAD,
    subresources=_SCALED,
)  # fmt: skip
LEASE = Kind(coordination_v1.Lease, "coordination.k8s.io", "v1", "Lease", "leases")
ENDPOINT_SLICE = Kind(discovery_v1.EndpointSlice, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
CUSTOM_RESOURCE_DEFINITION = Kind(
    apiextensions_v1.CustomResourceDefinition, "apiextensions.k8s.io", "v1", "CustomResourceDefinition",
    "customresourcedefinitions", namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",),
    subresources=("status",),
)  # fmt: skip
_ADMISSION = ("admissionregistration.k8s.io", "v1")
VALIDATING_WEBHOOKS = Kind(
    admissionregistration_v1.ValidatingWebhookConfiguration, *_ADMISSION, "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations", namespaced=False, categories=("api-extensions",),
)  # fmt: skip
MUTATING_WEBHOOKS = Kind(
    admissionregistration_v1.MutatingWebhookConfiguration, *_ADMISSION, "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations", namespaced=False, categories=("api-extensions",),
)  # fmt: skip
VALIDATING_POLICY = Kind(
    admissionregistration_v1.ValidatingAdmissionPolicy, *_ADMISSION, "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies", namespaced=False, categories=("api-extensions",), subresources=("status",),
)  # fmt: skip
VALIDATING_POLICY_BINDING = Kind(
    admissionregistration_v1.ValidatingAdmissionPolicyBinding, *_ADMISSION, "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings", namespaced=False, categories=("api-extensions",),
)  # fmt: skip
MUTATING_POLICY = Kind(
    admissionregistration_v1.MutatingAdmissionPolicy, *_ADMISSION, "MutatingAdmissionPolicy",
    "mutatingadmissionpolicies", namespaced=False, categories=("api-extensions",),
)  # fmt: skip
MUTATING_POLICY_BINDING = Kind(
    admissionregistration_v1.MutatingAdmissionPolicyBinding, *_ADMISSION, "MutatingAdmissionPolicyBinding",
    "mutatingadmissionpolicybindings", namespaced=False, categories=("api-extensions",),
)  # fmt: skip
API_SERVICE = Kind(
    apiregistration_v1.APIService, "apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False,
    categories=("api-extensions",), subresources=("status",),
)  # fmt: skip
EVENTS_EVENT = Kind(events_v1.Event, "events.k8s.io", "v1", "Event", "events", short_names=("ev",), stored=False)

KINDS: tuple[Kind[Any], ...] = (
    POD, NODE, NAMESPACE, SERVICE, ENDPOINTS, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT, DEPLOYMENT, REPLICA_SET,
    LEASE, ENDPOINT_SLICE, EVENTS_EVENT, CUSTOM_RESOURCE_DEFINITION, VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS,
    VALIDATING_POLICY, VALIDATING_POLICY_BINDING, MUTATING_POLICY, MUTATING_POLICY_BINDING, API_SERVICE,
)  # fmt: skip

BY_RESOURCE: dict[str, Kind[Any]] = {kind.resource: kind for kind in KINDS}
"""Kinds by `pods`, `deployments.apps`."""
BY_KIND: dict[tuple[str, str], Kind[Any]] = {(kind.api_version, kind.kind): kind for kind in KINDS}
"""Kinds by (`apps/v1`, `Deployment`)."""
BY_TYPE: dict[type[Any], Kind[Any]] = {kind.type: kind for kind in KINDS}
"""Kinds by their struct."""


def kind_of(obj: T) -> Kind[T]:
    """The kind of an object, which the objects of users' kinds know; raises KeyError for what is not in the table."""
    return BY_TYPE.get(type(obj)) or _own_kind(obj)


def _own_kind(obj: Any) -> Kind[Any]:
    kind = getattr(obj, "of", None)
    if not isinstance(kind, Kind):
        raise KeyError(type(obj))
    return kind


def in_group(group: str, kinds: Iterable[Kind[Any]] = KINDS) -> list[Kind[Any]]:
    """The kinds of one API group, in the table's order."""
    return [kind for kind in kinds if kind.group == group]
