"""The default roles and bindings, made and brought up to date at every start (see `controlplane.access.policy`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from controlplane.access import policy
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import errors, kinds
from mizzen.api.kinds import Kind

_INTERNAL = WriteOptions(internal=True)


async def ensure_roles(verbs: Verbs) -> None:
    """All of them at once, so that they travel in few transactions."""
    roles = [_ensure(verbs, kinds.CLUSTER_ROLE, role, policy.role_up_to_date) for role in policy.cluster_roles()]
    bindings = [
        _ensure(verbs, kinds.CLUSTER_ROLE_BINDING, binding, policy.binding_up_to_date)
        for binding in policy.cluster_role_bindings()
    ]
    await asyncio.gather(*roles, *bindings)


async def _ensure(verbs: Verbs, kind: Kind[Any], wanted: Any, updated: Callable[[Any, Any], Any]) -> None:
    name = wanted.metadata.name
    if verbs.registry.view.get(kind, "", name) is None:
        try:
            await verbs.writes.create(kind, "", wanted, _INTERNAL)
        except errors.AlreadyExists:
            # Another control plane starts at the same time.
            await verbs.registry.fresh()
        return
    await verbs.writes.change(kind, "", name, lambda found: updated(found, wanted), _INTERNAL)
