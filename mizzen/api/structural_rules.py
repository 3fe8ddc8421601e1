"""What is wrong with the values of a custom resource, by its schema, in Kubernetes' words.

An update is lenient about what it leaves as it was: a value that equals the one it replaces is not judged again, so
that an object that became wrong by a change of its schema can still be changed elsewhere (Kubernetes' *ratcheting*).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mizzen.api import json_values, rules, structural, structural_formats
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.errors import FieldError, quoted
from mizzen.api.structural import UNSET, Node

Errors = Iterator[FieldError]

ERRORS_MAX = 100
"""Errors of one object that are told."""
_TYPES: dict[type[Any], str] = {
    str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array", type(None): "null",
}  # fmt: skip


def problems(kind: CustomKind, obj: Custom, old: Custom | None) -> list[FieldError]:
    """What is wrong with an object; `old` is the one that it replaces."""
    before = UNSET if old is None else old.content
    value = {**_identity(kind, obj), **obj.content}
    found: list[FieldError] = []
    for error in _judged(value, kind.schema, "", before):
        found.append(error)
        if len(found) == ERRORS_MAX:
            break
    # Rules may rely on the schema, so they are asked only where it is obeyed.
    return found or list(
        rules.judged(value, kind.schema, UNSET if old is None else {**_identity(kind, old), **old.content})
    )


def judged(value: Any, node: Node, path: str) -> Errors:
    """What is wrong with a value that stands alone, such as a default."""
    return _judged(value, node, path, UNSET)


def _identity(kind: CustomKind, obj: Custom) -> dict[str, Any]:
    """What schemas may speak of beside the content."""
    metadata = {"name": obj.metadata.name, "generateName": obj.metadata.generate_name}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _judged(value: Any, node: Node, path: str, old: Any) -> Errors:
    if old is not UNSET and path and json_values.same(value, old):
        return
    if value is None and (node.nullable or not (node.type or node.int_or_string)):
        return
    wrong = list(_type(value, node, path))
    if wrong:
        yield from wrong
        return
    yield from _scalars(value, node, path)
    if isinstance(value, Mapping):
        yield from _object(value, node, path, old)
    elif isinstance(value, list):
        yield from _list(value, node, path, old)
    yield from _logic(value, node, path)


def _type(value: Any, node: Node, path: str) -> Errors:
    given = _TYPES.get(type(value), "object")
    if node.int_or_string:
        if given not in ("integer", "string"):
            yield _in_body(path, given, f'must be of type integer,string: "{given}"')
        return
    wanted = node.type
    if not wanted or given == wanted or (wanted == "number" and given == "integer"):
        return
    yield _in_body(path, given, f'must be of type {wanted}: "{given}"')


def _in_body(path: str, value: Any, why: str) -> FieldError:
    return FieldError(
        "FieldValueTypeInvalid" if "of type" in why else "FieldValueInvalid", path, value, f"{path} in body {why}"
    )


def _scalars(value: Any, node: Node, path: str) -> Errors:
    source = node.source
    allowed = source.get("enum")
    if allowed is not None and not any(json_values.same(value, one) for one in allowed):
        names = ", ".join(quoted(one if isinstance(one, str) else _json(one)) for one in allowed)
        yield FieldError("FieldValueNotSupported", path, value, f"supported values: {names}")
    if isinstance(value, str):
        yield from _text(value, node, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, source, path)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(value: str, node: Node, path: str) -> Errors:
    source = node.source
    if (most := source.get("maxLength")) is not None and len(value) > most:
        yield FieldError.too_long(path, most)
    if (least := source.get("minLength")) is not None and len(value) < least:
        yield _in_body(path, value, f"should be at least {least} chars long")
    if node.pattern is not None and not node.pattern.search(value):
        yield _in_body(path, value, f"should match '{source['pattern']}'")
    form = source.get("format", "")
    if form and not structural_formats.fits(form, value):
        yield _in_body(path, value, f"must be of type {form}: {quoted(value)}")


def _number(value: float, source: Mapping[str, Any], path: str) -> Errors:
    most, least, step = source.get("maximum"), source.get("minimum"), source.get("multipleOf")
    if most is not None and (value > most or (value == most and source.get("exclusiveMaximum"))):
        words = "less than" if source.get("exclusiveMaximum") else "less than or equal to"
        yield _in_body(path, value, f"should be {words} {_json(most)}")
    if least is not None and (value < least or (value == least and source.get("exclusiveMinimum"))):
        words = "greater than" if source.get("exclusiveMinimum") else "greater than or equal to"
        yield _in_body(path, value, f"should be {words} {_json(least)}")
    if step and not float(value / step).is_integer():
        yield _in_body(path, value, f"should be a multiple of {_json(step)}")


def _object(value: Mapping[str, Any], node: Node, path: str, old: Any) -> Errors:
    source = node.source
    for name in source.get("required", ()):
        if name not in value:
            yield FieldError.required(_below(path, name))
    if (most := source.get("maxProperties")) is not None and len(value) > most:
        yield FieldError.too_many(path, len(value), most)
    if (least := source.get("minProperties")) is not None and len(value) < least:
        yield _in_body(path, value, f"should have at least {least} properties")
    if node.embedded:
        yield from _embedded(value, path)
    before = old if isinstance(old, Mapping) else {}
    for name, item in value.items():
        inner = node.properties.get(name, node.additional)
        if isinstance(inner, Node):
            yield from _judged(item, inner, _below(path, name), before.get(name, UNSET))


def _embedded(value: Mapping[str, Any], path: str) -> Errors:
    """An object within an object says what it is."""
    for name in ("apiVersion", "kind"):
        given = value.get(name)
        if given is None or given == "":
            yield FieldError.required(_below(path, name), "must not be empty")
        elif not isinstance(given, str):
            where = _below(path, name)
            yield _in_body(where, _TYPES.get(type(given), "object"), f'must be of type string: "{_TYPES[type(given)]}"')


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list(value: list[Any], node: Node, path: str, old: Any) -> Errors:
    source = node.source
    if (most := source.get("maxItems")) is not None and len(value) > most:
        yield FieldError.too_many(path, len(value), most)
    if (least := source.get("minItems")) is not None and len(value) < least:
        yield _in_body(path, value, f"should have at least {least} items")
    if node.items is not None:
        before = structural.by_identity(old, node)
        for i, item in enumerate(value):
            counterpart = before.get(structural.identity(item, node, i), UNSET)
            yield from _judged(item, node.items, f"{path}[{i}]", counterpart)
    if node.list_type in ("set", "map"):
        yield from _repeated(value, node, path)


def _repeated(value: list[Any], node: Node, path: str) -> Errors:
    seen: set[str] = set()
    for i, item in enumerate(value):
        name = structural.identity(item, node, i)
        if name in seen:
            keys = {key: item[key] for key in node.map_keys if key in item} if isinstance(item, Mapping) else item
            yield FieldError.duplicate(f"{path}[{i}]", keys if node.list_type == "map" else item)
        seen.add(name)


def _logic(value: Any, node: Node, path: str) -> Errors:
    """The schemas that are combined: each judges the same value."""
    for inner in node.all_of:
        yield from _judged(value, inner, path, UNSET)
    if node.any_of and not any(_holds(value, inner, path) for inner in node.any_of):
        yield FieldError.invalid(path, "", f"{quoted(path)} must validate at least one schema (anyOf)")
        yield from _judged(value, node.any_of[0], path, UNSET)
    if node.one_of:
        count = sum(_holds(value, inner, path) for inner in node.one_of)
        found = "Found none valid" if not count else f"Found {count} valid alternatives"
        if count != 1:
            why = f"{quoted(path)} must validate one and only one schema (oneOf). {found}"
            yield FieldError.invalid(path, "", why)
        if not count:
            yield from _judged(value, node.one_of[0], path, UNSET)
    if node.not_ is not None and _holds(value, node.not_, path):
        yield FieldError.invalid(path, "", f"{quoted(path)} must not validate the schema (not)")


def _holds(value: Any, node: Node, path: str) -> bool:
    return next(_judged(value, node, path, UNSET), None) is None
