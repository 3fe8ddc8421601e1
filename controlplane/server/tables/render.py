"""The JSON of tables and of metadata alone, written around an object's stored bytes.

Why: a row carries its object's metadata; cutting it out of the stored bytes costs a tenth of encoding it again.

Vocabulary: *include* says what a row carries of its object: `None`, `Metadata` (the default) or all of the `Object`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from controlplane.server.representations import storage as stored_as
from controlplane.server.tables import (
    access,
    autoscaling,
    batch,
    classes,
    cluster,
    custom,
    devices,
    flows,
    limits,
    measured,
    networking,
    pods,
    registration,
    services,
    storage,
    workloads,
)
from controlplane.server.tables.model import LATER, Row, RowCondition, TableOf, duration, steady_s
from mizzen.api import kinds
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v1
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

_BY_TYPE: dict[type[Any], TableOf] = {
    kinds.POD.type: pods.POD_TABLE,
    kinds.NODE.type: cluster.NODE_TABLE,
    kinds.NAMESPACE.type: cluster.NAMESPACE_TABLE,
    kinds.SERVICE.type: services.SERVICE_TABLE,
    kinds.ENDPOINTS.type: services.ENDPOINTS_TABLE,
    kinds.CONFIG_MAP.type: cluster.CONFIG_MAP_TABLE,
    kinds.SECRET.type: cluster.SECRET_TABLE,
    kinds.SERVICE_ACCOUNT.type: cluster.SERVICE_ACCOUNT_TABLE,
    kinds.EVENT.type: cluster.EVENT_TABLE,
    kinds.DEPLOYMENT.type: workloads.DEPLOYMENT_TABLE,
    kinds.REPLICA_SET.type: workloads.REPLICA_SET_TABLE,
    kinds.LEASE.type: cluster.LEASE_TABLE,
    kinds.ENDPOINT_SLICE.type: services.ENDPOINT_SLICE_TABLE,
    kinds.STATEFUL_SET.type: workloads.STATEFUL_SET_TABLE,
    kinds.DAEMON_SET.type: workloads.DAEMON_SET_TABLE,
    kinds.CONTROLLER_REVISION.type: workloads.REVISION_TABLE,
    kinds.REPLICATION_CONTROLLER.type: workloads.REPLICATION_CONTROLLER_TABLE,
    kinds.POD_TEMPLATE.type: workloads.POD_TEMPLATE_TABLE,
    kinds.PERSISTENT_VOLUME.type: storage.VOLUME_TABLE,
    kinds.PERSISTENT_VOLUME_CLAIM.type: storage.CLAIM_TABLE,
    kinds.RESOURCE_QUOTA.type: limits.QUOTA_TABLE,
    kinds.LIMIT_RANGE.type: cluster.PLAIN_TABLE,
    kinds.JOB.type: batch.JOB_TABLE,
    kinds.CRON_JOB.type: batch.CRON_JOB_TABLE,
    kinds.INGRESS.type: networking.INGRESS_TABLE,
    kinds.INGRESS_CLASS.type: networking.INGRESS_CLASS_TABLE,
    kinds.NETWORK_POLICY.type: networking.POLICY_TABLE,
    kinds.IP_ADDRESS.type: networking.ADDRESS_TABLE,
    kinds.SERVICE_CIDR.type: networking.RANGE_TABLE,
    kinds.POD_DISRUPTION_BUDGET.type: limits.BUDGET_TABLE,
    kinds.HORIZONTAL_POD_AUTOSCALER.type: autoscaling.AUTOSCALER_TABLE,
    kinds.HORIZONTAL_POD_AUTOSCALER_V1.type: autoscaling.OLD_AUTOSCALER_TABLE,
    kinds.STORAGE_CLASS.type: classes.STORAGE_CLASS_TABLE,
    kinds.VOLUME_ATTACHMENT.type: classes.ATTACHMENT_TABLE,
    kinds.CSI_DRIVER.type: classes.DRIVER_TABLE,
    kinds.CSI_NODE.type: classes.NODE_DRIVERS_TABLE,
    kinds.CSI_STORAGE_CAPACITY.type: classes.CAPACITY_TABLE,
    kinds.VOLUME_ATTRIBUTES_CLASS.type: classes.ATTRIBUTES_CLASS_TABLE,
    kinds.PRIORITY_CLASS.type: classes.PRIORITY_TABLE,
    kinds.RUNTIME_CLASS.type: classes.RUNTIME_TABLE,
    kinds.FLOW_SCHEMA.type: flows.SCHEMA_TABLE,
    kinds.PRIORITY_LEVEL.type: flows.LEVEL_TABLE,
    kinds.DEVICE_CLASS.type: devices.NAMED_TABLE,
    kinds.RESOURCE_CLAIM.type: devices.CLAIM_TABLE,
    kinds.RESOURCE_CLAIM_TEMPLATE.type: devices.NAMED_TABLE,
    kinds.RESOURCE_SLICE.type: devices.SLICE_TABLE,
    autoscaling_v1.Scale: workloads.SCALE_TABLE,
    kinds.ROLE.type: access.ROLE_TABLE,
    kinds.CLUSTER_ROLE.type: access.ROLE_TABLE,
    kinds.ROLE_BINDING.type: access.BINDING_TABLE,
    kinds.CLUSTER_ROLE_BINDING.type: access.BINDING_TABLE,
    kinds.CERTIFICATE_SIGNING_REQUEST.type: access.REQUEST_TABLE,
    kinds.CUSTOM_RESOURCE_DEFINITION.type: cluster.PLAIN_TABLE,
    kinds.VALIDATING_WEBHOOKS.type: registration.WEBHOOKS_TABLE,
    kinds.MUTATING_WEBHOOKS.type: registration.WEBHOOKS_TABLE,
    kinds.VALIDATING_POLICY.type: registration.VALIDATING_POLICY_TABLE,
    kinds.MUTATING_POLICY.type: registration.MUTATING_POLICY_TABLE,
    kinds.VALIDATING_POLICY_BINDING.type: registration.BINDING_TABLE,
    kinds.MUTATING_POLICY_BINDING.type: registration.BINDING_TABLE,
    kinds.API_SERVICE.type: registration.SERVED_GROUP_TABLE,
    kinds.COMPONENT_STATUS.type: measured.COMPONENT_TABLE,
    kinds.NODE_METRICS.type: measured.NODE_TABLE,
    kinds.POD_METRICS.type: measured.POD_TABLE,
    meta.Status: cluster.STATUS_TABLE,
}

_ENCODER = msgspec.json.Encoder()
_COLUMNS = {type_: _ENCODER.encode(table.columns) for type_, table in _BY_TYPE.items()}


class _Metadata(msgspec.Struct):
    """An object of which only the metadata is looked at, as bytes."""

    metadata: msgspec.Raw


_METADATA = msgspec.json.Decoder(_Metadata)


class _RowJson(msgspec.Struct, omit_defaults=True):
    cells: tuple[Any, ...]
    conditions: tuple[RowCondition, ...] = ()


_MARK = re.compile(rb"\\u0000(-?[0-9]+)\\u0000")
"""A span until now in the JSON of a row that is kept."""
_NUL = b"\\u0000"


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A row without its object, to be shown again and again with the ages of the moment."""

    pieces: tuple[bytes | int, ...]
    """The row's JSON without its end: in turns a piece of it, and a time since when something is."""
    start: int
    """Where in the object's JSON its metadata stand."""
    end: int


class _Ages(dict[int, bytes]):
    """Spans of whole seconds as a table shows them. Many rows of a table are of the same age."""

    def __missing__(self, seconds: int) -> bytes:
        shown = self[seconds] = duration(1000 * seconds).encode()
        return shown


def partial(raw: bytes, version: str = "v1") -> bytes:
    """An object's metadata alone, as a PartialObjectMetadata of `meta.k8s.io/<version>`."""
    return b"%b%b}" % (_partial_head(version), bytes(_METADATA.decode(raw).metadata))


def _partial_head(version: str) -> bytes:
    """A PartialObjectMetadata up to its metadata."""
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":' % version.encode()


What = type[Any] | CustomKind
"""What decides on the columns: an object's type, or the kind that users defined."""


def what(kind: Kind[Any]) -> What:
    """What decides on the columns for a kind; the table's kinds have one table however they are shown."""
    return kind if isinstance(kind, CustomKind) else stored_as(kind).type


def what_of(obj: Any) -> What:
    """What decides on the columns for an object."""
    return obj.of if isinstance(obj, Custom) else type(obj)


def table(what: What, *, list_metadata: bytes = b"{}", version: str = "v1", headed: bool = True) -> tuple[bytes, bytes]:
    """What stands before and behind the `rows` of a table of objects alike.

    Without a head the column definitions are empty, as in all but the first event of a watch.
    """
    printed = _printed(what)
    columns = b"[]"
    if headed:
        columns = _ENCODER.encode(printed.columns) if isinstance(what, CustomKind) else _COLUMNS[what]
    head = b'{"kind":"Table","apiVersion":"meta.k8s.io/%b","metadata":%b,"columnDefinitions":%b,"rows":['
    return head % (version.encode(), list_metadata, columns), b"]}"


def true_until(objects: Iterable[tuple[Kept, bytes]], now: Instant) -> Instant | None:
    """The first moment at which one of these rows may read differently than now; None for never."""
    marks = {piece for kept, _ in objects for piece in kept.pieces[1::2]}
    ages = ((mark, (now - mark) // 1000) for mark in marks if isinstance(mark, int))
    return min((mark + 1000 * (age + steady_s(age)) for mark, age in ages), default=None)


def lasts(raw: bytes) -> bool:
    """Whether the `row` of an object with this JSON is good for any time."""
    return _NUL not in raw


def row(what: What, obj: Any, raw: bytes, now: Instant) -> Kept:
    """The row of an object for `table`: good for any time, or only for `now` where a text could be taken for a mark."""
    printed = _printed(what)
    metadata = bytes(_METADATA.decode(raw).metadata)
    start = raw.index(metadata)
    end = start + len(metadata)
    if not lasts(raw):
        return Kept((_json(printed.row(obj, now)),), start, end)
    pieces = _MARK.split(_json(printed.row(obj, LATER)))
    return Kept(tuple(int(piece) if at % 2 else piece for at, piece in enumerate(pieces)), start, end)


def _printed(what: What) -> TableOf:
    return custom.table_of(what) if isinstance(what, CustomKind) else _BY_TYPE[what]


def _json(row: Row) -> bytes:
    return _ENCODER.encode(_RowJson(row.cells, row.conditions))[:-1]


def rows(
    objects: Iterable[tuple[Kept, bytes]], now: Instant, *, include: str = "Metadata", version: str = "v1"
) -> bytes:
    """The rows of some objects, each given as its row and as its JSON, with commas between them."""
    ages = _Ages()
    metadata = b',"object":' + _partial_head(version)
    parts: list[bytes] = []
    for kept, raw in objects:
        parts.append(b",")
        parts += [piece if isinstance(piece, bytes) else ages[(now - piece) // 1000] for piece in kept.pieces]
        if include == "Metadata":
            parts += (metadata, raw[kept.start : kept.end], b"}}")
        elif include == "Object":
            parts += (b',"object":', raw, b"}")
        else:
            parts.append(b"}")
    return b"".join(parts[1:])


def has_table(what: What) -> bool:
    """Whether there is a table for such objects."""
    return isinstance(what, CustomKind) or what in _BY_TYPE
