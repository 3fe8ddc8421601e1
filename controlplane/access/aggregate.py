"""Cluster roles that are put together from others by their labels."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.access.rules import Rules
from mizzen.api import selectors
from mizzen.api.types import rbac_v1 as rbac


def aggregated(rule: rbac.AggregationRule, name: str, roles: Iterable[rbac.ClusterRole]) -> Rules:
    """The rules of all roles but `name` that are selected, in the order of the roles' names, each rule once."""
    wanted = [selectors.from_field(selector) for selector in rule.cluster_role_selectors]
    found: dict[rbac.PolicyRule, None] = {}
    for role in sorted(roles, key=lambda role: role.metadata.name):
        if role.metadata.name != name and any(one.matches(role.metadata.labels) for one in wanted):
            found |= dict.fromkeys(role.rules)
    return tuple(found)
