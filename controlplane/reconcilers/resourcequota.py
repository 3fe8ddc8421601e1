"""Counts what the objects of a namespace use up of its quotas, and takes over what a quota is changed to.

What is used more is charged where objects are stored, see `controlplane.admission.quotas`; this controller finds what
is given back: by objects that are gone, pods that have ended, services that need no ports any longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mizzen.api import kinds, quota, quota_pods, resource_lists
from mizzen.api.kinds import Kind
from mizzen.api.resource_lists import Listed
from mizzen.api.types import core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

SETTLE_MS = 200
"""How long changes of counted objects are collected before they are counted."""
RESYNC_MS = 300_000


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One quota: count, and write what differs."""
    one = view.get(kinds.RESOURCE_QUOTA, key.namespace, key.name)
    if one is None or one.metadata.deletion_timestamp is not None:
        return Decision()
    hard = one.spec.hard
    used: Listed = {}
    for kind in view.catalog.stored:
        if quota.is_counted(kind) and (names := quota.resources_of(kind, hard)):
            used |= _used(one, kind, names, view, now)
    used = resource_lists.only({**one.status.used, **used}, hard)
    wake_after_ms = _next_overdue(key.namespace, view, now) if quota.resources_of(kinds.POD, hard) else None
    if resource_lists.same(one.status.hard, hard) and resource_lists.same(one.status.used, used):
        return Decision(wake_after_ms=wake_after_ms)
    status = core_v1.ResourceQuotaStatus(hard=hard, used=used)
    return Decision((UpdateStatus(msgspec.structs.replace(one, status=status)),), wake_after_ms)


def _used(one: core_v1.ResourceQuota, kind: Kind[Any], names: tuple[str, ...], view: View, now: Instant) -> Listed:
    counted = (obj for obj in view.list(kind, one.metadata.namespace) if quota.in_scopes(one.spec, obj))
    return resource_lists.total((quota.usage(kind, obj, now) for obj in counted), names)


def _next_overdue(namespace: str, view: View, now: Instant) -> int | None:
    """Milliseconds until the next pod counts no longer because it should have ended."""
    times = (quota_pods.overdue_at(pod) for pod in view.list(kinds.POD, namespace))
    return min((at - now + 1 for at in times if at is not None and at >= now), default=None)


def _concerned(obj: Any, view: View) -> Iterable[Key]:
    namespace = obj.metadata.namespace
    quotas = view.list(kinds.RESOURCE_QUOTA, namespace)
    if not quotas:
        return ()
    kind = kinds.kind_of(obj)
    return [
        Key(kinds.RESOURCE_QUOTA.resource, namespace, one.metadata.name)
        for one in quotas
        if quota.resources_of(kind, one.spec.hard)
    ]


def _countable(pod: core_v1.Pod) -> tuple[Any, ...]:
    """What of a pod says how much it uses and in which scopes: neither its node nor most of its status."""
    metadata, spec = pod.metadata, pod.spec
    ended = pod.status.phase in ("Succeeded", "Failed")
    leaving = (metadata.deletion_timestamp, metadata.deletion_grace_period_seconds)
    uses = (spec.containers, spec.init_containers, spec.resources, spec.overhead)
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    given = [(one.name, one.resources, one.allocated_resources) for one in statuses]
    scopes = (spec.active_deadline_seconds, spec.priority_class_name, spec.affinity)
    return metadata.uid, ended, leaving, uses, given, scopes


CONTROLLER = Controller(
    name="resourcequota",
    kind=kinds.RESOURCE_QUOTA,
    reconcile=reconcile,
    watches=tuple((kind, _concerned) for kind in kinds.KINDS if quota.is_counted(kind)),
    custom=_concerned,
    sees={kinds.POD: _countable},
    settle_ms=SETTLE_MS,
    resync_ms=RESYNC_MS,
)
