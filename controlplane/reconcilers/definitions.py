"""Brings kinds that users define into service, and takes them out with all their objects.

A definition gets the names that no other of its group has. When it has all it wants, it is established and its versions
are served; from then on it stays established, whatever happens to single names. One that is deleted goes when the last
of its objects is gone.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from mizzen.api import definitions, kinds
from mizzen.api.catalog import Definition
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.definitions import APPROVED, CLEANUP, ESTABLISHED, NAMES_ACCEPTED, TERMINATING, Condition
from mizzen.api.types.apiextensions_v1 import CustomResourceDefinitionNames as Names
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, Update, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

_POLICY = "KubernetesAPIApprovalPolicyConformant"
_DELETIONS = 500
"""Objects that are told to go in one decision."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One definition: its names, whether it is served, and its end."""
    definition = view.get(kinds.CUSTOM_RESOURCE_DEFINITION, "", key.name)
    if definition is None:
        return Decision()
    if definition.metadata.deletion_timestamp is not None:
        return _leaving(definition, view, now)
    wanted = _policy(_named(definition, view, now), now)
    return Decision() if wanted == definition else Decision((UpdateStatus(wanted),))


# -- names -------------------------------------------------------------------------------------------------------------


def _named(definition: Definition, view: View, now: Instant) -> Definition:
    accepted, conflict = _accepted(definition, _others(definition, view))
    changed = replace(definition, status=replace(definition.status, accepted_names=accepted))
    if conflict is not None:
        changed = definitions.with_condition(changed, conflict, now)
        if not definitions.holds(definition, ESTABLISHED):
            no = Condition(ESTABLISHED, "False", "NotAccepted", "not all names are accepted")
            changed = definitions.with_condition(changed, no, now)
        return changed
    fine = Condition(NAMES_ACCEPTED, "True", "NoConflicts", "no conflicts found")
    changed = definitions.with_condition(changed, fine, now)
    if definitions.holds(definition, ESTABLISHED):
        return changed
    yes = Condition(ESTABLISHED, "True", "InitialNamesAccepted", "the initial names have been accepted")
    return definitions.with_condition(changed, yes, now)


def _others(definition: Definition, view: View) -> list[Names]:
    """The names that others of the group have."""
    return [
        other.status.accepted_names
        for other in view.list(kinds.CUSTOM_RESOURCE_DEFINITION)
        if other.spec.group == definition.spec.group and other.metadata.name != definition.metadata.name
    ]


def _accepted(definition: Definition, others: list[Names]) -> tuple[Names, Condition | None]:
    """The names that the definition may have (those that it had stay where a wish fails), and what failed."""
    taken = {name for other in others for name in (other.plural, other.singular, *other.short_names) if name}
    taken_kinds = {name for other in others for name in (other.kind, other.list_kind) if name}
    wanted, had = definition.spec.names, definition.status.accepted_names
    changes: dict[str, object] = {"categories": wanted.categories}
    problems: list[tuple[str, str]] = []
    for attr, reason, used in (
        ("plural", "PluralConflict", taken),
        ("singular", "SingularConflict", taken),
        ("kind", "KindConflict", taken_kinds),
        ("list_kind", "ListKindConflict", taken_kinds),
    ):
        name = getattr(wanted, attr)
        if name and name != getattr(had, attr) and name in used:
            problems.append((reason, f'"{name}" is already in use'))
        else:
            changes[attr] = name
    short = [name for name in wanted.short_names if name in taken and name not in had.short_names]
    if short:
        problems.append(("ShortNamesConflict", ", ".join(f'"{name}" is already in use' for name in short)))
    else:
        changes["short_names"] = wanted.short_names
    accepted = replace(had, **changes)
    if not problems:
        return accepted, None
    message = problems[0][1] if len(problems) == 1 else f"[{', '.join(text for _, text in problems)}]"
    return accepted, Condition(NAMES_ACCEPTED, "False", problems[-1][0], message)


def _policy(definition: Definition, now: Instant) -> Definition:
    """Whether the definition may be in its group, where that is one of Kubernetes' own."""
    if not definitions.is_protected(definition):
        return definition
    approval = definition.metadata.annotations.get(APPROVED, "")
    if approval.startswith("unapproved"):
        said = Condition(_POLICY, "False", "UnapprovedAnnotation", f'not approved: "{approval}"')
    elif approval:
        said = Condition(_POLICY, "True", "ApprovedAnnotation", f"approved in {approval}")
    else:
        return definition
    return definitions.with_condition(definition, said, now)


# -- the end -----------------------------------------------------------------------------------------------------------


def _leaving(definition: Definition, view: View, now: Instant) -> Decision:
    if CLEANUP not in definition.metadata.finalizers:
        return Decision()
    known = view.catalog.defined.get(definition.metadata.name)
    if known is None:
        waiting = Waiting("DefinitionUnknown", "the kind is not known yet, so its objects cannot be found")
        return Decision(wake_after_ms=1000, waiting=(waiting,))
    left = view.list(known.hub)
    if not left:
        kept = tuple(name for name in definition.metadata.finalizers if name != CLEANUP)
        done = Condition(TERMINATING, "False", "InstanceDeletionCompleted", "removed all instances")
        told = definitions.with_condition(definition, done, now)
        if told != definition:
            return Decision((UpdateStatus(told),))
        return Decision((Update(replace(definition, metadata=replace(definition.metadata, finalizers=kept))),))
    busy = Condition(TERMINATING, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
    told = definitions.with_condition(definition, busy, now)
    effects: list[Effect] = [] if told == definition else [UpdateStatus(told)]
    effects += _deletions(known.hub, left)
    message = f"{len(left)} {definition.spec.names.plural} remain"
    return Decision(tuple(effects), waiting=(Waiting("DeletingInstances", message, _key(known.hub, left[0])),))


def _deletions(hub: CustomKind, left: Iterable[Custom]) -> list[Delete]:
    going = [obj for obj in left if obj.metadata.deletion_timestamp is None][:_DELETIONS]
    return [Delete(_key(hub, obj), obj.metadata.uid) for obj in going]


def _key(hub: CustomKind, obj: Custom) -> Key:
    return Key(hub.resource, obj.metadata.namespace, obj.metadata.name)


# -- what concerns which definition ------------------------------------------------------------------------------------


def _group(definition: Definition, view: View) -> Iterable[Key]:
    """The definitions whose names may have become free, or are in the way now."""
    return [
        _definition_key(other.metadata.name)
        for other in view.list(kinds.CUSTOM_RESOURCE_DEFINITION)
        if other.spec.group == definition.spec.group
    ]


def _of_leaving(obj: Custom, view: View) -> Iterable[Key]:
    """The definition of an object, if it waits for the object to go."""
    name = obj.of.storage.resource
    definition = view.get(kinds.CUSTOM_RESOURCE_DEFINITION, "", name)
    leaving = definition is not None and definition.metadata.deletion_timestamp is not None
    return [_definition_key(name)] if leaving else []


def _definition_key(name: str) -> Key:
    return Key(kinds.CUSTOM_RESOURCE_DEFINITION.resource, "", name)


CONTROLLER = Controller(
    name="crd",
    kind=kinds.CUSTOM_RESOURCE_DEFINITION,
    reconcile=reconcile,
    watches=((kinds.CUSTOM_RESOURCE_DEFINITION, _group),),
    custom=_of_leaving,
    # One after the other: two of one group may want the same name.
    workers=1,
)
