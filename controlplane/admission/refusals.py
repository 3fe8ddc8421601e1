"""What the owner of an object is told when the object may not be made: people look there, not into a log."""

from __future__ import annotations

from mizzen.api import kinds
from mizzen.api.errors import ApiError, Forbidden, Invalid
from mizzen.engine.effects import Create, Emit
from mizzen.engine.view import View

_LEAVING = "NamespaceTerminating"


def complaint(effect: Create, error: ApiError, view: View) -> Emit | None:
    """The event at the controlling owner; None without one, or where another try will do or is not worth a word."""
    if not isinstance(error, Forbidden | Invalid) or _says(error, _LEAVING):
        return None
    made = effect.object
    reference = next((one for one in made.metadata.owner_references if one.controller), None)
    kind = kinds.BY_KIND.get((reference.api_version, reference.kind)) if reference is not None else None
    if reference is None or kind is None:
        return None
    owner = view.get(kind, made.metadata.namespace if kind.namespaced else "", reference.name)
    if owner is None or owner.metadata.uid != reference.uid:
        return None
    return Emit(owner, "Warning", "FailedCreate", f"Error creating: {error.message}", f"{kind.singular}-controller")


def _says(error: ApiError, reason: str) -> bool:
    return error.details is not None and any(cause.reason == reason for cause in error.details.causes)
