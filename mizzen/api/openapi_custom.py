"""The types of users' kinds as OpenAPI describes them: their own schemas, with what every object has put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.openapi_paths import message_of
from mizzen.api.openapi_schema import (
    API_VERSION_TEXT,
    KIND_TEXT,
    V2,
    Dialect,
    Json,
    public_name,
    reference,
)

_IDENTITY: Json = {
    "apiVersion": {"type": "string", "description": API_VERSION_TEXT},
    "kind": {"type": "string", "description": KIND_TEXT},
}
_NOT_IN_V2 = ("nullable", "oneOf", "anyOf", "allOf", "not", "default", "x-kubernetes-validations")


def definitions(kinds: Iterable[Kind[Any]], dialect: Dialect) -> dict[str, Json]:
    """The schemas of the users' kinds among `kinds` and of lists of them, by public name."""
    found: dict[str, Json] = {}
    for kind in kinds:
        if isinstance(kind, CustomKind):
            name = public_name(message_of(kind))
            found[name] = _object(kind, dialect)
            found[f"{name}List"] = _list(kind, dialect)
    return found


def _object(kind: CustomKind, dialect: Dialect) -> Json:
    source = _plain(kind.schema.source) if dialect is V2 else dict(kind.schema.source)
    properties = {**_IDENTITY, "metadata": _wrapped("meta_v1.ObjectMeta", dialect), **_own(source)}
    result = {**source, "type": "object", "properties": properties, **_identity(kind, kind.kind)}
    if dialect is V2 and kind.schema.preserve:
        # Clients that check by this version know no way to say that more is allowed.
        del result["properties"]
    return result


def _own(source: Mapping[str, Any]) -> Json:
    """The fields of the schema beside those that every object has."""
    return {name: inner for name, inner in source.get("properties", {}).items() if name not in (*_IDENTITY, "metadata")}


def _list(kind: CustomKind, dialect: Dialect) -> Json:
    item = reference(message_of(kind), dialect)
    return {
        "description": f"Several {kind.kind} objects.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_IDENTITY,
            "metadata": _wrapped("meta_v1.ListMeta", dialect),
            "items": {"type": "array", "items": item, "description": "The objects."},
        },
        **_identity(kind, kind.list_kind),
    }


def _identity(kind: CustomKind, name: str) -> Json:
    return {"x-kubernetes-group-version-kind": [{"group": kind.group, "kind": name, "version": kind.version}]}


def _wrapped(message: str, dialect: Dialect) -> Json:
    item = reference(message, dialect)
    return {"allOf": [item]} if dialect.wrapped else item


def _plain(schema: Mapping[str, Any]) -> Json:
    """A schema without what the second version of OpenAPI cannot say."""
    result: Json = {name: value for name, value in schema.items() if name not in _NOT_IN_V2}
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("nullable"):
        for name in ("properties", "items", "type", "required"):
            result.pop(name, None)
        return result
    if "properties" in result:
        result["properties"] = {name: _plain(inner) for name, inner in schema["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(result.get(name), Mapping):
            result[name] = _plain(schema[name])
        else:
            result.pop(name, None)
    return result
