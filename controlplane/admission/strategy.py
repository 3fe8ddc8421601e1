"""Who owns which part of an object, kind by kind.

A client owns the spec, controllers own the status: a write of one leaves the other as it is stored. The generation
counts changes of the spec, so that a status can say which spec it is about.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import definitions
from controlplane.admission.request import Operation, Request
from mizzen.api import kinds, times
from mizzen.api.kinds import Kind
from mizzen.api.resources import qos_class
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

_WITH_GENERATION = (
    kinds.POD, kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.ENDPOINT_SLICE,
    kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.REPLICATION_CONTROLLER, kinds.POD_TEMPLATE, kinds.JOB, kinds.CRON_JOB,
    kinds.INGRESS, kinds.INGRESS_CLASS, kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET, kinds.PRIORITY_CLASS,
    kinds.FLOW_SCHEMA, kinds.PRIORITY_LEVEL, kinds.DEVICE_CLASS, kinds.RESOURCE_SLICE,
    kinds.CUSTOM_RESOURCE_DEFINITION, kinds.VALIDATING_WEBHOOKS, kinds.MUTATING_WEBHOOKS, kinds.VALIDATING_POLICY,
    kinds.VALIDATING_POLICY_BINDING, kinds.MUTATING_POLICY, kinds.MUTATING_POLICY_BINDING,
)  # fmt: skip
_WITH_GENERATION_LATER = (kinds.CSI_DRIVER,)
"""The first change of such an object is its generation 1."""
_STATUS_ON_CREATE = (kinds.NODE,)
"""A node comes with its status: its agent creates it."""
_NAMESPACE_FINALIZER = "kubernetes"
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


def has_status(type_: type[Any]) -> bool:
    """Whether objects of this type have a status."""
    return "status" in type_.__struct_fields__


def prepare_create(request: Request, obj: Any) -> Any:
    """The new object with the status and generation that new objects have."""
    kind = request.kind
    if has_status(kind.type) and kind not in _STATUS_ON_CREATE:
        obj = replace(obj, status=_initial_status(obj))
    if kind in _WITH_GENERATION:
        obj = replace(obj, metadata=replace(obj.metadata, generation=1))
    if kind is kinds.CUSTOM_RESOURCE_DEFINITION:
        return definitions.with_stored_version(obj)
    return _namespace_parts(obj, obj.spec.finalizers or (_NAMESPACE_FINALIZER,)) if kind is kinds.NAMESPACE else obj


def _initial_status(obj: Any) -> Any:
    if isinstance(obj, core.Pod):
        return core.PodStatus(phase="Pending", qos_class=qos_class(obj.spec))
    if isinstance(obj, core.Namespace):
        return core.NamespaceStatus(phase="Active")
    if isinstance(obj, core.PersistentVolume):
        return core.PersistentVolumeStatus(phase="Pending", last_phase_transition_time=obj.metadata.creation_timestamp)
    if isinstance(obj, core.PersistentVolumeClaim):
        return core.PersistentVolumeClaimStatus(phase="Pending")
    return type(obj)().status


def note_phase(obj: core.PersistentVolume, old: core.PersistentVolume, now: Instant) -> core.PersistentVolume:
    """The volume with the time at which it came into its phase, where whoever changed the phase does not give one."""
    status, before = obj.status, old.status
    if status.phase == before.phase or status.last_phase_transition_time != before.last_phase_transition_time:
        return obj
    return replace(obj, status=replace(status, last_phase_transition_time=times.render(now)))


def prepare_update(request: Request, obj: Any, old: Any) -> Any:
    """The changed object, with the parts that this operation does not own as they are stored."""
    if request.operation is Operation.UPDATE_STATUS:
        return _status_update(obj, old)
    if request.operation is Operation.FINALIZE:
        return replace(old, spec=replace(old.spec, finalizers=obj.spec.finalizers))
    if has_status(request.kind.type):
        obj = replace(obj, status=old.status)
    if request.kind is kinds.NAMESPACE:
        obj = _namespace_parts(obj, obj.spec.finalizers if request.internal else old.spec.finalizers)
    elif request.kind is kinds.CUSTOM_RESOURCE_DEFINITION:
        obj = definitions.with_stored_version(obj)
    if request.kind in (*_WITH_GENERATION, *_WITH_GENERATION_LATER) and _asks_for_more(request.kind, obj, old):
        obj = replace(obj, metadata=replace(obj.metadata, generation=old.metadata.generation + 1))
    return obj


def _status_update(obj: Any, old: Any) -> Any:
    """Labels, annotations and finalizers may come with a status; a controller notes what it has done there."""
    metadata = replace(obj.metadata, owner_references=old.metadata.owner_references)
    return replace(old, metadata=metadata, status=obj.status)


def _asks_for_more(kind: Kind[Any], obj: Any, old: Any) -> bool:
    """Whether the generation rises; a deployment's annotations count because it hands them on to its ReplicaSets."""
    if kind is kinds.DEPLOYMENT and obj.metadata.annotations != old.metadata.annotations:
        return True
    return bool(_desired(obj) != _desired(old))


def _desired(obj: Any) -> Any:
    """What the generation counts the changes of: the spec, or everything but the metadata where there is none."""
    if hasattr(obj, "spec"):
        return obj.spec
    return replace(obj, metadata=meta.ObjectMeta())


def _namespace_parts(obj: core.Namespace, finalizers: tuple[str, ...]) -> core.Namespace:
    labels = {**obj.metadata.labels, _NAMESPACE_LABEL: obj.metadata.name}
    return replace(obj, metadata=replace(obj.metadata, labels=labels), spec=replace(obj.spec, finalizers=finalizers))
