"""What the API fills in where an object leaves something out.

Defaults depend on the object alone: what needs the cluster (addresses, priorities, tolerations, service accounts) is
admission's business. Applying them twice is the same as once. They are applied whenever an object comes in, so the
fields that have one are always set in what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mizzen.api import defaults_admission, defaults_apps, defaults_core, defaults_definition, defaults_pod
from mizzen.api.edit import each, edited, filled
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery

T = TypeVar("T")


def apply(obj: T) -> T:
    """The object with its defaults; itself when nothing is missing."""
    fill = _BY_TYPE.get(type(obj))
    return obj if fill is None else fill(obj)


def _endpoint_slice(obj: discovery.EndpointSlice) -> discovery.EndpointSlice:
    return edited(obj, ports=each(obj.ports, _endpoint_port))


def _endpoint_port(port: discovery.EndpointPort) -> discovery.EndpointPort:
    return filled(edited(port, name="" if port.name is None else port.name), protocol="TCP")


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
}
