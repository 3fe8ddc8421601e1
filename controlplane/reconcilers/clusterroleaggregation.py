"""Keeps cluster roles that are put together from others in step with them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from controlplane.access.aggregate import aggregated
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One cluster role: the rules of those that it selects."""
    role = view.get(kinds.CLUSTER_ROLE, "", key.name)
    if role is None or role.aggregation_rule is None or role.metadata.deletion_timestamp:
        return Decision()
    rules = aggregated(role.aggregation_rule, key.name, view.list(kinds.CLUSTER_ROLE))
    return Decision() if rules == role.rules else Decision((Update(replace(role, rules=rules)),))


def _put_together(role: Object, view: View) -> Iterable[Key]:
    """Whatever the role was or is may be a part of any role that is put together."""
    return [
        Key(kinds.CLUSTER_ROLE.resource, "", whole.metadata.name)
        for whole in view.list(kinds.CLUSTER_ROLE)
        if whole.aggregation_rule is not None
    ]


CONTROLLER = Controller(
    name="clusterrole-aggregation",
    kind=kinds.CLUSTER_ROLE,
    reconcile=reconcile,
    watches=((kinds.CLUSTER_ROLE, _put_together),),
)
