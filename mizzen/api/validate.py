"""What the API refuses: the entrance to the rules of all kinds.

An object comes here with its defaults, its name and its namespace. The rules look at the object alone (and at what it
replaces); what depends on others in the cluster is admission's business. The order of the errors is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mizzen.api import (
    formats,
    validate_admission,
    validate_core,
    validate_definition,
    validate_meta,
    validate_network,
    validate_pod,
    validate_service,
    validate_workload,
)
from mizzen.api.errors import FieldError
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import coordination_v1 as coordination
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import events_v1 as events
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
    return tuple(_RULES[type(obj)].create(obj))


def validate_update(new: T, old: T) -> tuple[FieldError, ...]:
    """What is wrong with an object that is about to replace another; raises KeyError for a kind without rules."""
    return tuple(_RULES[type(new)].update(new, old))


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
