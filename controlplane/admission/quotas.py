"""Quotas: what an object uses is charged to the quotas of its namespace in the commit that stores it.

So however many write at the same time, and to however many control planes, no more is stored than a quota allows: each
of them replaces the very state of the quota in which there was room. What is given back is counted by the controller.

This is the last policy, and stands beside the chain, because whoever was too late asks it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace as changed

from controlplane.admission.request import Operation, Request
from mizzen.api import kinds, quantity, quota, quota_pods, resource_lists
from mizzen.api.errors import ApiError, Conflict, Forbidden, NotFound
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write, replacement

_SPEC_CHANGES = (Operation.UPDATE, Operation.RESIZE)
_GROWING = (kinds.SERVICE, kinds.PERSISTENT_VOLUME_CLAIM, kinds.POD)
"""Kinds whose objects may come to use more when they are changed."""


def charges(request: Request, new: Any, old: Any, view: View, now: Instant) -> tuple[Write, ...]:
    """The writes that charge what an object uses, or uses more than before. Raises Forbidden where it is too much."""
    if old is not None and (request.kind not in _GROWING or request.operation not in _SPEC_CHANGES):
        return ()
    if not request.namespace or not quota.is_counted(request.kind):
        return ()
    quotas = view.list(kinds.RESOURCE_QUOTA, request.namespace)
    if not quotas or (isinstance(new, core.Pod) and old is not None and not _is_resized(new, old)):
        return ()
    concerned = [one for one in quotas if quota.matches(one, request.kind, new, one.status.hard)]
    for one in concerned:
        _check(request, new, one)
    used = quota.usage(request.kind, new, now)
    _refuse_negative(request, new, used)
    if old is not None:
        used = resource_lists.less(used, quota.usage(request.kind, old, now))
    used = {name: amount for name, amount in used.items() if quantity.parse(amount).nano}
    return tuple(write for one in concerned for write in _charged(request, new, one, used))


def is_lost(error: ApiError) -> bool:
    """Whether a commit did not happen because a quota is not any longer what it was charged on."""
    details = error.details
    return (
        isinstance(error, Conflict | NotFound) and details is not None and details.kind == kinds.RESOURCE_QUOTA.plural
    )


def _is_resized(new: core.Pod, old: core.Pod) -> bool:
    before = {container.name: container.resources for container in (*old.spec.containers, *old.spec.init_containers)}
    now_are = (*new.spec.containers, *new.spec.init_containers)
    return new.spec.resources != old.spec.resources or any(before.get(c.name) != c.resources for c in now_are)


def _check(request: Request, new: Any, one: core.ResourceQuota) -> None:
    """A quota of compute resources makes containers say what they want, and one that was not counted allows nothing."""
    bounded = quota.resources_of(request.kind, one.status.hard)
    name = one.metadata.name
    silent = quota_pods.unspecified(new, bounded) if isinstance(new, core.Pod) else ""
    if silent:
        raise Forbidden(request.kind, new.metadata.name, f"failed quota: {name}: must specify {silent}")
    if any(resource not in one.status.used for resource in bounded):
        why = f"status unknown for quota: {name}, resources: {','.join(sorted(bounded))}"
        raise Forbidden(request.kind, new.metadata.name, why)


def _refuse_negative(request: Request, new: Any, used: Mapping[str, str]) -> None:
    negative = sorted(name for name, amount in used.items() if quantity.parse(amount).nano < 0)
    if negative:
        why = f"quota usage is negative for resource(s): {','.join(negative)}"
        raise Forbidden(request.kind, new.metadata.name, why)


def _charged(request: Request, new: Any, one: core.ResourceQuota, used: Mapping[str, str]) -> list[Write]:
    hard = one.status.hard
    requested = resource_lists.only(used, hard)
    if not requested:
        return []
    total = resource_lists.add(one.status.used, requested)
    exceeded = [name for name in requested if quantity.compare(total[name], hard[name]) > 0]
    if exceeded:
        parts = (("requested", requested), ("used", one.status.used), ("limited", hard))
        told = ", ".join(
            f"{word}: {resource_lists.text(resource_lists.only(listed, exceeded))}" for word, listed in parts
        )
        raise Forbidden(request.kind, new.metadata.name, f"exceeded quota: {one.metadata.name}, {told}")
    status = changed(one.status, used=total)
    return [replacement(changed(one, status=status), int(one.metadata.resource_version))]
