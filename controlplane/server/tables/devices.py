"""The tables of devices and of what has been claimed of them."""

from __future__ import annotations

from typing import Any

from controlplane.server.tables.model import AGE, NAME, Row, TableOf, age, column
from mizzen.api.types import resource_v1 as resource
from mizzen.engine.values import Instant


def named_row(obj: Any, now: Instant) -> Row:
    """The cells of an object of which only name and age are shown."""
    return Row((obj.metadata.name, age(obj.metadata, now)))


def claim_row(obj: resource.ResourceClaim, now: Instant) -> Row:
    """The cells of one claim."""
    states = (
        ("deleted", obj.metadata.deletion_timestamp is not None),
        ("allocated", obj.status.allocation is not None),
        ("reserved", bool(obj.status.reserved_for)),
    )
    state = ",".join(word for word, holds in states if holds) or "pending"
    return Row((obj.metadata.name, state, age(obj.metadata, now)))


def slice_row(obj: resource.ResourceSlice, now: Instant) -> Row:
    """The cells of one slice."""
    spec = obj.spec
    return Row((obj.metadata.name, spec.node_name or "<unset>", spec.driver, spec.pool.name, age(obj.metadata, now)))


NAMED_TABLE = TableOf((NAME, AGE), named_row)
CLAIM_TABLE = TableOf((NAME, column("State", "Whether it has its devices, and whether they are used."), AGE), claim_row)
SLICE_TABLE = TableOf(
    (
        NAME,
        column("Node", "The node on which the devices are."),
        column("Driver", "The driver of the devices."),
        column("Pool", "The pool that they belong to."),
        AGE,
    ),
    slice_row,
)
