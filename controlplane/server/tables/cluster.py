"""The tables of what belongs to the cluster and its set-up: nodes, namespaces, events, leases, configuration."""

from __future__ import annotations

from typing import Any

from controlplane.server.tables.model import AGE, NAME, NONE, UNKNOWN, Column, Row, TableOf, age, column, joined, since
from mizzen.api.types import coordination_v1 as coordination
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def node_row(obj: core.Node, now: Instant) -> Row:
    """The cells of one node."""
    info = obj.status.node_info
    return Row(
        (
            obj.metadata.name,
            _node_status(obj),
            joined(_roles(obj)),
            age(obj.metadata, now),
            info.kubelet_version,
            _address(obj, "InternalIP"),
            _address(obj, "ExternalIP"),
            info.os_image or UNKNOWN,
            info.kernel_version or UNKNOWN,
            info.container_runtime_version or UNKNOWN,
        )
    )


def _node_status(obj: core.Node) -> str:
    ready = [c.status == "True" for c in obj.status.conditions if c.type == "Ready"]
    words = ["Ready" if is_ready else "NotReady" for is_ready in ready] or ["Unknown"]
    return ",".join([*words, "SchedulingDisabled"] if obj.spec.unschedulable else words)


def _roles(obj: core.Node) -> list[str]:
    labels = obj.metadata.labels
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    return sorted((roles | {labels.get(_ROLE_LABEL, "")}) - {""})


def _address(obj: core.Node, type_: str) -> str:
    return next((address.address for address in obj.status.addresses if address.type == type_), NONE)


def namespace_row(obj: core.Namespace, now: Instant) -> Row:
    """The cells of one namespace."""
    return Row((obj.metadata.name, obj.status.phase, age(obj.metadata, now)))


def event_row(obj: core.Event, now: Instant) -> Row:
    """The cells of one event."""
    first = since(obj.first_timestamp or obj.event_time, now)
    last = since(obj.last_timestamp, now) if obj.last_timestamp else first
    count = obj.count or 1
    if obj.series:
        last, count = since(obj.series.last_observed_time, now), obj.series.count
    regarding = obj.involved_object
    return Row(
        (
            last,
            obj.type,
            obj.reason,
            f"{regarding.kind.lower()}/{regarding.name}" if regarding.name else regarding.kind.lower(),
            regarding.field_path,
            _event_source(obj),
            obj.message.strip(),
            first,
            count,
            obj.metadata.name,
        )
    )


def _event_source(obj: core.Event) -> str:
    component = obj.source.component or obj.reporting_component
    host = obj.source.host or obj.reporting_instance
    return ", ".join(part for part in (component, host) if part)


def secret_row(obj: core.Secret, now: Instant) -> Row:
    """The cells of one secret: how many entries, never what is in them."""
    return Row((obj.metadata.name, obj.type, len(obj.data), age(obj.metadata, now)))


def config_map_row(obj: core.ConfigMap, now: Instant) -> Row:
    """The cells of one config map."""
    return Row((obj.metadata.name, len(obj.data) + len(obj.binary_data), age(obj.metadata, now)))


def service_account_row(obj: core.ServiceAccount, now: Instant) -> Row:
    """The cells of one service account."""
    return Row((obj.metadata.name, age(obj.metadata, now)))


def lease_row(obj: coordination.Lease, now: Instant) -> Row:
    """The cells of one lease."""
    return Row((obj.metadata.name, obj.spec.holder_identity or "", age(obj.metadata, now)))


def plain_row(obj: Any, now: Instant) -> Row:
    """The cells of an object of which only the name and the creation are shown."""
    del now
    return Row((obj.metadata.name, obj.metadata.creation_timestamp or ""))


def status_row(obj: meta.Status, now: Instant) -> Row:
    """The cells of an answer that is not an object; `now` is not needed."""
    del now
    return Row((obj.status, obj.reason, obj.message))


NODE_TABLE = TableOf(
    (
        NAME,
        column("Status", "Whether the node is ready and takes pods."),
        column("Roles", "What the node is for, by its labels."),
        AGE,
        column("Version", "The version of the node's agent."),
        column("Internal-IP", "The node's address inside.", wide=True),
        column("External-IP", "The node's address outside.", wide=True),
        column("OS-Image", "The node's operating system.", wide=True),
        column("Kernel-Version", "The node's kernel.", wide=True),
        column("Container-Runtime", "What runs the node's containers.", wide=True),
    ),
    node_row,
)
NAMESPACE_TABLE = TableOf((NAME, column("Status", "Active, or being deleted."), AGE), namespace_row)
EVENT_TABLE = TableOf(
    (
        column("Last Seen", "Time since it happened last."),
        column("Type", "Normal or Warning."),
        column("Reason", "Why it happened, in one word."),
        column("Object", "The object that it is about."),
        column("Subobject", "The part of the object that it is about.", wide=True),
        column("Source", "Who reported it.", wide=True),
        column("Message", "What happened."),
        column("First Seen", "Time since it happened first.", wide=True),
        column("Count", "How often it happened.", wide=True),
        column("Name", "The event's own name.", wide=True),
    ),
    event_row,
)
SECRET_TABLE = TableOf(
    (NAME, column("Type", "What the secret is for."), column("Data", "How many entries it has."), AGE), secret_row
)
CONFIG_MAP_TABLE = TableOf((NAME, column("Data", "How many entries it has."), AGE), config_map_row)
SERVICE_ACCOUNT_TABLE = TableOf((NAME, AGE), service_account_row)
LEASE_TABLE = TableOf((NAME, column("Holder", "Who holds the lease."), AGE), lease_row)
PLAIN_TABLE = TableOf(
    (NAME, Column(name="Created At", type="date", description="When the object was created.")), plain_row
)
STATUS_TABLE = TableOf(
    (
        column("Status", "Success or Failure."),
        column("Reason", "Why, in one word."),
        column("Message", "What happened."),
    ),
    status_row,
)
