"""The tables of what bounds the use of the cluster: quotas."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.server.tables.model import AGE, NAME, Row, TableOf, age, column
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant


def quota_row(obj: core.ResourceQuota, now: Instant) -> Row:
    """The cells of one resource quota: what is used out of what may be."""
    names = sorted(obj.status.hard)
    requests = _used(obj.status, (name for name in names if not name.startswith("limits")))
    limits = _used(obj.status, (name for name in names if name.startswith("limits")))
    return Row((obj.metadata.name, requests, limits, age(obj.metadata, now)))


def _used(status: core.ResourceQuotaStatus, names: Iterable[str]) -> str:
    return ", ".join(f"{name}: {status.used.get(name, '0')}/{status.hard[name]}" for name in names)


QUOTA_TABLE = TableOf(
    (
        NAME,
        column("Request", "What is asked for and counted, out of what may be."),
        column("Limit", "The limits that are set, out of what may be."),
        AGE,
    ),
    quota_row,
)
