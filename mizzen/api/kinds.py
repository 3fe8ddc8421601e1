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
    authentication_v1,
    authorization_v1,
    autoscaling_v1,
    autoscaling_v2,
    batch_v1,
    certificates_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    events_v1,
    flowcontrol_v1,
    meta_v1,
    metrics_v1beta1,
    networking_v1,
    node_v1,
    policy_v1,
    rbac_v1,
    resource_v1,
    scheduling_v1,
    storage_v1,
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

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""What can be asked of most kinds."""
ASKED = ("create",)
"""What can be asked of a question: it is answered, and nothing is stored."""
READ = ("get", "list")
"""What can be asked of what is measured or looked at: it can be read, and nothing is stored."""


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
    """False for another kind's storage seen through a second group (events) or version (autoscalers), questions, and
    what is measured."""
    verbs: tuple[str, ...] = VERBS
    """What can be asked of it."""
    warning: str = ""
    """What whoever asks for it is warned of."""

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
_STATUS = ("status",)
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
    subresources=("status", "finalize"), verbs=tuple(verb for verb in VERBS if verb != "deletecollection"),
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

# Workloads and storage

STATEFUL_SET = Kind(
    apps_v1.StatefulSet, "apps", "v1", "StatefulSet", "statefulsets", short_names=("sts",), categories=_WORKLOAD,
    subresources=_SCALED,
)  # fmt: skip
DAEMON_SET = Kind(
    apps_v1.DaemonSet, "apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), categories=_WORKLOAD,
    subresources=_STATUS,
)  # fmt: skip
CONTROLLER_REVISION = Kind(apps_v1.ControllerRevision, "apps", "v1", "ControllerRevision", "controllerrevisions")
REPLICATION_CONTROLLER = Kind(
    core_v1.ReplicationController, "", "v1", "ReplicationController", "replicationcontrollers", short_names=("rc",),
    categories=_WORKLOAD, subresources=_SCALED,
)  # fmt: skip
POD_TEMPLATE = Kind(core_v1.PodTemplate, "", "v1", "PodTemplate", "podtemplates")
PERSISTENT_VOLUME = Kind(
    core_v1.PersistentVolume, "", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short_names=("pv",),
    subresources=_STATUS,
)  # fmt: skip
PERSISTENT_VOLUME_CLAIM = Kind(
    core_v1.PersistentVolumeClaim, "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",),
    subresources=_STATUS,
)  # fmt: skip
RESOURCE_QUOTA = Kind(
    core_v1.ResourceQuota, "", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), subresources=_STATUS
)
LIMIT_RANGE = Kind(core_v1.LimitRange, "", "v1", "LimitRange", "limitranges", short_names=("limits",))

# Batch

JOB = Kind(batch_v1.Job, "batch", "v1", "Job", "jobs", categories=_WORKLOAD, subresources=_STATUS)
CRON_JOB = Kind(
    batch_v1.CronJob, "batch", "v1", "CronJob", "cronjobs", short_names=("cj",), categories=_WORKLOAD,
    subresources=_STATUS,
)  # fmt: skip

# Networking

_NETWORKING = "networking.k8s.io"
INGRESS = Kind(
    networking_v1.Ingress, _NETWORKING, "v1", "Ingress", "ingresses", short_names=("ing",), subresources=_STATUS
)
INGRESS_CLASS = Kind(networking_v1.IngressClass, _NETWORKING, "v1", "IngressClass", "ingressclasses", namespaced=False)
NETWORK_POLICY = Kind(
    networking_v1.NetworkPolicy, _NETWORKING, "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",)
)
IP_ADDRESS = Kind(
    networking_v1.IPAddress, _NETWORKING, "v1", "IPAddress", "ipaddresses", namespaced=False, short_names=("ip",)
)
SERVICE_CIDR = Kind(
    networking_v1.ServiceCIDR, _NETWORKING, "v1", "ServiceCIDR", "servicecidrs", namespaced=False,
    subresources=_STATUS,
)  # fmt: skip

# Policy and autoscaling

POD_DISRUPTION_BUDGET = Kind(
    policy_v1.PodDisruptionBudget, "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",),
    subresources=_STATUS,
)  # fmt: skip
HORIZONTAL_POD_AUTOSCALER = Kind(
    autoscaling_v2.HorizontalPodAutoscaler, "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers",
    short_names=("hpa",), categories=_WORKLOAD, subresources=_STATUS,
)  # fmt: skip
HORIZONTAL_POD_AUTOSCALER_V1 = Kind(
    autoscaling_v1.HorizontalPodAutoscaler, "autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers",
    short_names=("hpa",), categories=_WORKLOAD, subresources=_STATUS, stored=False,
)  # fmt: skip

# Classes and drivers

_STORAGE = "storage.k8s.io"
STORAGE_CLASS = Kind(
    storage_v1.StorageClass, _STORAGE, "v1", "StorageClass", "storageclasses", namespaced=False, short_names=("sc",)
)
VOLUME_ATTACHMENT = Kind(
    storage_v1.VolumeAttachment, _STORAGE, "v1", "VolumeAttachment", "volumeattachments", namespaced=False,
    subresources=_STATUS,
)  # fmt: skip
CSI_DRIVER = Kind(storage_v1.CSIDriver, _STORAGE, "v1", "CSIDriver", "csidrivers", namespaced=False)
CSI_NODE = Kind(storage_v1.CSINode, _STORAGE, "v1", "CSINode", "csinodes", namespaced=False)
CSI_STORAGE_CAPACITY = Kind(storage_v1.CSIStorageCapacity, _STORAGE, "v1", "CSIStorageCapacity", "csistoragecapacities")
VOLUME_ATTRIBUTES_CLASS = Kind(
    storage_v1.VolumeAttributesClass, _STORAGE, "v1", "VolumeAttributesClass", "volumeattributesclasses",
    namespaced=False, short_names=("vac",),
)  # fmt: skip
PRIORITY_CLASS = Kind(
    scheduling_v1.PriorityClass, "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False,
    short_names=("pc",),
)  # fmt: skip
RUNTIME_CLASS = Kind(node_v1.RuntimeClass, "node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False)

# Flow control

_FLOWCONTROL = "flowcontrol.apiserver.k8s.io"
FLOW_SCHEMA = Kind(
    flowcontrol_v1.FlowSchema, _FLOWCONTROL, "v1", "FlowSchema", "flowschemas", namespaced=False, subresources=_STATUS
)
PRIORITY_LEVEL = Kind(
    flowcontrol_v1.PriorityLevelConfiguration, _FLOWCONTROL, "v1", "PriorityLevelConfiguration",
    "prioritylevelconfigurations", namespaced=False, subresources=_STATUS,
)  # fmt: skip

# Devices

_RESOURCE = "resource.k8s.io"
DEVICE_CLASS = Kind(resource_v1.DeviceClass, _RESOURCE, "v1", "DeviceClass", "deviceclasses", namespaced=False)
RESOURCE_CLAIM = Kind(
    resource_v1.ResourceClaim, _RESOURCE, "v1", "ResourceClaim", "resourceclaims", subresources=_STATUS
)
RESOURCE_CLAIM_TEMPLATE = Kind(
    resource_v1.ResourceClaimTemplate, _RESOURCE, "v1", "ResourceClaimTemplate", "resourceclaimtemplates"
)
RESOURCE_SLICE = Kind(resource_v1.ResourceSlice, _RESOURCE, "v1", "ResourceSlice", "resourceslices", namespaced=False)

# Identity and access

_RBAC = "rbac.authorization.k8s.io"
ROLE = Kind(rbac_v1.Role, _RBAC, "v1", "Role", "roles")
ROLE_BINDING = Kind(rbac_v1.RoleBinding, _RBAC, "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE = Kind(rbac_v1.ClusterRole, _RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(
    rbac_v1.ClusterRoleBinding, _RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
CERTIFICATE_SIGNING_REQUEST = Kind(
    certificates_v1.CertificateSigningRequest, "certificates.k8s.io", "v1", "CertificateSigningRequest",
    "certificatesigningrequests", namespaced=False, short_names=("csr",), subresources=("status", "approval"),
)  # fmt: skip

_METRICS = ("metrics.k8s.io", "v1beta1")
NODE_METRICS = Kind(
    metrics_v1beta1.NodeMetrics, *_METRICS, "NodeMetrics", "nodes", namespaced=False, stored=False, verbs=READ
)
POD_METRICS = Kind(metrics_v1beta1.PodMetrics, *_METRICS, "PodMetrics", "pods", stored=False, verbs=READ)
MEASURED = (NODE_METRICS, POD_METRICS)
COMPONENT_STATUS = Kind(
    core_v1.ComponentStatus, "", "v1", "ComponentStatus", "componentstatuses", namespaced=False, short_names=("cs",),
    stored=False, verbs=READ, warning="v1 ComponentStatus is deprecated in v1.19+",
)  # fmt: skip


def _question(type_: type[T], group: str, plural: str, *, namespaced: bool = False) -> Kind[T]:
    """A kind whose objects are sent and answered at once, and not kept."""
    return Kind(type_, group, "v1", type_.__name__, plural, namespaced=namespaced, stored=False, verbs=ASKED)


BINDING = _question(core_v1.Binding, "", "bindings", namespaced=True)
"""The old way of pods to their nodes, beside `pods/binding`."""
_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
TOKEN_REVIEW = _question(authentication_v1.TokenReview, _AUTHENTICATION, "tokenreviews")
SELF_SUBJECT_REVIEW = _question(authentication_v1.SelfSubjectReview, _AUTHENTICATION, "selfsubjectreviews")
SUBJECT_ACCESS_REVIEW = _question(authorization_v1.SubjectAccessReview, _AUTHORIZATION, "subjectaccessreviews")
SELF_SUBJECT_ACCESS_REVIEW = _question(
    authorization_v1.SelfSubjectAccessReview, _AUTHORIZATION, "selfsubjectaccessreviews"
)
LOCAL_SUBJECT_ACCESS_REVIEW = _question(
    authorization_v1.LocalSubjectAccessReview, _AUTHORIZATION, "localsubjectaccessreviews", namespaced=True
)
SELF_SUBJECT_RULES_REVIEW = _question(
    authorization_v1.SelfSubjectRulesReview, _AUTHORIZATION, "selfsubjectrulesreviews"
)

KINDS: tuple[Kind[Any], ...] = (
    POD, NODE, NAMESPACE, SERVICE, ENDPOINTS, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT, DEPLOYMENT, REPLICA_SET,
    LEASE, ENDPOINT_SLICE, EVENTS_EVENT,
    STATEFUL_SET, DAEMON_SET, CONTROLLER_REVISION, REPLICATION_CONTROLLER, POD_TEMPLATE, PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM, RESOURCE_QUOTA, LIMIT_RANGE,
    JOB, CRON_JOB,
    INGRESS, INGRESS_CLASS, NETWORK_POLICY, IP_ADDRESS, SERVICE_CIDR,
    POD_DISRUPTION_BUDGET, HORIZONTAL_POD_AUTOSCALER, HORIZONTAL_POD_AUTOSCALER_V1,
    STORAGE_CLASS, VOLUME_ATTACHMENT, CSI_DRIVER, CSI_NODE, CSI_STORAGE_CAPACITY, VOLUME_ATTRIBUTES_CLASS,
    PRIORITY_CLASS, RUNTIME_CLASS,
    FLOW_SCHEMA, PRIORITY_LEVEL,
    DEVICE_CLASS, RESOURCE_CLAIM, RESOURCE_CLAIM_TEMPLATE, RESOURCE_SLICE,
    ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING,
    CERTIFICATE_SIGNING_REQUEST, TOKEN_REVIEW, SELF_SUBJECT_REVIEW, SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW,
    LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_RULES_REVIEW, BINDING,
    CUSTOM_RESOURCE_DEFINITION, VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS, VALIDATING_POLICY, VALIDATING_POLICY_BINDING,
    MUTATING_POLICY, MUTATING_POLICY_BINDING, API_SERVICE,
    COMPONENT_STATUS, *MEASURED,
)  # fmt: skip

BY_RESOURCE: dict[str, Kind[Any]] = {kind.resource: kind for kind in reversed(KINDS)}
"""Kinds by `pods`, `deployments.apps`; of several versions the first in the table, which is the stored one."""
BY_KIND: dict[tuple[str, str], Kind[Any]] = {(kind.api_version, kind.kind): kind for kind in KINDS}
"""Kinds by (`apps/v1`, `Deployment`)."""
BY_TYPE: dict[type[Any], Kind[Any]] = {kind.type: kind for kind in KINDS}
"""Kinds by their struct."""

RETURNED_WHEN_DELETED: tuple[Kind[Any], ...] = (
    POD, POD_TEMPLATE, SERVICE, SERVICE_ACCOUNT, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, RESOURCE_QUOTA,
    STORAGE_CLASS, VOLUME_ATTACHMENT, VOLUME_ATTRIBUTES_CLASS, CSI_DRIVER, CSI_NODE,
    DEVICE_CLASS, RESOURCE_CLAIM, RESOURCE_CLAIM_TEMPLATE, RESOURCE_SLICE,
)  # fmt: skip
"""Kinds whose deletion answers with the object, as clients with types expect; for the others a Status is enough."""


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
