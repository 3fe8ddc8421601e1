"""What a URL path and a method ask for, in the API's terms.

    /api/v1/namespaces/shop/pods/web-1/log      pods "web-1" in shop, subresource log
    /apis/apps/v1/deployments                   all deployments
    /api/v1/watch/namespaces/shop/pods          the changes of the pods in shop, asked for in the old way
    /api/v1/namespaces/shop/services/web:80/proxy/a//b    services "web:80" in shop, subresource proxy
    /version                                    no object at all

Paths that are well-formed but name nothing that is served give None; the server answers them with its 404.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from controlplane.access.values import Wanted
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.custom import CustomKind
from mizzen.api.errors import BadRequest, quoted
from mizzen.api.kinds import Kind

PROXY = "proxy"
"""The subresource below which all paths belong to somebody else."""
_OF_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_OF_PROXY = _OF_METHOD | {"GET": "get", "HEAD": "get", "DELETE": "delete"}
_METHODS = {
    "get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH",
    "delete": "DELETE", "deletecollection": "DELETE",
}  # fmt: skip
_NOT_IN_NAMES = ("/", "%")
_OWN_SUBRESOURCES = ("status", "finalize")
"""What may follow a namespace's name without being a resource in it."""


class Place(msgspec.Struct, frozen=True):
    """The objects or the one object that a path names."""

    kind: Kind[Any]
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watched: bool = False
    """The path itself asks for a watch, in the old way: `/api/v1/watch/pods`."""

    @property
    def resource(self) -> str:
        """`pods` or `pods/log`, as permissions name it."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def has_protobuf(self) -> bool:
        """Whether there is a message for what is asked for here; users' kinds have none, but their scales do."""
        return not isinstance(self.kind, CustomKind) or self.subresource == "scale"

    @property
    def scope(self) -> str:
        """How much the path spans, as metrics name it."""
        if self.name:
            return "resource"
        return "namespace" if self.namespace else "cluster"


def parse(path: str, catalog: Catalog = BUILT_IN) -> Place | None:
    """What the path names; None for paths that name no served resource."""
    parts = path.removeprefix("/").removesuffix("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        return _place("", parts[1], parts[2:], catalog)
    if parts[0] == "apis" and len(parts) > 3:
        return _place(parts[1], parts[2], parts[3:], catalog)
    return None


def unserved(method: str, path: str) -> Wanted | None:
    """What a path would ask for if somebody served it; None for one that would name no objects, whatever there is."""
    parts = path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else ("".join(parts[1:2]), parts[3:])
    if path.split("/")[1] not in ("api", "apis") or not parts:
        return None
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource, name, below = (*parts, "", "")[:3]
    done = _OF_METHOD.get(method) or {"GET": "get", "DELETE": "delete"}.get(method, method.lower())
    if not name:
        done = {"get": "list", "delete": "deletecollection"}.get(done, done)
    return Wanted(done, group, f"{resource}/{below}" if below else resource, namespace, name)


def _place(group: str, version: str, parts: list[str], catalog: Catalog) -> Place | None:
    if parts[0] == "watch" and len(parts) > 1:
        found = _place(group, version, parts[1:], catalog)
        return None if found is None or found.subresource or found.watched else replace(found, watched=True)
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and not (len(parts) == 3 and parts[2] in _OWN_SUBRESOURCES):
        namespace, parts = parts[1], parts[2:]
        if not namespace:
            return None
    kind = catalog.by_path.get((group, version, parts[0]))
    if kind is None:
        return None
    if parts[2:3] == [PROXY] and PROXY in kind.subresources:
        parts = parts[:3]
    if len(parts) > 3 or not all(parts):
        return None
    name, subresource = (*parts[1:], "", "")[:2]
    if kind.namespaced is not bool(namespace) and (name or namespace):
        return None
    return Place(kind, namespace, name, subresource)


def verb(method: str, place: Place, watching: bool) -> str:
    """The API's verb for a method on a path; empty for methods that the API does not have."""
    if place.watched and method != "GET":
        return ""
    if place.subresource == PROXY:
        return _OF_PROXY.get(method, method.lower())
    if method == "GET":
        if watching or place.watched:
            return "watch"
        return "get" if place.name else "list"
    if method == "DELETE":
        return "delete" if place.name else "deletecollection"
    return _OF_METHOD.get(method, "")


def methods(verbs: Iterable[str]) -> tuple[str, ...]:
    """The HTTP methods that the verbs are asked for with, in order and once."""
    return tuple(dict.fromkeys(_METHODS[verb] for verb in verbs))


def check_segments(place: Place) -> None:
    """Raise BadRequest for a name or namespace that would not be one segment of a path or key."""
    for what, text in (("Namespace", place.namespace), ("Name", place.name)):
        if text in (".", ".."):
            raise BadRequest(f"{what} parameter invalid: {quoted(text)}: may not be '{text}'")
        for char in _NOT_IN_NAMES:
            if char in text:
                raise BadRequest(f"{what} parameter invalid: {quoted(text)}: may not contain '{char}'")
