"""The rules for schemas of custom resources: they must be *structural*, so that values can be pruned and filled.

A structural schema says the type of every value outside of `allOf`, `anyOf`, `oneOf` and `not`; those combine
conditions on what is specified outside of them. Source: Kubernetes' documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mizzen.api import rules, structural, structural_rules
from mizzen.api.errors import FieldError

Errors = Iterator[FieldError]
Schema = Mapping[str, Any]

DEPTH_MAX = 64
"""Levels of a schema, which bounds what goes through it."""
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN = ("$ref", "id", "patternProperties", "dependencies", "definitions", "additionalItems")
_NOT_IN_LOGIC = (
    "additionalProperties", "default", "description", "nullable", "title", "type", "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
)  # fmt: skip
_INT_OR_STRING = ({"type": "integer"}, {"type": "string"})
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_IN_FIELDS = "must not be empty for specified object fields"
_IN_ITEMS = "must not be empty for specified array items"


def problems(schema: Schema, path: str) -> list[FieldError]:
    """What is wrong with the schema of a whole object."""
    found = list(_root(schema, path))
    return found or list(_defaults(schema, path))


def _root(schema: Schema, path: str) -> Errors:
    if schema.get("nullable"):
        yield FieldError.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    given = schema.get("type", "")
    if given not in ("", "object"):
        yield FieldError.invalid(f"{path}.type", given, "must be object at the root")
    metadata = schema.get("properties", {}).get("metadata")
    if metadata is not None and _says_too_much(metadata):
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield FieldError.forbidden(f"{path}.properties[metadata]", why)
    yield from _schema(schema, path, "must not be empty at the root", 0)


def _says_too_much(metadata: Schema) -> bool:
    allowed = {"type", "description", "properties"}
    return not set(metadata) <= allowed or not set(metadata.get("properties", ())) <= {"name", "generateName"}


def _schema(schema: Schema, path: str, empty: str, depth: int) -> Errors:
    if depth > DEPTH_MAX:
        yield FieldError.forbidden(path, f"schemas may have at most {DEPTH_MAX} levels")
        return
    yield from _forbidden(schema, path)
    yield from _type(schema, path, empty)
    yield from _extensions(schema, path)
    yield from _lists(schema, path)
    yield from _patterns(schema, path)
    yield from _rules(schema, path)
    properties, additional = schema.get("properties", {}), schema.get("additionalProperties")
    for name, inner in properties.items():
        yield from _schema(inner, f"{path}.properties[{name}]", _IN_FIELDS, depth + 1)
    if isinstance(additional, Mapping):
        yield from _schema(additional, f"{path}.additionalProperties", _IN_FIELDS, depth + 1)
    if isinstance(schema.get("items"), Mapping):
        yield from _schema(schema["items"], f"{path}.items", _IN_ITEMS, depth + 1)
    for where, inner in _logical(schema, path):
        yield from _in_logic(inner, schema, where, depth + 1)


def _forbidden(schema: Schema, path: str) -> Errors:
    for name in _FORBIDDEN:
        if schema.get(name):
            yield FieldError.forbidden(f"{path}.{name}", f"{name} is not supported")
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError.forbidden(f"{path}.uniqueItems", why)
    additional = schema.get("additionalProperties")
    if additional is False:
        yield FieldError.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    elif additional is not None and schema.get("properties"):
        why = "additionalProperties and properties are mutual exclusive"
        yield FieldError.forbidden(f"{path}.additionalProperties", why)
    if isinstance(schema.get("items"), list):
        yield FieldError.forbidden(f"{path}.items", "items must be a schema object and not an array")


def _type(schema: Schema, path: str, empty: str) -> Errors:
    given = schema.get("type", "")
    either = schema.get("x-kubernetes-int-or-string")
    if given and given not in _TYPES:
        yield FieldError.unsupported(f"{path}.type", given, _TYPES)
    if given and either:
        yield FieldError.invalid(f"{path}.type", given, "must be empty if x-kubernetes-int-or-string is true")
    if not given and not either and not schema.get("x-kubernetes-preserve-unknown-fields"):
        yield FieldError.required(f"{path}.type", empty)
    if given == "array" and "items" not in schema:
        yield FieldError.required(f"{path}.items", "must be specified")


def _extensions(schema: Schema, path: str) -> Errors:
    preserve = schema.get("x-kubernetes-preserve-unknown-fields")
    if preserve is False:
        where = f"{path}.x-kubernetes-preserve-unknown-fields"
        yield FieldError.invalid(where, False, "must be true or undefined")
    if schema.get("x-kubernetes-embedded-resource"):
        if schema.get("type") != "object":
            why = "must be object if x-kubernetes-embedded-resource is true"
            yield FieldError.invalid(f"{path}.type", schema.get("type", ""), why)
        if not schema.get("properties") and not preserve:
            why = (
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            )
            yield FieldError.required(f"{path}.properties", why)
    if (map_type := schema.get("x-kubernetes-map-type")) is not None:
        if map_type not in ("atomic", "granular"):
            yield FieldError.unsupported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))
        if schema.get("type") != "object":
            why = "must be object if x-kubernetes-map-type is specified"
            yield FieldError.invalid(f"{path}.type", schema.get("type", ""), why)


def _lists(schema: Schema, path: str) -> Errors:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", [])
    if list_type is not None:
        if list_type not in ("atomic", "map", "set"):
            yield FieldError.unsupported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "map", "set"))
        if schema.get("type") != "array":
            why = "must be array if x-kubernetes-list-type is specified"
            yield FieldError.invalid(f"{path}.type", schema.get("type", ""), why)
    where = f"{path}.x-kubernetes-list-map-keys"
    if keys and list_type != "map":
        yield FieldError.forbidden(where, "must not be set if x-kubernetes-list-type is not map")
    if list_type == "map":
        if not keys:
            yield FieldError.required(where, "must not be empty if x-kubernetes-list-type is map")
        yield from _keys(schema, keys, path)


def _keys(schema: Schema, keys: list[str], path: str) -> Errors:
    """What identifies the items of a list must be in each."""
    where, items = f"{path}.x-kubernetes-list-map-keys", schema.get("items")
    if not isinstance(items, Mapping):
        return
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield FieldError.invalid(f"{path}.items.type", items.get("type", ""), why)
    for i, key in enumerate(keys):
        inner = items.get("properties", {}).get(key)
        if inner is None:
            why = "entries must all be names of item properties"
            yield FieldError.invalid(f"{where}[{i}]", key, why)
        elif key not in items.get("required", ()) and "default" not in inner:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield FieldError.required(f"{path}.items.properties[{key}].default", why)


def _patterns(schema: Schema, path: str) -> Errors:
    pattern = schema.get("pattern")
    if not pattern:
        return
    try:
        structural.expression(pattern)
    except ValueError as error:
        why = f"must be a valid regular expression, but isn't: {error}"
        yield FieldError.invalid(f"{path}.pattern", pattern, why)


def _rules(schema: Schema, path: str) -> Errors:
    for i, rule in enumerate(schema.get("x-kubernetes-validations", ())):
        where = f"{path}.x-kubernetes-validations[{i}]"
        if not rule.get("rule", "").strip():
            yield FieldError.required(f"{where}.rule", "rule is not specified")
        reason = rule.get("reason")
        if reason is not None and reason not in _REASONS:
            yield FieldError.unsupported(f"{where}.reason", reason, _REASONS)
        yield from _expressions(rule, where)


def _expressions(rule: Mapping[str, Any], where: str) -> Errors:
    optional = rule.get("optionalOldSelf", False)
    for name, wanted in (("rule", "BOOL"), ("messageExpression", "STRING")):
        text = rule.get(name, "").strip()
        if text:
            try:
                rules.compiled(rule[name], optional_old=optional, wanted=wanted)
            except rules.BadRule as error:
                yield FieldError.invalid(f"{where}.{name}", rule[name], str(error))


def _logical(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name in ("allOf", "anyOf", "oneOf"):
        for i, inner in enumerate(schema.get(name, ())):
            yield f"{path}.{name}[{i}]", inner
    if "not" in schema:
        yield f"{path}.not", schema["not"]


def _in_logic(schema: Schema, beside: Schema | None, path: str, depth: int) -> Errors:
    """A schema within `allOf` and the like: it adds conditions to what stands `beside` it, and defines nothing."""
    if depth > DEPTH_MAX:
        yield FieldError.forbidden(path, f"schemas may have at most {DEPTH_MAX} levels")
        return
    either = beside is not None and beside.get("x-kubernetes-int-or-string") and schema in _INT_OR_STRING
    for name in () if either else _NOT_IN_LOGIC:
        if schema.get(name):
            yield FieldError.forbidden(f"{path}.{name}", "must be empty to be structural")
    yield from _patterns(schema, path)
    for name, inner in schema.get("properties", {}).items():
        counterpart = None if beside is None else beside.get("properties", {}).get(name)
        where = f"{path}.properties[{name}]"
        if counterpart is None and beside is not None and not isinstance(beside.get("additionalProperties"), Mapping):
            yield FieldError.required(where, f"because it is defined in {path}")
        yield from _in_logic(inner, counterpart, where, depth + 1)
    if isinstance(schema.get("items"), Mapping):
        items = None if beside is None else beside.get("items")
        yield from _in_logic(schema["items"], items, f"{path}.items", depth + 1)
    for where, inner in _logical(schema, path):
        yield from _in_logic(inner, beside, where, depth + 1)


def _defaults(schema: Schema, path: str) -> Errors:
    """Defaults obey the schema that they stand in."""
    if "default" in schema:
        node, value = structural.compiled(schema), schema["default"]
        unknown: list[str] = []
        structural.pruned(value, node, "", unknown)
        where = f"{path}.default"
        if unknown:
            yield FieldError.invalid(where, value, f"must not have unknown fields: {', '.join(unknown)}")
        else:
            yield from structural_rules.judged(structural.filled(value, node), node, where)
    for name, inner in schema.get("properties", {}).items():
        yield from _defaults(inner, f"{path}.properties[{name}]")
    for name in ("additionalProperties", "items"):
        if isinstance(schema.get(name), Mapping):
            yield from _defaults(schema[name], f"{path}.{name}")
