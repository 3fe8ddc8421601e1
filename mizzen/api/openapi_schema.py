"""The types of the API as JSON schemas, for both versions of OpenAPI.

Everything comes from the schema tables and the table of kinds. Types have Kubernetes' names
(`io.k8s.api.core.v1.Pod`), because clients look for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mizzen.api import schema
from mizzen.api.kinds import KINDS
from mizzen.api.schema import Field, MessageSchema

Json = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1"

APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
PUBLIC = "="
"""Stands before the public name of a type that is not in the tables."""

_SCALAR_NAMES = {
    "JSON": f"{APIEXTENSIONS}.JSON",
    "JSONSchemaPropsOrArray": f"{APIEXTENSIONS}.JSONSchemaPropsOrArray",
    "JSONSchemaPropsOrBool": f"{APIEXTENSIONS}.JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray": f"{APIEXTENSIONS}.JSONSchemaPropsOrStringArray",
    "Quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "IntOrString": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "Time": f"{META}.Time",
    "MicroTime": f"{META}.MicroTime",
    "Duration": f"{META}.Duration",
    "RawExtension": "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "FieldsV1": f"{META}.FieldsV1",
}
_PLAIN: dict[str, Json] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "Verbs": {"type": "array", "items": {"type": "string"}},
    "ExtraValue": {"type": "array", "items": {"type": "string"}},
}
_SCALARS_V2: dict[str, Json] = {
    "Quantity": {"type": "string"},
    "IntOrString": {"type": "string", "format": "int-or-string"},
    "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"},
    "Duration": {"type": "string"},
    "RawExtension": {"type": "object"},
    "FieldsV1": {"type": "object"},
    "JSON": {},
    "JSONSchemaPropsOrArray": {},
    "JSONSchemaPropsOrBool": {},
    "JSONSchemaPropsOrStringArray": {},
}
_SCALARS_V3: dict[str, Json] = _SCALARS_V2 | {
    "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
}
NO_OTHERS: Mapping[str, Json] = MappingProxyType({})
API_VERSION_TEXT = "The group and version of the API that this object is written in, such as `apps/v1`."
KIND_TEXT = "The kind of this object in CamelCase."


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a version of OpenAPI writes schemas."""

    references: str
    """What stands before a type's name in a reference."""
    wrapped: bool
    """A reference stands alone, so that what is said of a field wraps it."""
    scalars: dict[str, Json]


V2 = Dialect("#/definitions/", False, _SCALARS_V2)
V3 = Dialect("#/components/schemas/", True, _SCALARS_V3)


def public_name(message: str) -> str:
    """Kubernetes' name of a message: `core_v1.Pod` is `io.k8s.api.core.v1.Pod`."""
    if message.startswith(PUBLIC):
        return message.removeprefix(PUBLIC)
    module, _, name = message.partition(".")
    group, _, version = module.partition("_")
    if group == "apiextensions":
        return f"{APIEXTENSIONS}.{name}"
    if group == "apiregistration":
        return f"io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{name}"
    return f"{META}.{name}" if group == "meta" else f"io.k8s.api.{group}.{version}.{name}"


def schemas(roots: Iterable[str], dialect: Dialect, others: Mapping[str, Json] = NO_OTHERS) -> Json:
    """The schemas of these messages and of all that they are made of, by name and in order.

    `others`: the types that are not in the tables, by public name; they are made of `others` and of metadata.
    """
    found: Json = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        public = public_name(name)
        if public in found:
            continue
        if name.startswith(PUBLIC):
            found[public] = others[public]
            waiting += [f"{PUBLIC}{inner}" for inner in others if inner.removesuffix("List") == public]
            waiting += ("meta_v1.ObjectMeta", "meta_v1.ListMeta")
            continue
        message = schema.message(name)
        found[public] = _object(message, dialect)
        for field in message.fields:
            if field.message:
                waiting.append(field.message)
            if field.type in _SCALAR_NAMES:
                found[_SCALAR_NAMES[field.type]] = dialect.scalars[field.type]
    return {name: found[name] for name in sorted(found)}


def reference(message: str, dialect: Dialect) -> Json:
    """A reference to a message's schema."""
    return {"$ref": dialect.references + public_name(message)}


def _object(message: MessageSchema, dialect: Dialect) -> Json:
    result: Json = {"type": "object"}
    if message.doc:
        result["description"] = message.doc
    properties: Json = {}
    if message.kind:
        properties["apiVersion"] = {"type": "string", "description": API_VERSION_TEXT}
        properties["kind"] = {"type": "string", "description": KIND_TEXT}
    for field in message.fields:
        properties[field.json_name] = _field(field, dialect)
    if properties:
        result["properties"] = properties
    if required := [field.json_name for field in message.fields if field.always and not field.pointer]:
        result["required"] = required
    if identity := _GVKS.get(message.name):
        result["x-kubernetes-group-version-kind"] = identity
    return result


def _field(field: Field, dialect: Dialect) -> Json:
    item = _item(field, dialect)
    if field.cardinality == "list":
        result: Json = {"type": "array", "items": item}
    elif field.cardinality == "map":
        result = {"type": "object", "additionalProperties": item}
    elif "$ref" in item and dialect.wrapped:
        result = {"allOf": [item]}
    else:
        result = dict(item)
    if field.doc:
        result["description"] = field.doc
    for name, value in (
        ("x-kubernetes-list-type", field.list_type),
        ("x-kubernetes-list-map-keys", list(field.map_keys)),
        ("x-kubernetes-patch-strategy", ",".join(field.patch_strategy)),
        ("x-kubernetes-patch-merge-key", field.merge_key),
    ):
        if value:
            result[name] = value
    return result


def _item(field: Field, dialect: Dialect) -> Json:
    if field.type == "message":
        return reference(field.message, dialect)
    if field.type in _SCALAR_NAMES:
        return {"$ref": dialect.references + _SCALAR_NAMES[field.type]}
    return _PLAIN[field.type]


def _message_of(type_: type[Any]) -> str:
    return f"{type_.__module__.rpartition('.')[2]}.{type_.__name__}"


def _identities() -> dict[str, list[Json]]:
    """The messages that are kinds, or lists of kinds, with their group, version and kind."""
    result: dict[str, list[Json]] = {}
    for kind in KINDS:
        message = _message_of(kind.type)
        for suffix in ("", "List"):
            result[message + suffix] = [{"group": kind.group, "kind": kind.kind + suffix, "version": kind.version}]
    versions = sorted({(kind.group, kind.version) for kind in KINDS})
    for name in ("DeleteOptions", "WatchEvent"):
        result[f"meta_v1.{name}"] = [{"group": g, "kind": name, "version": v} for g, v in versions]
    result["meta_v1.Status"] = [{"group": "", "kind": "Status", "version": "v1"}]
    return result


_GVKS = _identities()
