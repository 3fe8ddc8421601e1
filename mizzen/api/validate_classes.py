"""The rules for the classes that pods and claims name, and for what storage drivers tell of themselves."""

from __future__ import annotations

from collections.abc import Mapping

from mizzen.api import formats, quantity, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.types import node_v1 as node
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.api.types import storage_v1 as storage
from mizzen.api.validate_common import (
    IMMUTABLE,
    NEGATIVE,
    Errors,
    amount,
    checked,
    immutable,
    label_key,
    label_selector,
    labels,
    maybe_one_of,
    not_negative,
    one_of,
    required,
    unique,
)
from mizzen.api.validate_container import resource_name
from mizzen.api.validate_scheduling import tolerations
from mizzen.api.validate_storage import driver_name, volume_spec

USER_PRIORITY_MAX = 1_000_000_000
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
PARAMETERS_MAX = 512
PARAMETERS_MAX_BYTES = 256 * 1024

_NODE_ID_MAX = 192
_TOKEN_MIN_S = 600
_TOKEN_MAX_S = 1 << 32
_UPDATE_MIN_S = 10
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_CLASS_RECLAIM = ("Delete", "Retain")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Ephemeral", "Persistent")
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def create_storage_class(obj: storage.StorageClass) -> Errors:
    """A StorageClass that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _storage_class(obj)


def update_storage_class(new: storage.StorageClass, old: storage.StorageClass) -> Errors:
    """A StorageClass that is about to be replaced: how volumes are made stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _storage_class(new)
    for name, after, before in (
        ("parameters", new.parameters, old.parameters), ("provisioner", new.provisioner, old.provisioner),
        ("reclaimPolicy", new.reclaim_policy, old.reclaim_policy),
    ):  # fmt: skip
        if after != before:
            yield FieldError.forbidden(name, f"updates to {name} are forbidden.")
    yield from immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)


def _storage_class(obj: storage.StorageClass) -> Errors:
    yield from required("provisioner", obj.provisioner)
    if obj.provisioner:
        for problem in formats.qualified_name(obj.provisioner.lower()):
            yield FieldError.invalid("provisioner", obj.provisioner, problem)
    yield from _parameters("parameters", obj.parameters)
    yield from maybe_one_of("reclaimPolicy", obj.reclaim_policy, _CLASS_RECLAIM)
    yield from one_of("volumeBindingMode", obj.volume_binding_mode or "", _BINDING_MODES)
    for i, term in enumerate(obj.allowed_topologies):
        at = f"allowedTopologies[{i}].matchLabelExpressions"
        keys: set[str] = set()
        for j, expression in enumerate(term.match_label_expressions):
            yield from label_key(f"{at}[{j}].key", expression.key)
            yield from unique(f"{at}[{j}].key", expression.key, keys)
            yield from required(f"{at}[{j}].values", expression.values)


def _parameters(path: str, values: Mapping[str, str]) -> Errors:
    if len(values) > PARAMETERS_MAX:
        yield FieldError.too_many(path, len(values), PARAMETERS_MAX)
        return
    for key in values:
        if not key:
            yield FieldError.invalid(path, key, "field can not be empty.")
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > PARAMETERS_MAX_BYTES:
        yield FieldError.too_long(path, PARAMETERS_MAX_BYTES)


def create_attributes_class(obj: storage.VolumeAttributesClass) -> Errors:
    """A VolumeAttributesClass that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _attributes_class(obj)


def update_attributes_class(new: storage.VolumeAttributesClass, old: storage.VolumeAttributesClass) -> Errors:
    """A VolumeAttributesClass that is about to be replaced: nothing but its metadata may change."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _attributes_class(new)
    yield from immutable("driverName", new.driver_name, old.driver_name)
    yield from immutable("parameters", new.parameters, old.parameters)


def _attributes_class(obj: storage.VolumeAttributesClass) -> Errors:
    yield from driver_name("driverName", obj.driver_name)
    yield from required("parameters", obj.parameters, "must contain at least one key/value pair")
    yield from _parameters("parameters", obj.parameters)


def create_attachment(obj: storage.VolumeAttachment) -> Errors:
    """A VolumeAttachment that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    spec, path = obj.spec, "spec.source"
    yield from driver_name("spec.attacher", spec.attacher)
    name, inline = spec.source.persistent_volume_name, spec.source.inline_volume_spec
    if (name is None) == (inline is None):
        yield FieldError.required(path, _ONE_SOURCE)
    elif inline is not None:
        yield from volume_spec(f"{path}.inlineVolumeSpec", inline, inline=True)
    elif not name:
        yield FieldError.required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")
    else:
        yield from checked(f"{path}.persistentVolumeName", name, formats.dns_subdomain)
    yield from checked("spec.nodeName", spec.node_name, formats.dns_subdomain)


def update_attachment(new: storage.VolumeAttachment, old: storage.VolumeAttachment) -> Errors:
    """A VolumeAttachment that is about to be replaced: what is attached where stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("spec", new.spec, old.spec)


def update_attachment_status(new: storage.VolumeAttachment, old: storage.VolumeAttachment) -> Errors:
    """A VolumeAttachment's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _parameters("status.attachmentMetadata", new.status.attachment_metadata)
    for name, error in (("attachError", new.status.attach_error), ("detachError", new.status.detach_error)):
        if error is not None and len(error.message.encode()) > PARAMETERS_MAX_BYTES:
            yield FieldError.too_long(f"status.{name}.message", PARAMETERS_MAX_BYTES)


def create_driver(obj: storage.CSIDriver) -> Errors:
    """A CSIDriver that is about to be: its name is the driver's."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from driver_name("metadata.name", obj.metadata.name)
    yield from _driver(obj.spec)


def update_driver(new: storage.CSIDriver, old: storage.CSIDriver) -> Errors:
    """A CSIDriver that is about to be replaced: whether it attaches, and which volumes it offers, stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _driver(new.spec)
    yield from immutable("spec.attachRequired", new.spec.attach_required, old.spec.attach_required)
    modes, before = new.spec.volume_lifecycle_modes, old.spec.volume_lifecycle_modes
    yield from immutable("spec.volumeLifecycleModes", modes, before)


def _driver(spec: storage.CSIDriverSpec) -> Errors:
    for name, value in (
        ("attachRequired", spec.attach_required), ("podInfoOnMount", spec.pod_info_on_mount),
        ("storageCapacity", spec.storage_capacity), ("fsGroupPolicy", spec.fs_group_policy),
        ("seLinuxMount", spec.se_linux_mount),
    ):  # fmt: skip
        if value is None:
            yield FieldError.required(f"spec.{name}")
    yield from maybe_one_of("spec.fsGroupPolicy", spec.fs_group_policy, _GROUP_POLICIES)
    audiences: set[str] = set()
    for i, token in enumerate(spec.token_requests):
        at = f"spec.tokenRequests[{i}]"
        yield from unique(f"{at}.audience", token.audience, audiences)
        if token.expiration_seconds is not None:
            yield from _expiration(f"{at}.expirationSeconds", token.expiration_seconds)
    for mode in spec.volume_lifecycle_modes:
        yield from maybe_one_of("spec.volumeLifecycleModes", mode, _LIFECYCLES)
    period = spec.node_allocatable_update_period_seconds
    if period is not None and period < _UPDATE_MIN_S:
        why = f"must be greater than or equal to {_UPDATE_MIN_S} seconds"
        yield FieldError.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)
    if spec.service_account_token_in_secrets is not None and not spec.token_requests:
        why = "can only be set when tokenRequests is specified"
        yield FieldError.invalid("spec.serviceAccountTokenInSecrets", spec.service_account_token_in_secrets, why)


def _expiration(path: str, seconds: int) -> Errors:
    if seconds < _TOKEN_MIN_S:
        yield FieldError.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > _TOKEN_MAX_S:
        yield FieldError.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def create_node_drivers(obj: storage.CSINode) -> Errors:
    """A CSINode that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _node_drivers(obj.spec)


def update_node_drivers(new: storage.CSINode, old: storage.CSINode) -> Errors:
    """A CSINode that is about to be replaced: drivers come and go, but do not change."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _node_drivers(new.spec)
    before = {driver.name: driver for driver in old.spec.drivers}
    for i, driver in enumerate(new.spec.drivers):
        known = before.get(driver.name, driver)
        same = (known.node_id, known.topology_keys) == (driver.node_id, driver.topology_keys)
        if not same:
            yield FieldError.invalid(f"spec.drivers[{i}]", driver, IMMUTABLE)


def _node_drivers(spec: storage.CSINodeSpec) -> Errors:
    names: set[str] = set()
    for i, driver in enumerate(spec.drivers):
        at = f"spec.drivers[{i}]"
        yield from driver_name(f"{at}.name", driver.name)
        yield from unique(f"{at}.name", driver.name, names)
        yield from required(f"{at}.nodeID", driver.node_id)
        if len(driver.node_id.encode()) > _NODE_ID_MAX:
            yield FieldError.too_long(f"{at}.nodeID", _NODE_ID_MAX)
        keys: set[str] = set()
        for key in driver.topology_keys:
            yield from label_key(f"{at}.topologyKeys", key)
            yield from unique(f"{at}.topologyKeys", key, keys)
        if driver.allocatable is not None:
            yield from not_negative(f"{at}.allocatable.count", driver.allocatable.count)


def create_capacity(obj: storage.CSIStorageCapacity) -> Errors:
    """A CSIStorageCapacity that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _capacity(obj)


def update_capacity(new: storage.CSIStorageCapacity, old: storage.CSIStorageCapacity) -> Errors:
    """A CSIStorageCapacity that is about to be replaced: what it is about stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _capacity(new)
    yield from immutable("nodeTopology", new.node_topology, old.node_topology)
    yield from immutable("storageClassName", new.storage_class_name, old.storage_class_name)


def _capacity(obj: storage.CSIStorageCapacity) -> Errors:
    yield from label_selector("nodeTopology", obj.node_topology)
    yield from checked("storageClassName", obj.storage_class_name, formats.dns_subdomain)
    for name, text in (("capacity", obj.capacity), ("maximumVolumeSize", obj.maximum_volume_size)):
        if text is not None and quantity.parse(text).nano < 0:
            yield FieldError.invalid(name, text, NEGATIVE)


def create_priority(obj: scheduling.PriorityClass) -> Errors:
    """A PriorityClass that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    name, value = obj.metadata.name, obj.value
    if name.startswith("system-"):
        if SYSTEM_PRIORITIES.get(name) != value:
            why = "priority class names with 'system-' prefix are reserved for system use only"
            yield FieldError.forbidden("metadata.name", why)
    elif value > USER_PRIORITY_MAX:
        why = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        yield FieldError.forbidden("value", why)
    yield from _preemption(obj.preemption_policy)


def update_priority(new: scheduling.PriorityClass, old: scheduling.PriorityClass) -> Errors:
    """A PriorityClass that is about to be replaced: how important it is stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    if new.value != old.value:
        yield FieldError.forbidden("value", "may not be changed in an update.")
    yield from _preemption(new.preemption_policy)
    yield from immutable("preemptionPolicy", new.preemption_policy, old.preemption_policy)


def _preemption(policy: str | None) -> Errors:
    yield from maybe_one_of("preemptionPolicy", policy, ("Never", "PreemptLowerPriority"))


def create_runtime(obj: node.RuntimeClass) -> Errors:
    """A RuntimeClass that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from checked("handler", obj.handler, formats.dns_label)
    yield from _runtime(obj)


def update_runtime(new: node.RuntimeClass, old: node.RuntimeClass) -> Errors:
    """A RuntimeClass that is about to be replaced: its handler stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("handler", new.handler, old.handler)
    yield from _runtime(new)


def _runtime(obj: node.RuntimeClass) -> Errors:
    if obj.overhead is not None:
        for name, text in obj.overhead.pod_fixed.items():
            yield from resource_name(f"overhead.podFixed[{name}]", name)
            yield from amount(f"overhead.podFixed[{name}]", name, text)
    if obj.scheduling is None:
        return
    yield from labels("scheduling.nodeSelector", obj.scheduling.node_selector)
    yield from tolerations("scheduling.tolerations", obj.scheduling.tolerations)
    seen: list[core.Toleration] = []
    for i, toleration in enumerate(obj.scheduling.tolerations):
        if toleration in seen:
            yield FieldError.duplicate(f"scheduling.tolerations[{i}]", toleration)
        seen.append(toleration)
