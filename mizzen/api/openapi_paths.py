"""The requests that the API takes, as OpenAPI describes them: paths, verbs, parameters.

An `Operation` is said once here and written by each version of OpenAPI in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mizzen.api import schema
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import ASKED, READ, RETURNED_WHEN_DELETED, Kind
from mizzen.api.openapi_schema import PUBLIC
from mizzen.api.patch import MEDIA_TYPES, STRATEGIC_MERGE_PATCH

APPLY = "application/apply-patch+yaml"
YAML = "application/yaml"
JSON_TYPES = ("application/json", YAML, "application/vnd.kubernetes.protobuf")
PATCH_TYPES = (*MEDIA_TYPES, APPLY)
ANYTHING = ("*/*",)
_LOG_TYPES = ("text/plain", *JSON_TYPES)

Parameter = tuple[str, str, str]
"""Name, type (`string`, `integer`, `boolean`) and description of a query parameter."""

_WRITE: tuple[Parameter, ...] = (
    ("dryRun", "string", "`All`: go all the way but do not store anything."),
    ("fieldManager", "string", "Who is said to have set the fields that change."),
    ("fieldValidation", "string", "What unknown and duplicate fields lead to: `Ignore`, `Warn` or `Strict`."),
)
_FORCE: Parameter = ("force", "boolean", "Take over fields that others have set; for apply only.")
_LIST: tuple[Parameter, ...] = (
    ("allowWatchBookmarks", "boolean", "A watch may also tell how far it is when nothing changes."),
    ("continue", "string", "Where the list went on; from the last answer."),
    ("fieldSelector", "string", "Only objects with these fields."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "At most so many objects in one answer."),
    ("resourceVersion", "string", "The version to list or to watch from."),
    ("resourceVersionMatch", "string", "`Exact` or `NotOlderThan`."),
    ("sendInitialEvents", "boolean", "A watch begins with what is there."),
    ("timeoutSeconds", "integer", "How long a list or a watch may take."),
    ("watch", "boolean", "Stream the changes."),
)
_DELETE: tuple[Parameter, ...] = (
    _WRITE[0],
    ("gracePeriodSeconds", "integer", "Seconds until it has to be gone; 0: at once."),
    ("orphanDependents", "boolean", "Old form of `propagationPolicy`."),
    ("propagationPolicy", "string", "What becomes of dependents: `Orphan`, `Background` or `Foreground`."),
)
_NAMES = {
    "namespace": "The namespace.",
    "name": "The object's name.",
    "path": "The path to pass the request on to, behind the object's own.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb on one path."""

    method: str
    """The HTTP method, in small letters."""
    action: str
    """Kubernetes' word for it: `list`, `post`, `deletecollection`, ..."""
    id: str
    kind: Kind[Any]
    gvk: tuple[str, str, str]
    """Group, version and kind of what is sent and answered."""
    parameters: tuple[Parameter, ...]
    body: str = ""
    """The message that is sent."""
    answer: str = ""
    """The message that is answered; empty for a text or a stream, of the type `streamed`."""
    created: bool = False
    streamed: tuple[str, ...] = ()

    @property
    def consumes(self) -> tuple[str, ...]:
        """The media types of the body."""
        if self.streamed:
            return ANYTHING
        if self.method != "patch":
            return self.produces
        # Clients take the best of these, and lists of users' kinds have nothing to be merged by.
        custom = isinstance(self.kind, CustomKind)
        return tuple(type_ for type_ in PATCH_TYPES if not custom or type_ != STRATEGIC_MERGE_PATCH)

    @property
    def produces(self) -> tuple[str, ...]:
        """The media types of the answer; there are no messages for users' kinds."""
        return self.streamed or (JSON_TYPES[:-1] if isinstance(self.kind, CustomKind) else JSON_TYPES)

    @property
    def tag(self) -> str:
        """The group and version as operations name them: `core_v1`, `apps_v1`."""
        return f"{_group_word(self.kind)}_{self.kind.version}"


@dataclass(frozen=True, slots=True)
class PathItem:
    """What can be asked of one path."""

    path: str
    names: tuple[tuple[str, str], ...]
    """The parameters in the path, with what they mean."""
    operations: tuple[Operation, ...]


def paths(kind: Kind[Any]) -> Iterator[PathItem]:
    """All paths of a kind."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    collection = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    make = _Maker(kind)
    if kind.verbs == ASKED:
        yield _item(collection, make.create())
        return
    if kind.verbs == READ:
        yield _item(collection, make.list())
        if kind.namespaced:
            yield _item(f"{root}/{kind.plural}", make.list(everywhere=True))
        yield _item(f"{collection}/{{name}}", make.read())
        return
    many = (make.delete_collection(),) if "deletecollection" in kind.verbs else ()
    yield _item(collection, make.list(), make.create(), *many)
    if kind.namespaced:
        yield _item(f"{root}/{kind.plural}", make.list(everywhere=True))
    yield _item(f"{collection}/{{name}}", make.read(), make.replace(), make.patch(), make.delete())
    for name in kind.subresources:
        yield from _below(f"{collection}/{{name}}/{name}", name, make)


def _below(path: str, name: str, make: _Maker) -> Iterator[PathItem]:
    """The paths of one subresource."""
    if name in _WHOLE_OBJECTS:
        yield _item(path, make.read(name), make.replace(name), make.patch(name))
    elif name == "finalize":
        yield _item(path, make.replace(name))
    elif name == "log":
        yield _item(path, make.read_log())
    elif name in _SUBRESOURCES:
        message, gvk = _SUBRESOURCES[name]
        yield _item(path, *make.through(name, message, gvk))
    elif name in _CONNECTED:
        yield _item(path, *make.connect(name))
        if name == "proxy":
            yield _item(f"{path}/{{path}}", *make.connect(name, with_path=True))


_STREAMS = ("get", "post")
_CONNECTED = {
    "exec": ("PodExecOptions", _STREAMS),
    "attach": ("PodAttachOptions", _STREAMS),
    "portforward": ("PodPortForwardOptions", _STREAMS),
    "proxy": ("{kind}ProxyOptions", ("get", "put", "post", "delete", "options", "head", "patch")),
}
"""Subresources that lead to what runs: the type of what may be asked, and the methods."""
_QUERY_TYPES = {"string": "string", "bool": "boolean", "int32": "integer", "int64": "integer"}
_WHOLE_OBJECTS = ("status", "approval", "ephemeralcontainers", "resize")
"""Subresources through which the whole object is seen, and a part of it is changed."""
_SUBRESOURCES: dict[str, tuple[str, tuple[str, str, str]]] = {
    "scale": ("autoscaling_v1.Scale", ("autoscaling", "v1", "Scale")),
    "eviction": ("policy_v1.Eviction", ("policy", "v1", "Eviction")),
    "binding": ("core_v1.Binding", ("", "v1", "Binding")),
    "token": ("authentication_v1.TokenRequest", ("authentication.k8s.io", "v1", "TokenRequest")),
}


def message_of(kind: Kind[Any]) -> str:
    """The message of a kind's objects; a user's kind has none, but a public name, behind `openapi_schema.PUBLIC`."""
    if isinstance(kind, CustomKind):
        return f"{PUBLIC}{'.'.join(reversed(kind.group.split('.')))}.{kind.version}.{kind.kind}"
    return f"{kind.type.__module__.rpartition('.')[2]}.{kind.type.__name__}"


class _Maker:
    """Makes the operations of one kind."""

    def __init__(self, kind: Kind[Any]) -> None:
        self.kind = kind
        self.message = message_of(kind)
        self.gvk = (kind.group, kind.version, kind.kind)
        self.scope = "Namespaced" if kind.namespaced else ""
        self.prefix = _group_word(kind).title().replace("_", "") + kind.version.title()

    def list(self, *, everywhere: bool = False) -> Operation:
        """List or watch, in one namespace or in all."""
        name = f"{self.kind.kind}ForAllNamespaces" if everywhere else self.scope + self.kind.kind
        return self._make("get", "list", f"list{self.prefix}{name}", _LIST, answer=f"{self.message}List")

    def create(self) -> Operation:
        """Create one."""
        name = f"create{self.prefix}{self.scope}{self.kind.kind}"
        return self._make("post", "post", name, _WRITE, body=self.message, answer=self.message, created=True)

    def delete_collection(self) -> Operation:
        """Delete many."""
        name = f"delete{self.prefix}Collection{self.scope}{self.kind.kind}"
        parameters = tuple(dict.fromkeys((*_LIST[1:9], *_DELETE)))
        return self._make(
            "delete", "deletecollection", name, parameters, body="meta_v1.DeleteOptions", answer="meta_v1.Status"
        )

    def read(self, sub: str = "") -> Operation:
        """Get one."""
        return self._make("get", "get", self._one("read", sub), (), answer=self.message)

    def replace(self, sub: str = "") -> Operation:
        """Replace one."""
        return self._make(
            "put", "put", self._one("replace", sub), _WRITE, body=self.message, answer=self.message, created=True
        )

    def patch(self, sub: str = "") -> Operation:
        """Change one."""
        return self._make(
            "patch",
            "patch",
            self._one("patch", sub),
            (*_WRITE, _FORCE),
            body="Patch",
            answer=self.message,
            created=True,
        )

    def delete(self) -> Operation:
        """Delete one."""
        answer = self.message if self.kind in RETURNED_WHEN_DELETED else "meta_v1.Status"
        name = self._one("delete", "")
        return self._make("delete", "delete", name, _DELETE, body="meta_v1.DeleteOptions", answer=answer)

    def through(self, sub: str, message: str, gvk: tuple[str, str, str]) -> Iterator[Operation]:
        """The operations of a subresource that has a type of its own."""
        if sub == "scale":
            yield self._make("get", "get", self._one("read", sub), (), answer=message, gvk=gvk)
            yield self._make("put", "put", self._one("replace", sub), _WRITE, body=message, answer=message, gvk=gvk)
            yield self._make(
                "patch", "patch", self._one("patch", sub), (*_WRITE, _FORCE), body="Patch", answer=message, gvk=gvk
            )
        else:
            name = self._one("create", sub)
            answer = "meta_v1.Status" if sub == "binding" else message
            yield self._make("post", "post", name, _WRITE, body=message, answer=answer, created=True, gvk=gvk)

    def read_log(self) -> Operation:
        """Get what a container wrote."""
        asked = _options("core_v1.PodLogOptions")
        return self._make("get", "get", self._one("read", "log"), asked, streamed=_LOG_TYPES)

    def connect(self, sub: str, *, with_path: bool = False) -> Iterator[Operation]:
        """Reach what runs, by each method."""
        name, methods = _CONNECTED[sub]
        options = name.format(kind=self.kind.kind)
        gvk = (self.kind.group, self.kind.version, options)
        asked = _options(f"core_v1.{options}")
        below = sub.title() + "WithPath" * with_path
        for method in methods:
            word = f"connect{self.prefix}{method.title()}{self.scope}{self.kind.kind}{below}"
            yield self._make(method, "connect", word, asked, gvk=gvk, streamed=ANYTHING)

    def _one(self, verb: str, sub: str) -> str:
        return f"{verb}{self.prefix}{self.scope}{self.kind.kind}{sub.title()}"

    def _make(
        self,
        method: str,
        action: str,
        name: str,
        parameters: tuple[Parameter, ...],
        *,
        body: str = "",
        answer: str = "",
        created: bool = False,
        gvk: tuple[str, str, str] | None = None,
        streamed: tuple[str, ...] = (),
    ) -> Operation:
        return Operation(method, action, name, self.kind, gvk or self.gvk, parameters, body, answer, created, streamed)


def _options(message: str) -> tuple[Parameter, ...]:
    """The fields of a type of options as parameters of a query; what is no plain value is no parameter."""
    fields = schema.message(message).fields
    return tuple(
        (field.json_name, _QUERY_TYPES[field.type], field.doc) for field in fields if field.type in _QUERY_TYPES
    )


def _group_word(kind: Kind[Any]) -> str:
    return kind.group.partition(".")[0] or "core"


def _item(path: str, *operations: Operation) -> PathItem:
    names = tuple((name, text) for name, text in _NAMES.items() if f"{{{name}}}" in path)
    return PathItem(path, names, operations)
