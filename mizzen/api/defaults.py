"""What the API fills in where an object leaves something out.

Defaults depend on the object alone: what needs the cluster (addresses, priorities, tolerations, service accounts) is
admission's business. Applying them twice is the same as once. They are applied whenever an object comes in, so the
fields that have one are always set in what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mizzen.api import (
    defaults_access,
    defaults_admission,
    defaults_apps,
    defaults_autoscaling,
    defaults_batch,
    defaults_core,
    defaults_definition,
    defaults_flowcontrol,
    defaults_networking,
    defaults_pod,
    defaults_resource,
    defaults_storage,
)
from mizzen.api.edit import each, edited, filled
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import autoscaling_v1, autoscaling_v2
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import flowcontrol_v1 as flowcontrol
from mizzen.api.types import networking_v1 as networking
from mizzen.api.types import rbac_v1 as rbac
from mizzen.api.types import resource_v1 as resource
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.api.types import storage_v1 as storage

T = TypeVar("T")


def apply(obj: T) -> T:
    """The object with its defaults; itself when nothing is missing."""
    fill = _BY_TYPE.get(type(obj))
    return obj if fill is None else fill(obj)


def _endpoint_slice(obj: discovery.EndpointSlice) -> discovery.EndpointSlice:
    return edited(obj, ports=each(obj.ports, _endpoint_port))


def _endpoint_port(port: discovery.EndpointPort) -> discovery.EndpointPort:
    return filled(edited(port, name="" if port.name is None else port.name), protocol="TCP")


def _old_autoscaler(obj: autoscaling_v1.HorizontalPodAutoscaler) -> autoscaling_v1.HorizontalPodAutoscaler:
    return edited(obj, spec=filled(obj.spec, min_replicas=1))


def _priority_class(obj: scheduling.PriorityClass) -> scheduling.PriorityClass:
    return filled(obj, preemption_policy="PreemptLowerPriority")


_BY_TYPE: dict[type[Any], Callable[[Any], Any]] = {
    core.Pod: defaults_pod.pod,
    core.Service: defaults_core.service,
    core.Secret: defaults_core.secret,
    core.Namespace: defaults_core.namespace,
    core.Node: defaults_core.node,
    core.Endpoints: defaults_core.endpoints,
    apps.Deployment: defaults_apps.deployment,
    apps.ReplicaSet: defaults_apps.replica_set,
    discovery.EndpointSlice: _endpoint_slice,
    apiextensions.CustomResourceDefinition: defaults_definition.definition,
    admission.ValidatingWebhookConfiguration: defaults_admission.webhooks,
    admission.MutatingWebhookConfiguration: defaults_admission.webhooks,
    admission.ValidatingAdmissionPolicy: defaults_admission.policy,
    admission.MutatingAdmissionPolicy: defaults_admission.policy,
    admission.ValidatingAdmissionPolicyBinding: defaults_admission.binding,
    admission.MutatingAdmissionPolicyBinding: defaults_admission.binding,
    apiregistration.APIService: defaults_admission.served_group,
    apps.StatefulSet: defaults_apps.stateful_set,
    apps.DaemonSet: defaults_apps.daemon_set,
    core.ReplicationController: defaults_apps.replication_controller,
    core.PodTemplate: defaults_apps.pod_template,
    core.PersistentVolume: defaults_storage.volume,
    core.PersistentVolumeClaim: defaults_storage.claim,
    core.LimitRange: defaults_core.limit_range,
    batch.Job: defaults_batch.job,
    batch.CronJob: defaults_batch.cron_job,
    networking.NetworkPolicy: defaults_networking.policy,
    networking.IngressClass: defaults_networking.ingress_class,
    autoscaling_v1.HorizontalPodAutoscaler: _old_autoscaler,
    autoscaling_v2.HorizontalPodAutoscaler: defaults_autoscaling.autoscaler,
    storage.StorageClass: defaults_storage.storage_class,
    storage.VolumeAttachment: defaults_storage.attachment,
    storage.CSIDriver: defaults_storage.driver,
    scheduling.PriorityClass: _priority_class,
    flowcontrol.FlowSchema: defaults_flowcontrol.schema,
    flowcontrol.PriorityLevelConfiguration: defaults_flowcontrol.level,
    resource.ResourceClaim: defaults_resource.claim,
    resource.ResourceClaimTemplate: defaults_resource.template,
    rbac.RoleBinding: defaults_access.role_binding,
    rbac.ClusterRoleBinding: defaults_access.cluster_role_binding,
    authentication.TokenRequest: defaults_access.token_request,
}
