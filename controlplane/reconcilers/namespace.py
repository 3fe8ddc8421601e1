"""Empties a namespace that is being deleted, then lets it go.

Pods go first, as what they do may need the rest; then everything else at once, so that what is held by a finalizer
holds up nothing but itself. The conditions say what remains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from mizzen.api import kinds, times
from mizzen.api.kinds import Kind, Object
from mizzen.api.types import core_v1
from mizzen.engine.controller import ByMembership, Controller
from mizzen.engine.effects import Decision, Delete, Effect, Update, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

FINALIZER = "kubernetes"
_CONTENT: tuple[Kind[Any], ...] = (
    kinds.POD,
    *(kind for kind in kinds.KINDS if kind.stored and kind.namespaced and kind not in (kinds.POD, kinds.EVENT)),
    kinds.EVENT,
)


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One namespace: while it is terminating, delete its pods, and when they are gone everything else."""
    namespace = view.get(kinds.NAMESPACE, "", key.name)
    if namespace is None or namespace.metadata.deletion_timestamp is None:
        return Decision()
    custom = [kind for kind in view.catalog.custom if kind.namespaced]
    left = [(kind, view.list(kind, key.name)) for kind in (*_CONTENT, *custom)]
    left = [(kind, objects) for kind, objects in left if objects]
    status = _status(namespace, left, now)
    effects: list[Effect] = []
    if status != namespace.status:
        effects.append(UpdateStatus(msgspec.structs.replace(namespace, status=status)))
    if not left:
        return Decision((*effects,) if effects else tuple(_finalize(namespace)))
    first, (some, *_) = left[0]
    effects += [
        Delete(Key(kind.resource, key.name, obj.metadata.name), obj.metadata.uid)
        for kind, objects in (left[:1] if first is kinds.POD else left)
        for obj in objects
        if obj.metadata.deletion_timestamp is None
    ]
    waiting = Waiting("DeletingContent", _remaining(left), Key(first.resource, key.name, some.metadata.name))
    return Decision(tuple(effects), waiting=(waiting,))


def _finalize(namespace: core_v1.Namespace) -> Iterable[Effect]:
    kept = tuple(f for f in namespace.spec.finalizers if f != FINALIZER)
    if kept != namespace.spec.finalizers:
        yield Update(msgspec.structs.replace(namespace, spec=msgspec.structs.replace(namespace.spec, finalizers=kept)))


def _remaining(left: list[tuple[Kind[Any], Any]]) -> str:
    counted = sorted(f"{kind.plural}.{kind.group} has {len(objects)} resource instances" for kind, objects in left)
    return f"Some resources are remaining: {', '.join(counted)}"


def _held(left: list[tuple[Kind[Any], Any]]) -> str:
    """Which finalizers hold content that was told to go; empty when none does."""
    held = Counter(
        finalizer
        for _, objects in left
        for obj in objects
        if obj.metadata.deletion_timestamp
        for finalizer in obj.metadata.finalizers
    )
    counted = sorted(f"{finalizer} in {count} resource instances" for finalizer, count in held.items())
    return f"Some content in the namespace has finalizers remaining: {', '.join(counted)}" if counted else ""


def _status(namespace: core_v1.Namespace, left: list[tuple[Kind[Any], Any]], now: Instant) -> core_v1.NamespaceStatus:
    held = _held(left)
    conditions = (
        _condition(
            "NamespaceDeletionDiscoveryFailure", "", "ResourcesDiscovered", "All resources successfully discovered"
        ),
        _condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        _condition("NamespaceDeletionContentFailure", "", "ContentDeleted", _deleted_text(left)),
        _condition(
            "NamespaceContentRemaining",
            _remaining(left) if left else "",
            "SomeResourcesRemain" if left else "ContentRemoved",
            "All content successfully removed",
        ),
        _condition(
            "NamespaceFinalizersRemaining",
            held,
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )
    before = {c.type: c for c in namespace.status.conditions}
    stamped = tuple(_stamp(before.get(c.type), c, now) for c in conditions)
    return core_v1.NamespaceStatus(phase="Terminating", conditions=stamped)


def _deleted_text(left: list[tuple[Kind[Any], Any]]) -> str:
    return (
        "All content successfully deleted, may be waiting on finalization"
        if left
        else "All content successfully deleted"
    )


def _condition(type_: str, problem: str, reason: str, fine: str) -> core_v1.NamespaceCondition:
    return core_v1.NamespaceCondition(
        type=type_, status="True" if problem else "False", reason=reason, message=problem or fine
    )


def _stamp(
    before: core_v1.NamespaceCondition | None, wanted: core_v1.NamespaceCondition, now: Instant
) -> core_v1.NamespaceCondition:
    same = before is not None and before.status == wanted.status
    stamp = before.last_transition_time if before is not None and same else times.render(now)
    return msgspec.structs.replace(wanted, last_transition_time=stamp)


def _namespace_of(obj: Object, view: View) -> Iterable[Key]:
    namespace = view.get(kinds.NAMESPACE, "", obj.metadata.namespace)
    leaving = namespace is not None and namespace.metadata.deletion_timestamp is not None
    return [Key(kinds.NAMESPACE.resource, "", obj.metadata.namespace)] if leaving else []


_MAPPER = ByMembership(_namespace_of)

CONTROLLER = Controller(
    name="namespace",
    kind=kinds.NAMESPACE,
    reconcile=reconcile,
    watches=tuple((kind, _MAPPER) for kind in _CONTENT),
    custom=_MAPPER,
)
