"""Who may do what, until roles exist: administrators everything, everybody else next to nothing.

Nodes are not served here: they talk to the node gateway over gRPC, where each sees what is its own.
"""

from __future__ import annotations

from controlplane.server.authn import AUTHENTICATED, MASTERS, UserInfo
from controlplane.server.paths import Place
from mizzen.api.errors import Forbidden

_OPEN = ("/healthz", "/livez", "/readyz", "/version")
"""Anybody may see that and what the server is."""
_DISCOVERY = ("/api", "/apis", "/openapi")
"""Whoever is known may ask what there is."""
_MEASURES = ("/metrics",)
_MONITORING = "system:monitoring"


def check_path(user: UserInfo, method: str, path: str) -> None:
    """Raise Forbidden unless the user may use a path that names no object."""
    if MASTERS in user.groups or _within(path, _OPEN):
        return
    if _MONITORING in user.groups and _within(path, _MEASURES):
        return
    if AUTHENTICATED in user.groups and (path == "/" or _within(path, _DISCOVERY)):
        return
    raise Forbidden(None, "", f'User "{user.name}" cannot {method.lower()} path "{path}"')


def check_place(user: UserInfo, verb: str, place: Place) -> None:
    """Raise Forbidden unless the user may do this to these objects."""
    if MASTERS in user.groups:
        return
    where = f'in the namespace "{place.namespace}"' if place.namespace else "at the cluster scope"
    what = f'resource "{place.resource}" in API group "{place.kind.group}"'
    raise Forbidden(place.kind, place.name, f'User "{user.name}" cannot {verb} {what} {where}')


def _within(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
