"""The declared indexes: which objects a decision can find without a scan.

An index is named once here; the cache keeps all of `ALL` up to date. Declaring one costs a few hundred bytes per
object of its kind, so it is for relations that reconcilers, the scheduler or the gateway follow for every change.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from mizzen.api import config_versions, kinds, selectors, workloads
from mizzen.api.kinds import Kind, Object
from mizzen.api.service_ranges import is_allocated, service_of
from mizzen.api.types import apps_v1, core_v1, discovery_v1, networking_v1, policy_v1, rbac_v1, storage_v1
from mizzen.api.volumes import claims_of, class_of, home_of
from mizzen.engine.view import Index

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""Names the service that an endpoint slice belongs to."""
MOVES = "moves"
"""The only value of the index of Deployments whose pods may move, or do."""
BALANCED = "balanced"
"""The only value of the index of Services that are load balancers, or were."""
ENDED = "ended"
"""The only value of the index of pods that have succeeded or failed."""


def namespaced(namespace: str, name: str) -> str:
    """Return the index value for a named object within a namespace."""
    return f"{namespace}/{name}"


def _owner_uids(obj: Object) -> Iterable[str]:
    return [reference.uid for reference in obj.metadata.owner_references]


def free(namespace: str) -> str:
    """The index value of what nobody in a namespace controls; no uid is like it."""
    return namespaced(namespace, "")


def _controller_uid(obj: Object) -> Iterable[str]:
    uids = [reference.uid for reference in obj.metadata.owner_references if reference.controller]
    return uids or [free(obj.metadata.namespace)]


def _node_name(pod: core_v1.Pod) -> Iterable[str]:
    return [pod.spec.node_name]


def _dependencies(pod: core_v1.Pod) -> Iterable[str]:
    if not workloads.is_gated(pod):
        return []
    names = pod.metadata.annotations.get(workloads.DEPENDS_ON, "").split(",")
    return [namespaced(pod.metadata.namespace, name.strip()) for name in names]


def _moving(deployment: apps_v1.Deployment) -> Iterable[str]:
    is_moving = workloads.MOVING in deployment.metadata.annotations
    return [MOVES] if is_moving or workloads.moves(deployment.metadata) else []


def _service_name(piece: discovery_v1.EndpointSlice) -> Iterable[str]:
    service = piece.metadata.labels.get(SERVICE_NAME_LABEL)
    return [namespaced(piece.metadata.namespace, service)] if service else []


def _balanced(service: core_v1.Service) -> Iterable[str]:
    has_address = bool(service.status.load_balancer.ingress)
    return [BALANCED] if service.spec.type == "LoadBalancer" or has_address else []


def _node_ports(service: core_v1.Service) -> Iterable[str]:
    numbers = (*(port.node_port for port in service.spec.ports), service.spec.health_check_node_port)
    return {str(number) for number in numbers if number}


def _service_with(address: networking_v1.IPAddress) -> Iterable[str]:
    service = service_of(address)
    return [namespaced(*service)] if service is not None and is_allocated(address) else []


def labelled(namespace: str, key: str, value: str) -> str:
    """Return the index value for what has, or asks for, a label within a namespace."""
    return f"{namespace}/{key}={value}"


UNNAMED = ("", "")
"""Stands for the label of a selector that asks for no value of any: no label is like it."""


def _labels(pod: core_v1.Pod) -> Iterable[str]:
    return [labelled(pod.metadata.namespace, key, value) for key, value in pod.metadata.labels.items()]


def _asked_by_service(service: core_v1.Service) -> Iterable[str]:
    return _asked(service, selectors.from_labels(service.spec.selector)) if service.spec.selector else []


def _asked_by_budget(budget: policy_v1.PodDisruptionBudget) -> Iterable[str]:
    return _asked(budget, selectors.from_field(budget.spec.selector))


def _asked(obj: Object, selector: selectors.Selector) -> Iterable[str]:
    """One label is enough: what lacks it is not selected."""
    return [] if selector.nothing else [labelled(obj.metadata.namespace, *next(iter(selector.exact), UNNAMED))]


def _ended(pod: core_v1.Pod) -> Iterable[str]:
    return [ENDED] if pod.status.phase in ("Succeeded", "Failed") else []


def _regarding_uid(event: core_v1.Event) -> Iterable[str]:
    uid = event.involved_object.uid
    return [uid] if uid else []


def _namespace(event: core_v1.Event) -> Iterable[str]:
    return [event.metadata.namespace]


def _mounted(pod: core_v1.Pod) -> Iterable[str]:
    return [namespaced(pod.metadata.namespace, mounted.name) for mounted in claims_of(pod)]


def _claim_of(volume: core_v1.PersistentVolume) -> Iterable[str]:
    ref = volume.spec.claim_ref
    return [namespaced(ref.namespace, ref.name)] if ref is not None else []


def _attached_to(attachment: storage_v1.VolumeAttachment) -> Iterable[str]:
    return [attachment.spec.node_name]


def _attached(attachment: storage_v1.VolumeAttachment) -> Iterable[str]:
    name = attachment.spec.source.persistent_volume_name
    return [name] if name else []


def _free(volume: core_v1.PersistentVolume) -> Iterable[str]:
    return [class_of(volume)] if volume.spec.claim_ref is None else []


def _home(volume: core_v1.PersistentVolume) -> Iterable[str]:
    home = home_of(volume)
    return [home] if home else []


def user_subject(name: str) -> str:
    """The index value of a user as the subject of bindings."""
    return f"user/{name}"


def group_subject(name: str) -> str:
    """The index value of a group as the subject of bindings."""
    return f"group/{name}"


def _subjects(binding: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding) -> Iterable[str]:
    home = binding.metadata.namespace
    for subject in binding.subjects:
        if subject.kind == "ServiceAccount":
            namespace = subject.namespace or home
            value = user_subject(f"system:serviceaccount:{namespace}:{subject.name}") if namespace else ""
        elif subject.kind == "User":
            value = user_subject(subject.name)
        else:
            value = group_subject(subject.name)
        if value:
            yield namespaced(home, value) if home else value


PODS_BY_NODE = Index("pods-by-node", kinds.POD, _node_name)
"""Pods by the node they are bound to; under the empty string those that are bound to none."""
PODS_BY_LABEL = Index("pods-by-label", kinds.POD, _labels)
"""Pods by each of their labels; see `labelled`."""
PODS_BY_END = Index("pods-by-end", kinds.POD, _ended)
"""Under `ENDED` the pods that have succeeded or failed."""
SERVICES_BY_SELECTED = Index("services-by-selected", kinds.SERVICE, _asked_by_service)
"""Services with a selector by one of the labels that it asks for; see `labelled` and `UNNAMED`."""
LOAD_BALANCERS = Index("load-balancers", kinds.SERVICE, _balanced)
"""Under `BALANCED` the Services of type LoadBalancer, and those that still have an address."""
SERVICES_BY_NODE_PORT = Index("services-by-node-port", kinds.SERVICE, _node_ports)
"""Services by the number of each port that they have on nodes."""
ADDRESSES_BY_SERVICE = Index("ipaddresses-by-service", kinds.IP_ADDRESS, _service_with)
"""Addresses that were given to services, by `namespace/name` of the service; see `namespaced`."""
BUDGETS_BY_SELECTED = Index("poddisruptionbudgets-by-selected", kinds.POD_DISRUPTION_BUDGET, _asked_by_budget)
"""Disruption budgets by one of the labels that their selector asks for; see `labelled` and `UNNAMED`."""
PODS_BY_CONTROLLER = Index("pods-by-controller", kinds.POD, _controller_uid)
"""Pods by the uid of their controlling owner; those that nobody controls under `free`."""
MOVING_DEPLOYMENTS = Index("moving-deployments", kinds.DEPLOYMENT, _moving)
PODS_BY_DEPENDENCY = Index("pods-by-dependency", kinds.POD, _dependencies)
"""Pods that wait, by what they wait for: `namespaced(namespace, "deployment/NAME")`."""
REPLICA_SETS_BY_CONTROLLER = Index("replicasets-by-controller", kinds.REPLICA_SET, _controller_uid)
"""ReplicaSets by the uid of their controlling owner; those that nobody controls under `free`."""
CONTROLLER_REVISIONS_BY_CONTROLLER = Index(
    "controllerrevisions-by-controller", kinds.CONTROLLER_REVISION, _controller_uid
)
"""Controller revisions by the uid of their controlling owner; those that nobody controls under `free`."""
JOBS_BY_CONTROLLER = Index("jobs-by-controller", kinds.JOB, _controller_uid)
"""Jobs by the uid of their controlling owner; those that nobody controls under `free`."""
ENDPOINT_SLICES_BY_SERVICE = Index("endpointslices-by-service", kinds.ENDPOINT_SLICE, _service_name)
"""Endpoint slices by `namespace/name` of their service; see `namespaced`."""
EVENTS_BY_NAMESPACE = Index("events-by-namespace", kinds.EVENT, _namespace)
"""Events by their namespace, to be counted."""
EVENTS_BY_REGARDING = Index("events-by-regarding", kinds.EVENT, _regarding_uid)
"""Events by the uid of the object they tell about."""
PODS_BY_CLAIM = Index("pods-by-claim", kinds.POD, _mounted)
"""Pods by `namespace/name` of each claim that they mount; see `namespaced`."""
VOLUMES_BY_CLAIM = Index("volumes-by-claim", kinds.PERSISTENT_VOLUME, _claim_of)
"""Volumes by `namespace/name` of the claim that they are reserved for; see `namespaced`."""
FREE_VOLUMES_BY_CLASS = Index("free-volumes-by-class", kinds.PERSISTENT_VOLUME, _free)
"""Volumes that are reserved for no claim, by the name of their class."""
VOLUMES_BY_HOME = Index("volumes-by-home", kinds.PERSISTENT_VOLUME, _home)
"""Volumes whose folder a node keeps or is to take away, by the name of the node."""
ATTACHMENTS_BY_NODE = Index("volumeattachments-by-node", kinds.VOLUME_ATTACHMENT, _attached_to)
"""Attachments by the name of their node."""
ATTACHMENTS_BY_VOLUME = Index("volumeattachments-by-volume", kinds.VOLUME_ATTACHMENT, _attached)
"""Attachments by the name of their volume."""
ROLE_BINDINGS_BY_SUBJECT = Index("rolebindings-by-subject", kinds.ROLE_BINDING, _subjects)
"""Role bindings by namespace and subject: `namespaced(namespace, user_subject(name))` or the same with a group."""
CLUSTER_ROLE_BINDINGS_BY_SUBJECT = Index("clusterrolebindings-by-subject", kinds.CLUSTER_ROLE_BINDING, _subjects)
"""Cluster role bindings by subject: `user_subject(name)` or `group_subject(name)`."""


def config_user(namespace: str, kind: str, name: str) -> str:
    """The index value of a ConfigMap or Secret that workloads use."""
    return namespaced(namespace, f"{kind}/{name}")


def _configs(owner: config_versions.Owner) -> Iterable[str]:
    if not workloads.is_on(owner.metadata, workloads.CONFIG_ROLLOUT):
        return []
    namespace = owner.metadata.namespace
    return [config_user(namespace, *config) for config in config_versions.referenced(owner.spec.template.spec)]


@cache
def config_users(kind: Kind[Any]) -> Index[Any]:
    """The index of the workloads of a kind that ask for rollouts of their configs, by `config_user`."""
    return Index(f"{kind.plural}-by-config", kind, _configs)


def _asked_by_workload(owner: Any) -> Iterable[str]:
    try:
        return _asked(owner, selectors.of_workload(owner.spec.selector))
    except selectors.SelectorError:  # another hand's: admission lets no such selector in
        return []


WORKLOADS: tuple[Kind[Any], ...] = (
    kinds.DEPLOYMENT,
    kinds.REPLICA_SET,
    kinds.REPLICATION_CONTROLLER,
    kinds.STATEFUL_SET,
    kinds.DAEMON_SET,
    kinds.JOB,
)
"""The kinds that adopt what their selector matches."""


@cache
def adopters(kind: Kind[Any]) -> Index[Any]:
    """The index of the workloads of a kind by one of the labels that they ask for; see `labelled` and `UNNAMED`."""
    return Index(f"{kind.plural}-by-selected", kind, _asked_by_workload)


@cache
def by_owner(kind: Kind[Any]) -> Index[Any]:
    """The index of a stored kind's objects by the uid of any owner."""
    return Index(f"{kind.plural}-by-owner", kind, _owner_uids)


ALL: tuple[Index[Any], ...] = (
    PODS_BY_NODE,
    PODS_BY_LABEL,
    PODS_BY_END,
    SERVICES_BY_SELECTED,
    LOAD_BALANCERS,
    SERVICES_BY_NODE_PORT,
    ADDRESSES_BY_SERVICE,
    BUDGETS_BY_SELECTED,
    PODS_BY_CONTROLLER,
    PODS_BY_DEPENDENCY,
    PODS_BY_CLAIM,
    MOVING_DEPLOYMENTS,
    REPLICA_SETS_BY_CONTROLLER,
    CONTROLLER_REVISIONS_BY_CONTROLLER,
    JOBS_BY_CONTROLLER,
    ENDPOINT_SLICES_BY_SERVICE,
    EVENTS_BY_NAMESPACE,
    EVENTS_BY_REGARDING,
    VOLUMES_BY_CLAIM,
    FREE_VOLUMES_BY_CLASS,
    VOLUMES_BY_HOME,
    ATTACHMENTS_BY_NODE,
    ATTACHMENTS_BY_VOLUME,
    ROLE_BINDINGS_BY_SUBJECT,
    CLUSTER_ROLE_BINDINGS_BY_SUBJECT,
    *(config_users(kind) for kind in (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET)),
    *(adopters(kind) for kind in WORKLOADS),
    *(by_owner(kind) for kind in kinds.KINDS if kind.stored),
)
"""Every declared index; kinds that users define have the one by owner beside these."""
