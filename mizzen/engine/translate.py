"""From effects to writes: what one effect of a decision means for the store, on the view of this moment.

Why: the drivers and the simulator perform effects alike, so the choice-free part is one pure function.
What it is not: it commits nothing and it records no events (`Emit` goes to whoever keeps events).
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from msgspec.structs import replace

from mizzen.api import kinds, times
from mizzen.api.errors import Conflict, NotFound
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine import deletion
from mizzen.engine.canonical import at_version
from mizzen.engine.effects import Bind, Create, Delete, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View
from mizzen.engine.writes import Write, creation, removal, replacement

Effectual: TypeAlias = Create | Update | UpdateStatus | Delete | Bind
"""The effects that write an object."""


class Admit(Protocol):
    """The admission that API writes go through, as controllers use it. Raises ApiError for what it refuses."""

    def __call__(self, effect: Create | Update | UpdateStatus, old: Any, view: View, now: Instant, ids: Ids) -> Any:
        """Return what is to be stored; `old` is the stored object, None for a `Create`."""
        ...


def translate(effect: Effectual, admit: Admit, view: View, now: Instant, ids: Ids) -> Write | None:
    """Return the write that an effect asks for; None when nothing is left to do.

    Raises `Conflict` or `NotFound` when the effect was decided on another state, and what `admit` raises.
    """
    match effect:
        case Create():
            return creation(admit(effect, None, view, now, ids))
        case Update() | UpdateStatus():
            return _update(effect, admit, view, now, ids)
        case Delete():
            return _delete(effect, view, now)
        case Bind():
            return _bind(effect, view, now)


def _update(effect: Update | UpdateStatus, admit: Admit, view: View, now: Instant, ids: Ids) -> Write | None:
    kind = kinds.kind_of(effect.object)
    wanted = effect.object.metadata
    old = view.get(kind, wanted.namespace, wanted.name)
    if old is None:
        raise NotFound(kind, wanted.name)
    if old.metadata.resource_version != wanted.resource_version or old.metadata.uid != wanted.uid:
        raise Conflict(kind, wanted.name)
    new = admit(effect, old, view, now, ids)
    if deletion.ends(old, new):
        return removal(kind, wanted.namespace, wanted.name, _version(old))
    return None if _same(old, new) else replacement(new, _version(old))


def _delete(effect: Delete, view: View, now: Instant) -> Write | None:
    kind = kinds.BY_RESOURCE[effect.key.resource]
    old = view.get(kind, effect.key.namespace, effect.key.name)
    if old is None or old.metadata.uid != effect.uid:
        return None
    if effect.resource_version not in ("", old.metadata.resource_version):
        raise Conflict(kind, effect.key.name)
    new = deletion.mark(old, now, effect.grace_period_s, effect.propagation)
    if new is None:
        return removal(kind, effect.key.namespace, effect.key.name, _version(old))
    return None if new is old else replacement(new, _version(old))


def _bind(effect: Bind, view: View, now: Instant) -> Write:
    pod = view.get(kinds.POD, effect.namespace, effect.name)
    if pod is None or pod.metadata.uid != effect.uid:
        raise NotFound(kinds.POD, effect.name)
    if pod.metadata.deletion_timestamp is not None:
        raise Conflict(kinds.POD, effect.name, f"pod {effect.name} is being deleted, cannot be assigned to a host")
    if pod.spec.node_name:
        raise Conflict(kinds.POD, effect.name, f"pod {effect.name} is already assigned to node {pod.spec.node_name!r}")
    return replacement(bound(pod, effect.node, now), _version(pod))


def bound(pod: core_v1.Pod, node: str, now: Instant) -> core_v1.Pod:
    """Return the pod assigned to a node, with the condition that says so."""
    scheduled = core_v1.PodCondition(type="PodScheduled", status="True", last_transition_time=times.render(now))
    status = replace(pod.status, conditions=with_condition(pod.status.conditions, scheduled))
    return replace(pod, spec=replace(pod.spec, node_name=node), status=status)


def with_condition(
    conditions: tuple[core_v1.PodCondition, ...], new: core_v1.PodCondition
) -> tuple[core_v1.PodCondition, ...]:
    """Return the conditions with `new` in place of the one of its type; the transition time goes with the status."""
    old = next((condition for condition in conditions if condition.type == new.type), None)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = replace(new, last_transition_time=old.last_transition_time)
    return tuple(new if condition.type == new.type else condition for condition in conditions)


def key_of(obj: Object) -> Key:
    """Return the key of an object."""
    return Key(kinds.kind_of(obj).resource, obj.metadata.namespace, obj.metadata.name)


def _version(obj: Object) -> int:
    return int(obj.metadata.resource_version)


def _same(old: Object, new: Object) -> bool:
    """Whether writing `new` would change nothing; a write of what is there already would only wake everybody."""
    return bool(at_version(old, 0) == at_version(new, 0))
