"""What a controller's effect means for the store: the same admission as an API request, then one write.

The drivers and the simulator perform effects alike, because all that there is to choose is chosen here.
What it is not: it commits nothing, and it records no events (`Emit` goes to whoever keeps events).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from controlplane.admission import binding, deletion, eviction, nodes, quotas
from controlplane.admission.chain import admit
from controlplane.admission.request import Operation, Request, Settings
from mizzen.api import kinds
from mizzen.api.errors import Conflict, NotFound
from mizzen.api.kinds import Kind, Object
from mizzen.api.managed.entries import Writer
from mizzen.engine.effects import Bind, Create, Delete, Evict, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write, creation, removal, replacement

Effectual: TypeAlias = Create | Update | UpdateStatus | Delete | Evict | Bind
"""The effects that write an object."""


def write_of(
    effect: Effectual, view: View, now: Instant, ids: Ids, settings: Settings, manager: str = ""
) -> Write | None:
    """Return the write that an effect asks for; None when nothing is left to do.

    The fields that it sets are then known to be managed by `manager`; without one nobody keeps account.

    Raises `Conflict` or `NotFound` when the effect was decided on another state than the view's, `TooManyRequests`
    where a pod may not be evicted now, and what admission raises.
    """
    match effect:
        case Create():
            request = _request(Operation.CREATE, effect.object, manager)
            return written(request, admit(request, None, view, now, ids, settings).object, None, view, now)
        case Update():
            return _update(_request(Operation.UPDATE, effect.object, manager), view, now, ids, settings)
        case UpdateStatus():
            return _update(_request(Operation.UPDATE_STATUS, effect.object, manager), view, now, ids, settings)
        case Delete():
            return _delete(effect, view, now)
        case Evict():
            return _evict(effect, view, now)
        case Bind():
            return _bind(effect, view, now)


def asked(effect: Create | Update | UpdateStatus | Delete, view: View, manager: str) -> tuple[Request, Any] | None:
    """What admission is asked about an effect, and the stored object (None for `Create`); None where it is done.

    Raises `Conflict` or `NotFound` as `write_of`.
    """
    if isinstance(effect, Create):
        return _request(Operation.CREATE, effect.object, manager), None
    if isinstance(effect, Delete):
        key = effect.key
        kind = view.catalog.by_resource.get(key.resource)
        old = None if kind is None else view.get(kind, key.namespace, key.name)
        if kind is None or old is None or old.metadata.uid != effect.uid:
            return None
        return Request(Operation.DELETE, kind, key.namespace, key.name, old, internal=True), old
    operation = Operation.UPDATE if isinstance(effect, Update) else Operation.UPDATE_STATUS
    request = _request(operation, effect.object, manager)
    return request, _stored(request, view)


def written(request: Request, new: Any, old: Any, view: View, now: Instant) -> Write | None:
    """The write of what was admitted for an effect that is no deletion; None when nothing is left to do."""
    if old is None:
        return replace(creation(new), beside=quotas.charges(request, new, None, view, now))
    if deletion.is_done(new):
        return removal(request.kind, request.namespace, request.name, _version(old))
    # A write of what is there already would only wake everybody.
    if new == old:
        return None
    return replace(replacement(new, _version(old)), beside=quotas.charges(request, new, old, view, now))


def _request(operation: Operation, obj: Object, manager: str) -> Request:
    kind = kinds.kind_of(obj)
    name = "" if operation is Operation.CREATE else obj.metadata.name
    subresource = "status" if operation is Operation.UPDATE_STATUS else ""
    writer = Writer(manager, kind.api_version, subresource=subresource) if manager else None
    return Request(operation, kind, obj.metadata.namespace, name, obj, internal=True, writer=writer)


def _update(request: Request, view: View, now: Instant, ids: Ids, settings: Settings) -> Write | None:
    old = _stored(request, view)
    return written(request, admit(request, old, view, now, ids, settings).object, old, view, now)


def _stored(request: Request, view: View) -> Any:
    """The object that a change is of. Raises NotFound or Conflict."""
    kind, wanted = request.kind, request.object.metadata
    old = view.get(kind, request.namespace, request.name)
    if old is None:
        raise NotFound(kind, request.name)
    if old.metadata.resource_version != wanted.resource_version or old.metadata.uid != wanted.uid:
        raise Conflict(kind, request.name)
    return old


def _delete(effect: Delete, view: View, now: Instant) -> Write | None:
    kind: Kind[Any] | None = view.catalog.by_resource.get(effect.key.resource)
    if kind is None:
        return None
    old = view.get(kind, effect.key.namespace, effect.key.name)
    if old is None or old.metadata.uid != effect.uid:
        return None
    if effect.resource_version not in ("", old.metadata.resource_version):
        raise Conflict(kind, effect.key.name)
    new = deletion.delete(old, deletion.Deletion(effect.grace_period_s, effect.propagation), now)
    if new is None:
        return removal(kind, effect.key.namespace, effect.key.name, _version(old))
    return None if new == old else replacement(new, _version(old))


def _evict(effect: Evict, view: View, now: Instant) -> Write | None:
    pod = view.get(kinds.POD, effect.namespace, effect.name)
    if pod is None or pod.metadata.uid != effect.uid or pod.metadata.deletion_timestamp:
        return None
    evicted = eviction.asked(pod, view, deletion.Deletion(), now)
    if evicted.refusal is not None:
        raise evicted.refusal
    paid = () if evicted.budget is None else (replacement(evicted.budget, _version(evicted.budget)),)
    if evicted.pod is None:
        return replace(removal(kinds.POD, effect.namespace, effect.name, _version(pod)), beside=paid)
    return replace(replacement(evicted.pod, _version(pod)), beside=paid)


def _bind(effect: Bind, view: View, now: Instant) -> Write:
    pod = view.get(kinds.POD, effect.namespace, effect.name)
    if pod is None or pod.metadata.uid != effect.uid:
        raise NotFound(kinds.POD, effect.name)
    bound = nodes.placed(binding.bind(pod, effect.node, now), effect.node, view)
    return replacement(bound, _version(pod))


def _version(obj: Object) -> int:
    return int(obj.metadata.resource_version)
