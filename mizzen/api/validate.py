"""What the API refuses: the entrance to the rules of all kinds.

An object comes here with its defaults, its name and its namespace. The rules look at the object alone (and at what it
replaces); what depends on others in the cluster is admission's business. The order of the errors is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mizzen.api import (
    autoscaling,
    formats,
    validate_access,
    validate_admission,
    validate_autoscaling,
    validate_batch,
    validate_certificates,
    validate_classes,
    validate_core,
    validate_definition,
    validate_flowcontrol,
    validate_meta,
    validate_network,
    validate_networking,
    validate_notes,
    validate_pod,
    validate_policy,
    validate_quota,
    validate_resource,
    validate_service,
    validate_sets,
    validate_storage,
    validate_workload,
)
from mizzen.api.errors import FieldError
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import authorization_v1 as authorization
from mizzen.api.types import autoscaling_v1, autoscaling_v2
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import certificates_v1 as certificates
from mizzen.api.types import coordination_v1 as coordination
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import events_v1 as events
from mizzen.api.types import flowcontrol_v1 as flowcontrol
from mizzen.api.types import networking_v1 as networking
from mizzen.api.types import node_v1 as node
from mizzen.api.types import policy_v1 as policy
from mizzen.api.types import rbac_v1 as rbac
from mizzen.api.types import resource_v1 as resource
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.api.types import storage_v1 as storage
from mizzen.api.validate_common import Errors, checked, not_negative, required

T = TypeVar("T")

_NOTE_MAX = 1024
_WORD_MAX = 128


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of one kind."""

    create: Callable[[Any], Errors]
    update: Callable[[Any, Any], Errors]
    status: Callable[[Any, Any], Errors] | None = None
    """For the status alone; None: as for the whole."""


def validate_create(obj: Any) -> tuple[FieldError, ...]:
    """What is wrong with an object that is about to be; raises KeyError for a kind without rules."""
    return (*_RULES[type(obj)].create(obj), *validate_notes.workload(obj))


def validate_update(new: T, old: T) -> tuple[FieldError, ...]:
    """What is wrong with an object that is about to replace another; raises KeyError for a kind without rules."""
    return (*_RULES[type(new)].update(new, old), *validate_notes.workload(new))


def validate_status_update(new: T, old: T) -> tuple[FieldError, ...]:
    """What is wrong with an object whose status is about to be replaced; raises KeyError for a kind without rules."""
    rules = _RULES[type(new)]
    return tuple((rules.status or rules.update)(new, old))


def _create_lease(lease: coordination.Lease) -> Errors:
    yield from validate_meta.create(lease.metadata, formats.dns_subdomain, namespaced=True)
    yield from _lease(lease.spec)


def _update_lease(new: coordination.Lease, old: coordination.Lease) -> Errors:
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _lease(new.spec)


def _lease(spec: coordination.LeaseSpec) -> Errors:
    if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
        yield FieldError.invalid("spec.leaseDurationSeconds", spec.lease_duration_seconds, "must be greater than 0")
    yield from not_negative("spec.leaseTransitions", spec.lease_transitions)
    if spec.preferred_holder and not spec.strategy:
        yield FieldError.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


def _create_event(event: core.Event) -> Errors:
    yield from validate_meta.create(event.metadata, formats.dns_subdomain, namespaced=True)
    yield from _event(event)


def _update_event(new: core.Event, old: core.Event) -> Errors:
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _event(new)


def _event(event: core.Event) -> Errors:
    """Events of the old form only have to stand in the right namespace; the new form must say more."""
    namespace, about = event.metadata.namespace, event.involved_object.namespace
    homes = ("default",) if not event.event_time else ("default", "kube-system")
    if (not about and namespace not in homes) or (about and not event.event_time and about != namespace):
        yield FieldError.invalid("involvedObject.namespace", about, "does not match event.namespace")
    if event.event_time:
        yield from _report(
            event.reporting_component, event.reporting_instance, event.action, event.reason, ("message", event.message)
        )


def _report(controller: str, instance: str, action: str, reason: str, text: tuple[str, str]) -> Errors:
    yield from required("reportingController", controller)
    yield from checked("reportingController", controller, formats.qualified_name)
    for name, value in (("reportingInstance", instance), ("action", action), ("reason", reason)):
        yield from required(name, value)
        if len(value) > _WORD_MAX:
            yield FieldError.invalid(name, "", f"can have at most {_WORD_MAX} characters")
    if len(text[1]) > _NOTE_MAX:
        yield FieldError.invalid(text[0], "", f"can have at most {_NOTE_MAX} characters")


def _create_new_event(event: events.Event) -> Errors:
    yield from validate_meta.create(event.metadata, formats.dns_subdomain, namespaced=True)
    yield from required("eventTime", event.event_time)
    yield from _report(
        event.reporting_controller, event.reporting_instance, event.action, event.reason, ("note", event.note)
    )
    if event.type not in ("Normal", "Warning"):
        yield FieldError.invalid("type", "", f"has invalid value: {event.type}")
    yield from _series(event)


def _update_new_event(new: events.Event, old: events.Event) -> Errors:
    yield from validate_meta.update(new.metadata, old.metadata)
    if new.series != old.series:
        yield from _series(new)


def _series(event: events.Event) -> Errors:
    if event.series is None:
        return
    if event.series.count < 2:
        yield FieldError.invalid("series.count", "", "should be at least 2")
    yield from required("series.lastObservedTime", event.series.last_observed_time)


def _create_old_autoscaler(obj: autoscaling_v1.HorizontalPodAutoscaler) -> Errors:
    yield from validate_autoscaling.create_autoscaler(autoscaling.to_v2(obj))


def _update_old_autoscaler(
    new: autoscaling_v1.HorizontalPodAutoscaler, old: autoscaling_v1.HorizontalPodAutoscaler
) -> Errors:
    yield from validate_autoscaling.update_autoscaler(autoscaling.to_v2(new), autoscaling.to_v2(old))


_WEBHOOKS = _Rules(validate_admission.create_webhooks, validate_admission.update_webhooks)
_POLICY = _Rules(validate_admission.create_policy, validate_admission.update_policy)
_BINDING = _Rules(validate_admission.create_binding, validate_admission.update_binding)
_RULES: dict[type[Any], _Rules] = {
    core.Pod: _Rules(validate_pod.create, validate_pod.update, validate_pod.update_status),
    core.Service: _Rules(validate_service.create, validate_service.update, validate_service.update_status),
    core.ConfigMap: _Rules(validate_core.create_config_map, validate_core.update_config_map),
    core.Secret: _Rules(validate_core.create_secret, validate_core.update_secret),
    core.ServiceAccount: _Rules(validate_core.create_service_account, validate_core.update_service_account),
    core.Namespace: _Rules(
        validate_core.create_namespace, validate_core.update_namespace, validate_core.update_namespace_status
    ),
    core.Node: _Rules(validate_core.create_node, validate_core.update_node),
    core.Endpoints: _Rules(validate_network.create_endpoints, validate_network.update_endpoints),
    core.Event: _Rules(_create_event, _update_event),
    events.Event: _Rules(_create_new_event, _update_new_event),
    apps.Deployment: _Rules(
        validate_workload.create_deployment,
        validate_workload.update_deployment,
        validate_workload.update_deployment_status,
    ),
    apps.ReplicaSet: _Rules(
        validate_workload.create_replica_set,
        validate_workload.update_replica_set,
        validate_workload.update_replica_set_status,
    ),
    coordination.Lease: _Rules(_create_lease, _update_lease),
    discovery.EndpointSlice: _Rules(validate_network.create_slice, validate_network.update_slice),
    apps.StatefulSet: _Rules(
        validate_sets.create_stateful_set, validate_sets.update_stateful_set, validate_sets.update_stateful_set_status
    ),
    apps.DaemonSet: _Rules(
        validate_sets.create_daemon_set, validate_sets.update_daemon_set, validate_sets.update_daemon_set_status
    ),
    apps.ControllerRevision: _Rules(validate_sets.create_revision, validate_sets.update_revision),
    core.ReplicationController: _Rules(
        validate_sets.create_replication_controller,
        validate_sets.update_replication_controller,
        validate_sets.update_replication_controller_status,
    ),
    core.PodTemplate: _Rules(validate_workload.create_pod_template, validate_workload.update_pod_template),
    core.PersistentVolume: _Rules(
        validate_storage.create_volume, validate_storage.update_volume, validate_storage.update_volume_status
    ),
    core.PersistentVolumeClaim: _Rules(
        validate_storage.create_claim, validate_storage.update_claim, validate_storage.update_claim_status
    ),
    core.ResourceQuota: _Rules(
        validate_quota.create_quota, validate_quota.update_quota, validate_quota.update_quota_status
    ),
    core.LimitRange: _Rules(validate_quota.create_limits, validate_quota.update_limits),
    batch.Job: _Rules(validate_batch.create_job, validate_batch.update_job, validate_batch.update_job_status),
    batch.CronJob: _Rules(
        validate_batch.create_cron_job, validate_batch.update_cron_job, validate_batch.update_cron_job_status
    ),
    networking.Ingress: _Rules(
        validate_networking.create_ingress,
        validate_networking.update_ingress,
        validate_networking.update_ingress_status,
    ),
    networking.IngressClass: _Rules(validate_networking.create_class, validate_networking.update_class),
    networking.NetworkPolicy: _Rules(validate_networking.create_policy, validate_networking.update_policy),
    networking.IPAddress: _Rules(validate_networking.create_address, validate_networking.update_address),
    networking.ServiceCIDR: _Rules(
        validate_networking.create_range, validate_networking.update_range, validate_networking.update_range_status
    ),
    policy.PodDisruptionBudget: _Rules(
        validate_policy.create_budget, validate_policy.update_budget, validate_policy.update_budget_status
    ),
    autoscaling_v2.HorizontalPodAutoscaler: _Rules(
        validate_autoscaling.create_autoscaler,
        validate_autoscaling.update_autoscaler,
        validate_autoscaling.update_autoscaler_status,
    ),
    autoscaling_v1.HorizontalPodAutoscaler: _Rules(_create_old_autoscaler, _update_old_autoscaler),
    storage.StorageClass: _Rules(validate_classes.create_storage_class, validate_classes.update_storage_class),
    storage.VolumeAttachment: _Rules(
        validate_classes.create_attachment,
        validate_classes.update_attachment,
        validate_classes.update_attachment_status,
    ),
    storage.CSIDriver: _Rules(validate_classes.create_driver, validate_classes.update_driver),
    storage.CSINode: _Rules(validate_classes.create_node_drivers, validate_classes.update_node_drivers),
    storage.CSIStorageCapacity: _Rules(validate_classes.create_capacity, validate_classes.update_capacity),
    storage.VolumeAttributesClass: _Rules(
        validate_classes.create_attributes_class, validate_classes.update_attributes_class
    ),
    scheduling.PriorityClass: _Rules(validate_classes.create_priority, validate_classes.update_priority),
    node.RuntimeClass: _Rules(validate_classes.create_runtime, validate_classes.update_runtime),
    flowcontrol.FlowSchema: _Rules(validate_flowcontrol.create_schema, validate_flowcontrol.update_schema),
    flowcontrol.PriorityLevelConfiguration: _Rules(
        validate_flowcontrol.create_level, validate_flowcontrol.update_level
    ),
    resource.DeviceClass: _Rules(validate_resource.create_class, validate_resource.update_class),
    resource.ResourceClaim: _Rules(
        validate_resource.create_claim, validate_resource.update_claim, validate_resource.update_claim_status
    ),
    resource.ResourceClaimTemplate: _Rules(validate_resource.create_template, validate_resource.update_template),
    resource.ResourceSlice: _Rules(validate_resource.create_slice, validate_resource.update_slice),
    rbac.Role: _Rules(validate_access.create_role, validate_access.update_role),
    rbac.ClusterRole: _Rules(validate_access.create_cluster_role, validate_access.update_cluster_role),
    rbac.RoleBinding: _Rules(validate_access.create_role_binding, validate_access.update_role_binding),
    rbac.ClusterRoleBinding: _Rules(
        validate_access.create_cluster_role_binding, validate_access.update_cluster_role_binding
    ),
    certificates.CertificateSigningRequest: _Rules(validate_certificates.create, validate_certificates.update),
    authentication.TokenReview: _Rules(validate_access.token_review, validate_access.nothing),
    authentication.TokenRequest: _Rules(validate_access.token_request, validate_access.nothing),
    authentication.SelfSubjectReview: _Rules(validate_access.nothing, validate_access.nothing),
    authorization.SubjectAccessReview: _Rules(validate_access.subject_access_review, validate_access.nothing),
    authorization.LocalSubjectAccessReview: _Rules(
        validate_access.local_subject_access_review, validate_access.nothing
    ),
    authorization.SelfSubjectAccessReview: _Rules(validate_access.self_subject_access_review, validate_access.nothing),
    authorization.SelfSubjectRulesReview: _Rules(validate_access.nothing, validate_access.nothing),
    core.Binding: _Rules(validate_access.nothing, validate_access.nothing),
    admission.ValidatingWebhookConfiguration: _WEBHOOKS,
    admission.MutatingWebhookConfiguration: _WEBHOOKS,
    admission.ValidatingAdmissionPolicy: _POLICY,
    admission.MutatingAdmissionPolicy: _POLICY,
    admission.ValidatingAdmissionPolicyBinding: _BINDING,
    admission.MutatingAdmissionPolicyBinding: _BINDING,
    apiregistration.APIService: _Rules(validate_admission.create_served_group, validate_admission.update_served_group),
    apiextensions.CustomResourceDefinition: _Rules(
        validate_definition.create, validate_definition.update, validate_definition.update_status
    ),
}
