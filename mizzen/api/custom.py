"""Objects of kinds that users define: typed in what every object has, plain JSON in the rest.

Vocabulary
- *hub*: the one kind under which all objects of a definition are stored and cached, whatever versions are served. It
  lives as long as the process, so that what is cached stays found while a definition changes.
- *served version*: a kind with a schema, as a path names it; objects are shown in it and come in by it. It is made
  anew when its definition changes.

Versions differ in `apiVersion` and in what their schemas drop and fill in, and in nothing else unless the definition
names a webhook that converts: then an object's content is in the *form* of one version, and is asked for in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mizzen.api import reading
from mizzen.api.json_values import same
from mizzen.api.kinds import Kind
from mizzen.api.structural import Node, filled, pruned
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import meta_v1 as meta

_METADATA = "meta_v1.ObjectMeta"
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_OBJECT_META = msgspec.json.Decoder(meta.ObjectMeta)
_IDENTITY = ("apiVersion", "kind", "metadata")
_WHOLE_MAX = 1e21
"""From here on whole numbers are written with an exponent."""


class Custom(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One object of a kind that a user defined; `msgspec.structs.replace` changes a copy, as with every object."""

    of: CustomKind
    version: str = ""
    """The version in whose form the content is, where that is not the kind's own."""
    metadata: meta.ObjectMeta = msgspec.field(default_factory=meta.ObjectMeta)
    content: Mapping[str, Any] = {}
    """Everything but `apiVersion`, `kind` and `metadata`, as JSON values that nobody changes."""

    @property
    def api_version(self) -> str:
        """Group and version."""
        return f"{self.of.group}/{self.version}" if self.version else self.of.api_version

    @property
    def form(self) -> str:
        """The version in whose form the content is."""
        return self.version or self.of.version

    @property
    def kind(self) -> str:
        """The kind in CamelCase."""
        return self.of.kind

    def __eq__(self, other: object) -> bool:
        # In JSON, `true` is not `1`.
        return (
            isinstance(other, Custom)
            and self.of is other.of
            and self.version == other.version
            and self.metadata == other.metadata
            and same(self.content, other.content)
        )

    __hash__ = None  # type: ignore[assignment]  # the content may be changed by nobody, but Python cannot know


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    type: str
    format: str
    description: str
    priority: int
    path: str


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the numbers of replicas stand, each as the names on the way."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """How objects get from one version to another where a webhook is asked."""

    webhook: apiextensions.WebhookConversion
    storage: str
    """The version in which objects are written."""


@dataclass(frozen=True, slots=True, eq=False)
class CustomKind(Kind[Custom]):
    """A hub (which has no hub) or a served version of one."""

    hub: CustomKind | None = None
    singular_name: str = ""
    list_name: str = ""
    schema: Node = field(default_factory=Node)
    columns: tuple[Column, ...] = ()
    scale: ScalePaths | None = None
    selectable: tuple[tuple[str, ...], ...] = ()
    terminating: bool = False
    """The definition is being deleted: nothing new comes."""
    conversion: Conversion | None = None
    """What versions differ in beside `apiVersion` and their schemas; None where that is all."""

    @property
    def singular(self) -> str:
        """The singular resource name."""
        return self.singular_name or self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of lists of them."""
        return self.list_name or f"{self.kind}List"

    @property
    def storage(self) -> CustomKind:
        """The hub."""
        return self.hub or self

    @property
    def has_status(self) -> bool:
        """Whether the status is written apart from the rest."""
        return "status" in self.subresources


def from_value(kind: CustomKind, value: dict[str, Any]) -> tuple[Custom, bool]:
    """The object in a JSON value whatever its schema, and whether its metadata has fields that nobody knows.

    Raises `reading.Mismatch`.
    """
    tally = reading.Tally()
    given = value.get("metadata")
    try:
        metadata = reading.message_reader(_METADATA)({} if given is None else given, tally)
    except reading.Mismatch as error:
        error.path.append("metadata")
        raise
    content = {key: _canonical(item) for key, item in value.items() if key not in _IDENTITY}
    obj = Custom(of=kind, metadata=msgspec.convert(metadata, meta.ObjectMeta), content=content)
    return obj, bool(tally.unknown)


def from_stored(kind: CustomKind, raw: bytes) -> Custom:
    """The object in JSON of our own making. Raises msgspec.DecodeError for what cannot be one."""
    parts = _PARTS.decode(raw)
    metadata = _OBJECT_META.decode(parts.get("metadata", b"{}"))
    content = {name: msgspec.json.decode(part) for name, part in parts.items() if name not in _IDENTITY}
    version = _TEXT.decode(parts.get("apiVersion", b'""')).rpartition("/")[2]
    return Custom(of=kind, version=_other(kind, version), metadata=metadata, content=content)


def stored(obj: Custom) -> Custom:
    """An object of a served version under its hub; it stays in the form of its version where versions differ."""
    hub = obj.of.storage
    version = _other(hub, obj.form) if obj.of.conversion is not None else ""
    return msgspec.structs.replace(obj, of=hub, version=version) if obj.of is not hub else obj


def labelled(obj: Custom, version: str) -> Custom:
    """The object as one in the form of another version."""
    return msgspec.structs.replace(obj, version=_other(obj.of, version))


def _other(kind: CustomKind, version: str) -> str:
    return "" if version == kind.version else version


def in_version(kind: CustomKind, obj: Custom) -> Custom:
    """A stored object as one of a served version: what its schema does not know is left out, its defaults are there."""
    return msgspec.structs.replace(
        obj, of=kind, version="", content=filled(pruned(obj.content, kind.schema), kind.schema)
    )


def plain(obj: Custom) -> dict[str, Any]:
    """The object's fields in the order in which they are written; the metadata is still a struct."""
    return {"apiVersion": obj.api_version, "kind": obj.kind, "metadata": obj.metadata, **obj.content}


def at(content: Any, path: tuple[str, ...]) -> Any:
    """The value that stands at the end of a path of names; None where there is none."""
    for name in path:
        if not isinstance(content, Mapping):
            return None
        content = content.get(name)
    return content


def with_value(content: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of the content, in order, with a value at the end of a path of names; what is missing there is made."""
    name, *rest = path
    if rest:
        below = content.get(name)
        value = with_value(below if isinstance(below, Mapping) else {}, tuple(rest), value)
    return dict(sorted({**content, name: value}.items()))


def _canonical(value: Any) -> Any:
    """The value with whole numbers written without a fraction and the names of objects in order."""
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_MAX:
        return int(value)
    return value
