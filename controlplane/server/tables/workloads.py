"""The tables of what keeps pods running, of their templates and revisions, and of the scale subresource."""

from __future__ import annotations

from controlplane.server.tables.model import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    NONE,
    SELECTOR,
    Row,
    TableOf,
    age,
    column,
    containers_cells,
    labels_text,
    selector_text,
)
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import autoscaling_v1 as autoscaling
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant


def deployment_row(obj: apps.Deployment, now: Instant) -> Row:
    """The cells of one deployment."""
    return Row(
        (
            obj.metadata.name,
            f"{obj.status.ready_replicas}/{_count(obj.spec.replicas)}",
            obj.status.updated_replicas,
            obj.status.available_replicas,
            age(obj.metadata, now),
            *containers_cells(obj.spec.template.spec),
            selector_text(obj.spec.selector),
        )
    )


def replica_set_row(obj: apps.ReplicaSet, now: Instant) -> Row:
    """The cells of one replica set."""
    return Row(
        (
            obj.metadata.name,
            _count(obj.spec.replicas),
            obj.status.replicas,
            obj.status.ready_replicas,
            age(obj.metadata, now),
            *containers_cells(obj.spec.template.spec),
            selector_text(obj.spec.selector),
        )
    )


def stateful_set_row(obj: apps.StatefulSet, now: Instant) -> Row:
    """The cells of one stateful set."""
    return Row(
        (
            obj.metadata.name,
            f"{obj.status.ready_replicas}/{_count(obj.spec.replicas)}",
            age(obj.metadata, now),
            *containers_cells(obj.spec.template.spec),
        )
    )


def daemon_set_row(obj: apps.DaemonSet, now: Instant) -> Row:
    """The cells of one daemon set."""
    status, template = obj.status, obj.spec.template.spec
    return Row(
        (
            obj.metadata.name,
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled,
            status.number_available,
            labels_text(template.node_selector),
            age(obj.metadata, now),
            *containers_cells(template),
            selector_text(obj.spec.selector),
        )
    )


def replication_controller_row(obj: core.ReplicationController, now: Instant) -> Row:
    """The cells of one replication controller."""
    template = obj.spec.template or core.PodTemplateSpec()
    return Row(
        (
            obj.metadata.name,
            _count(obj.spec.replicas),
            obj.status.replicas,
            obj.status.ready_replicas,
            age(obj.metadata, now),
            *containers_cells(template.spec),
            labels_text(obj.spec.selector),
        )
    )


def revision_row(obj: apps.ControllerRevision, now: Instant) -> Row:
    """The cells of one controller revision."""
    owner = next((owner for owner in obj.metadata.owner_references if owner.controller), None)
    return Row((obj.metadata.name, NONE if owner is None else _owner(owner), obj.revision, age(obj.metadata, now)))


def _owner(owner: meta.OwnerReference) -> str:
    group = owner.api_version.rpartition("/")[0]
    kind = owner.kind.lower()
    return f"{kind}.{group}/{owner.name}" if group else f"{kind}/{owner.name}"


def pod_template_row(obj: core.PodTemplate, now: Instant) -> Row:
    """The cells of one pod template; it has no column for its age."""
    del now
    template = obj.template
    return Row((obj.metadata.name, *containers_cells(template.spec), labels_text(template.metadata.labels)))


def scale_row(obj: autoscaling.Scale, now: Instant) -> Row:
    """The cells of a scale."""
    return Row((obj.metadata.name, obj.spec.replicas, obj.status.replicas, age(obj.metadata, now)))


def _count(replicas: int | None) -> int:
    return 0 if replicas is None else replicas


DEPLOYMENT_TABLE = TableOf(
    (
        NAME,
        column("Ready", "Pods that are ready, out of those wanted."),
        column("Up-to-date", "Pods that run the current template."),
        column("Available", "Pods that have been ready for long enough."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    deployment_row,
)
REPLICA_SET_TABLE = TableOf(
    (
        NAME,
        column("Desired", "Pods wanted.", whole=True),
        column("Current", "Pods that exist.", whole=True),
        column("Ready", "Pods that are ready.", whole=True),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    replica_set_row,
)
STATEFUL_SET_TABLE = TableOf(
    (NAME, column("Ready", "Pods that are ready, out of those wanted."), AGE, CONTAINERS, IMAGES), stateful_set_row
)
DAEMON_SET_TABLE = TableOf(
    (
        NAME,
        column("Desired", "Nodes that should run a pod.", whole=True),
        column("Current", "Nodes that run a pod and should.", whole=True),
        column("Ready", "Nodes whose pod is ready.", whole=True),
        column("Up-to-date", "Nodes whose pod runs the current template.", whole=True),
        column("Available", "Nodes whose pod has been ready for long enough.", whole=True),
        column("Node Selector", "Labels of the nodes that it runs on."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    daemon_set_row,
)
REPLICATION_CONTROLLER_TABLE = TableOf(REPLICA_SET_TABLE.columns, replication_controller_row)
REVISION_TABLE = TableOf(
    (
        NAME,
        column("Controller", "The object whose state it holds."),
        column("Revision", "The number of the state."),
        AGE,
    ),
    revision_row,
)
POD_TEMPLATE_TABLE = TableOf(
    (
        NAME,
        column("Containers", "Names of the containers in the template."),
        column("Images", "Images that the template's containers run."),
        column("Pod Labels", "Labels that the pods get."),
    ),
    pod_template_row,
)
SCALE_TABLE = TableOf(
    (
        NAME,
        column("Desired", "Instances wanted.", whole=True),
        column("Available", "Instances that exist.", whole=True),
        AGE,
    ),
    scale_row,
)
