"""The tables of what sets bounds: quotas and disruption budgets."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.server.tables.model import AGE, NAME, Row, TableOf, age, column
from mizzen.api.types import core_v1 as core
from mizzen.api.types import policy_v1 as policy
from mizzen.engine.values import Instant

NOT_GIVEN = "N/A"


def quota_row(obj: core.ResourceQuota, now: Instant) -> Row:
    """The cells of one resource quota: what is used out of what may be."""
    names = sorted(obj.status.hard)
    requests = _used(obj.status, (name for name in names if not name.startswith("limits")))
    limits = _used(obj.status, (name for name in names if name.startswith("limits")))
    return Row((obj.metadata.name, requests, limits, age(obj.metadata, now)))


def _used(status: core.ResourceQuotaStatus, names: Iterable[str]) -> str:
    return ", ".join(f"{name}: {status.used.get(name, '0')}/{status.hard[name]}" for name in names)


def budget_row(obj: policy.PodDisruptionBudget, now: Instant) -> Row:
    """The cells of one disruption budget."""
    spec = obj.spec
    bounds = (NOT_GIVEN if bound is None else str(bound) for bound in (spec.min_available, spec.max_unavailable))
    return Row((obj.metadata.name, *bounds, obj.status.disruptions_allowed, age(obj.metadata, now)))


QUOTA_TABLE = TableOf(
    (
        NAME,
        column("Request", "What is asked for and counted, out of what may be."),
        column("Limit", "The limits that are set, out of what may be."),
        AGE,
    ),
    quota_row,
)
BUDGET_TABLE = TableOf(
    (
        NAME,
        column("Min Available", "Pods that must stay."),
        column("Max Unavailable", "Pods that may be missing."),
        column("Allowed Disruptions", "Pods that may be evicted now.", whole=True),
        AGE,
    ),
    budget_row,
)
