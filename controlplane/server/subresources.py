"""The paths below an object (`/status`, `/scale`, `/log`): which kinds of answers they give and which verbs they have.

One table, read by discovery, by the check whether a path exists, and by authorisation. What a subresource does stands
elsewhere (`verbs`, `rest_streams`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlplane.admission.request import SUBRESOURCES, Operation
from mizzen.api.kinds import Kind

_STATUS_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """One path below the objects of a kind."""

    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    """The kind that goes over the wire; empty for the object's own."""
    group: str = ""
    version: str = ""
    """Group and version of that kind; empty for the object's own."""


_SERVED = {
    sub.name: sub
    for sub in (
        Subresource("status", _STATUS_VERBS),
        Subresource("scale", _STATUS_VERBS, "Scale", "autoscaling", "v1"),
        Subresource("finalize", ("update",)),
        Subresource("binding", ("create",), "Binding"),
        Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
        Subresource("approval", _STATUS_VERBS),
        Subresource("ephemeralcontainers", _STATUS_VERBS),
        Subresource("resize", _STATUS_VERBS),
        Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1"),
        Subresource("log", ("get",)),
        Subresource("exec", ("create", "get"), "PodExecOptions"),
        Subresource("attach", ("create", "get"), "PodAttachOptions"),
        Subresource("portforward", ("create", "get"), "PodPortForwardOptions"),
    )
}

OPERATIONS = {"": Operation.UPDATE} | {name: operation for operation, name in SUBRESOURCES.items()}
"""What writing an object at its path, or below it, is."""


def of(kind: Kind[Any]) -> tuple[Subresource, ...]:
    """The subresources of a kind that this server serves, by name."""
    return tuple(_SERVED[name] for name in sorted(kind.subresources) if name in _SERVED)


def find(kind: Kind[Any], name: str) -> Subresource | None:
    """One subresource of a kind; None where there is no such path."""
    return _SERVED.get(name) if name in kind.subresources else None
