"""The tables of deployments, replica sets and of the scale subresource."""

from __future__ import annotations

from controlplane.server.tables.model import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    SELECTOR,
    Row,
    TableOf,
    age,
    column,
    containers_cells,
    selector_text,
)
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import autoscaling_v1 as autoscaling
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
SCALE_TABLE = TableOf(
    (
        NAME,
        column("Desired", "Instances wanted.", whole=True),
        column("Available", "Instances that exist.", whole=True),
        AGE,
    ),
    scale_row,
)
