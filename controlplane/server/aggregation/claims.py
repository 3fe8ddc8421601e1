"""Which groups and versions belong to extension servers, and what a path below one asks for. From objects, without I/O.

What is built in belongs to nobody else, whatever an APIService says.
"""

from __future__ import annotations

from collections.abc import Mapping

from multidict import MultiMapping

from controlplane.access.values import Wanted
from controlplane.server.verbs_read import only_name
from mizzen.api import kinds, priorities
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.engine.cache import Cache

Served = apiregistration.APIService
GroupVersion = tuple[str, str]

_OF_METHOD = {
    "POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
}  # fmt: skip
_OWN_SUBRESOURCES = ("status", "finalize")
_OPENAPI = "/openapi/v3"


class Claims:
    """The groups and versions of extension servers, as the cache has them."""

    def __init__(self, cache: Cache) -> None:
        """Read them from `cache`."""
        self._cache = cache
        self._state = -1
        self._claims: Mapping[GroupVersion, Served] = {}

    def all(self) -> Mapping[GroupVersion, Served]:
        """All of them; the same mapping for as long as none changes."""
        state = self._cache.changes(kinds.API_SERVICE)
        if state != self._state:
            self._claims = {
                (one.spec.group, one.spec.version): one
                for one in self._cache.list(kinds.API_SERVICE)
                if one.spec.service is not None and (one.spec.group, one.spec.version) not in priorities.BUILT_IN
            }
            self._state = state
        return self._claims

    def at(self, path: str) -> Served | None:
        """Whose path it is; None for our own. The description of a group and version belongs to who serves it."""
        if path.startswith(f"{_OPENAPI}/apis/"):
            path = path.removeprefix(_OPENAPI)
        if not path.startswith("/apis/"):
            return None
        parts = path.split("/", 4)
        return self.all().get((parts[2], parts[3])) if len(parts) > 3 else None


def is_available(served: Served) -> bool:
    """Whether its condition says so."""
    return any(one.type == "Available" and one.status == "True" for one in served.status.conditions)


def wanted_by(method: str, path: str, query: MultiMapping[str]) -> Wanted:
    """What is wanted by a path of a group and version, as roles name it; without a resource, the path itself."""
    parts = [part for part in path.split("/") if part]
    if parts[0] != "apis" or len(parts) < 4:
        return Wanted(method.lower(), path=path)
    group, _, *parts = parts[1:]
    verb = _OF_METHOD.get(method, method.lower())
    watched = parts[0] == "watch" and len(parts) > 1
    if watched:
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _OWN_SUBRESOURCES:
            parts = parts[2:]
    resource, name, below = (*parts[:3], "", "")[:3]
    if verb == "get" and not name:
        watched = watched or query.get("watch", "") not in ("", "0", "false")
        verb, name = "list", only_name(query.get("fieldSelector", ""))
    if watched and verb in ("get", "list"):
        verb = "watch"
    if verb == "delete" and not name:
        verb = "deletecollection"
    return Wanted(verb, group, f"{resource}/{below}" if below else resource, namespace, name)
