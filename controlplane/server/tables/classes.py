"""The tables of what pods and claims name: classes of storage, priority and runtime; and of storage drivers."""

from __future__ import annotations

from controlplane.server.tables.model import AGE, NAME, UNSET, Row, TableOf, age, column, joined
from mizzen.api.types import node_v1 as node
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.api.types import storage_v1 as storage
from mizzen.engine.values import Instant

_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def storage_class_row(obj: storage.StorageClass, now: Instant) -> Row:
    """The cells of one storage class; its name says whether it is the default."""
    is_default = any(obj.metadata.annotations.get(name) == "true" for name in _DEFAULT_CLASS)
    return Row(
        (
            f"{obj.metadata.name} (default)" if is_default else obj.metadata.name,
            obj.provisioner,
            obj.reclaim_policy or "Delete",
            obj.volume_binding_mode or "Immediate",
            bool(obj.allow_volume_expansion),
            age(obj.metadata, now),
        )
    )


def attributes_class_row(obj: storage.VolumeAttributesClass, now: Instant) -> Row:
    """The cells of one class of attributes."""
    return Row((obj.metadata.name, obj.driver_name, age(obj.metadata, now)))


def attachment_row(obj: storage.VolumeAttachment, now: Instant) -> Row:
    """The cells of one attachment."""
    spec = obj.spec
    volume = spec.source.persistent_volume_name or ""
    return Row((obj.metadata.name, spec.attacher, volume, spec.node_name, obj.status.attached, age(obj.metadata, now)))


def driver_row(obj: storage.CSIDriver, now: Instant) -> Row:
    """The cells of one storage driver."""
    spec = obj.spec
    return Row(
        (
            obj.metadata.name,
            spec.attach_required is not False,
            bool(spec.pod_info_on_mount),
            bool(spec.storage_capacity),
            joined((token.audience for token in spec.token_requests), empty=UNSET),
            bool(spec.requires_republish),
            joined(spec.volume_lifecycle_modes),
            age(obj.metadata, now),
        )
    )


def node_drivers_row(obj: storage.CSINode, now: Instant) -> Row:
    """The cells of one node's drivers."""
    return Row((obj.metadata.name, len(obj.spec.drivers), age(obj.metadata, now)))


def capacity_row(obj: storage.CSIStorageCapacity, now: Instant) -> Row:
    """The cells of one report of capacity; it has no column for its age."""
    del now
    return Row((obj.metadata.name, obj.storage_class_name, UNSET if obj.capacity is None else obj.capacity))


def priority_row(obj: scheduling.PriorityClass, now: Instant) -> Row:
    """The cells of one priority class."""
    policy = obj.preemption_policy or "PreemptLowerPriority"
    return Row((obj.metadata.name, obj.value, obj.global_default, age(obj.metadata, now), policy))


def runtime_row(obj: node.RuntimeClass, now: Instant) -> Row:
    """The cells of one runtime class."""
    return Row((obj.metadata.name, obj.handler, age(obj.metadata, now)))


STORAGE_CLASS_TABLE = TableOf(
    (
        NAME,
        column("Provisioner", "The driver that makes the volumes."),
        column("ReclaimPolicy", "What happens to a volume when its claim is gone."),
        column("VolumeBindingMode", "When a volume is made."),
        column("AllowVolumeExpansion", "Whether claims may ask for more later."),
        AGE,
    ),
    storage_class_row,
)
ATTRIBUTES_CLASS_TABLE = TableOf(
    (NAME, column("DriverName", "The driver that knows the attributes."), AGE), attributes_class_row
)
ATTACHMENT_TABLE = TableOf(
    (
        NAME,
        column("Attacher", "The driver that attaches the volume."),
        column("PV", "The persistent volume."),
        column("Node", "The node that it is attached to."),
        column("Attached", "Whether it is attached.", truth=True),
        AGE,
    ),
    attachment_row,
)
DRIVER_TABLE = TableOf(
    (
        NAME,
        column("AttachRequired", "Whether volumes are attached before they are mounted.", truth=True),
        column("PodInfoOnMount", "Whether the driver is told of the pod.", truth=True),
        column("StorageCapacity", "Whether the scheduler looks for free capacity.", truth=True),
        column("TokenRequests", "Audiences of the tokens that the driver gets."),
        column("RequiresRepublish", "Whether the driver is asked again and again.", truth=True),
        column("Modes", "The volumes that it offers."),
        AGE,
    ),
    driver_row,
)
NODE_DRIVERS_TABLE = TableOf(
    (NAME, column("Drivers", "Storage drivers on the node.", whole=True), AGE), node_drivers_row
)
CAPACITY_TABLE = TableOf(
    (
        NAME,
        column("StorageClassName", "The storage class."),
        column("Capacity", "How much is free."),
    ),
    capacity_row,
)
PRIORITY_TABLE = TableOf(
    (
        NAME,
        column("Value", "How important its pods are.", whole=True),
        column("Global-Default", "Whether it is for pods that name no class.", truth=True),
        AGE,
        column("PreemptionPolicy", "Whether its pods push others aside."),
    ),
    priority_row,
)
RUNTIME_TABLE = TableOf((NAME, column("Handler", "What the container runtime calls it."), AGE), runtime_row)
