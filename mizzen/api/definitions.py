"""What is said about definitions of kinds: their conditions, finalizer and annotations."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from mizzen.api import times
from mizzen.api.types.apiextensions_v1 import CustomResourceDefinition, CustomResourceDefinitionCondition

ESTABLISHED = "Established"
NAMES_ACCEPTED = "NamesAccepted"
TERMINATING = "Terminating"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""Finalizer: first delete all objects of the kind."""
APPROVED = "api-approved.kubernetes.io"
"""Annotation without which nobody may define kinds in Kubernetes' own groups."""
_PROTECTED = (".k8s.io", ".kubernetes.io")


class Condition(NamedTuple):
    """What is said by a condition, without when it came to be so."""

    type: str
    status: str
    reason: str
    message: str


def is_protected(definition: CustomResourceDefinition) -> bool:
    """Whether the kind is in one of Kubernetes' own groups."""
    return f".{definition.spec.group}".endswith(_PROTECTED)


def condition(definition: CustomResourceDefinition, type_: str) -> Condition | None:
    """What a condition says, if it is there."""
    found = (one for one in definition.status.conditions if one.type == type_)
    return next((Condition(one.type, one.status, one.reason, one.message) for one in found), None)


def holds(definition: CustomResourceDefinition, type_: str) -> bool:
    """Whether a condition is true."""
    found = condition(definition, type_)
    return found is not None and found.status == "True"


def with_condition(definition: CustomResourceDefinition, wanted: Condition, now_ms: int) -> CustomResourceDefinition:
    """The definition with a condition; its time changes only with its status. `now_ms`: since the epoch."""
    conditions = definition.status.conditions
    before = next((one for one in conditions if one.type == wanted.type), None)
    stays = before is not None and before.status == wanted.status
    made = CustomResourceDefinitionCondition(
        type=wanted.type,
        status=wanted.status,
        reason=wanted.reason,
        message=wanted.message,
        last_transition_time=before.last_transition_time if before is not None and stays else times.render(now_ms),
    )
    changed = tuple(made if one.type == wanted.type else one for one in conditions)
    if before is None:
        changed = (*conditions, made)
    return replace(definition, status=replace(definition.status, conditions=changed))


def without_condition(definition: CustomResourceDefinition, type_: str) -> CustomResourceDefinition:
    """The definition without a condition."""
    kept = tuple(one for one in definition.status.conditions if one.type != type_)
    return replace(definition, status=replace(definition.status, conditions=kept))
