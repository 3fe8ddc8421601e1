"""The schema of a custom resource, ready to be applied to values: unknown fields, defaults, nulls.

A `Node` is made once from the JSON of an OpenAPI schema that obeys the structural rules (see `validate_schema`).
Whether a value is as it should be is for `structural_rules` to say.

Source of the rules: Kubernetes' documentation of CustomResourceDefinitions, on structural schemas, pruning, defaulting
and nullable fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgspec

UNSET: Any = object()
"""There is no value; None is the value null."""
_EMBEDDED = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule in the Common Expression Language."""

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What is said of one value."""

    source: Mapping[str, Any] = field(default_factory=dict)
    """The JSON that the node was made of."""
    type: str = ""
    properties: Mapping[str, Node] = field(default_factory=dict)
    additional: Node | bool | None = None
    """What other fields of an object look like, or whether there may be any."""
    items: Node | None = None
    default: Any = UNSET
    nullable: bool = False
    preserve: bool = False
    """Unknown fields are kept."""
    embedded: bool = False
    int_or_string: bool = False
    list_type: str = ""
    map_keys: tuple[str, ...] = ()
    pattern: Any = None
    """The compiled regular expression, whose time is linear in the length of a text."""
    all_of: tuple[Node, ...] = ()
    any_of: tuple[Node, ...] = ()
    one_of: tuple[Node, ...] = ()
    not_: Node | None = None
    rules: tuple[Rule, ...] = ()
    has_defaults: bool = False
    """A default stands here or below."""
    has_rules: bool = False
    """A rule stands here or below."""


def compiled(schema: Mapping[str, Any]) -> Node:
    """The node of an OpenAPI schema's JSON. Raises ValueError for a pattern that is none."""
    properties = {name: compiled(inner) for name, inner in schema.get("properties", {}).items()}
    additional = schema.get("additionalProperties")
    items = schema.get("items")
    other = compiled(additional) if isinstance(additional, Mapping) else additional
    item = compiled(items) if isinstance(items, Mapping) else None
    below = [*properties.values(), *(node for node in (other, item) if isinstance(node, Node))]
    return Node(
        source=schema,
        type=schema.get("type", ""),
        properties=properties,
        additional=other,
        items=item,
        default=schema.get("default", UNSET),
        nullable=schema.get("nullable", False),
        preserve=schema.get("x-kubernetes-preserve-unknown-fields", False),
        embedded=schema.get("x-kubernetes-embedded-resource", False),
        int_or_string=schema.get("x-kubernetes-int-or-string", False),
        list_type=schema.get("x-kubernetes-list-type", ""),
        map_keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
        pattern=expression(schema["pattern"]) if schema.get("pattern") else None,
        all_of=tuple(map(compiled, schema.get("allOf", ()))),
        any_of=tuple(map(compiled, schema.get("anyOf", ()))),
        one_of=tuple(map(compiled, schema.get("oneOf", ()))),
        not_=compiled(schema["not"]) if "not" in schema else None,
        rules=tuple(map(_rule, schema.get("x-kubernetes-validations", ()))),
        has_defaults="default" in schema or any(node.has_defaults for node in below),
        has_rules=bool(schema.get("x-kubernetes-validations")) or any(node.has_rules for node in below),
    )


def identity(item: Any, node: Node, place: int) -> str:
    """What tells an item of a list apart from the others: its keys, itself, or its place."""
    if node.list_type == "map" and isinstance(item, Mapping):
        return msgspec.json.encode([item.get(key) for key in node.map_keys]).decode()
    return msgspec.json.encode(item).decode() if node.list_type == "set" else str(place)


def by_identity(items: Any, node: Node) -> dict[str, Any]:
    """The items of a list by what tells them apart; none of what is no list."""
    return {identity(item, node, i): item for i, item in enumerate(items)} if isinstance(items, list) else {}


@lru_cache(maxsize=1024)
def expression(text: str) -> Any:
    """The compiled regular expression, in Go's dialect. Raises ValueError, saying what is wrong with it."""
    # Not before somebody has a pattern: it is a large library.
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options=options)
    except re2.error as error:
        why = error.args[0]
        raise ValueError(why.decode() if isinstance(why, bytes) else str(why)) from error


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule(
        rule["rule"],
        rule.get("message", ""),
        rule.get("messageExpression", ""),
        rule.get("reason", ""),
        rule.get("fieldPath", ""),
        rule.get("optionalOldSelf", False),
    )


def pruned(value: Any, node: Node, path: str = "", unknown: list[str] | None = None) -> Any:
    """The value without the fields that the schema does not know; their paths are added to `unknown`.

    Unchanged parts are shared with the value.
    """
    if isinstance(value, list):
        if node.items is None:
            return value
        items = [pruned(item, node.items, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    changed = False
    for name, item in value.items():
        where = f"{path}.{name}" if path else name
        inner = _inner(node, name)
        if inner is False:
            changed = True
            if unknown is not None:
                unknown.append(where)
            continue
        result[name] = pruned(item, inner, where, unknown) if isinstance(inner, Node) else item
        changed = changed or result[name] is not item
    return result if changed else value


def _inner(node: Node, name: str) -> Node | bool:
    """What is said of a field: its node, True for one of which nothing is said, False for one that is unknown."""
    if name in node.properties:
        return node.properties[name]
    if isinstance(node.additional, Node):
        return node.additional
    return bool(node.additional) or node.preserve or (node.embedded and name in _EMBEDDED)


def filled(value: Any, node: Node) -> Any:
    """The value with its defaults, and without the nulls of fields that may not be null; unchanged parts are shared.

    Names stand in order where something is filled in, so that equal values have equal texts.
    """
    if isinstance(value, list) and node.items is not None:
        items = [filled(_instead(item, node.items, keep=True), node.items) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for name, inner in node.properties.items():
        _fill(result, name, inner)
    if isinstance(node.additional, Node):
        for name in value:
            if name not in node.properties:
                _fill(result, name, node.additional)
    same = len(result) == len(value) and all(result[name] is value.get(name, UNSET) for name in result)
    return value if same else {name: result[name] for name in sorted(result)}


def _fill(fields: dict[str, Any], name: str, node: Node) -> None:
    item = _instead(fields.get(name, UNSET), node, keep=False)
    if item is UNSET:
        fields.pop(name, None)
    else:
        fields[name] = filled(item, node)


def _instead(item: Any, node: Node, *, keep: bool) -> Any:
    """What stands for a value that is missing, or null where it may not be; `keep`: nothing can be left out here."""
    if item is UNSET:
        return node.default
    if item is None and not node.nullable and (node.type or node.int_or_string):
        return item if keep and node.default is UNSET else node.default
    return item


def root(schema: Mapping[str, Any]) -> Node:
    """The node of a whole object, in which the names that every object has are known. Raises ValueError."""
    node = compiled(schema)
    known: dict[str, Node] = {**node.properties, **dict.fromkeys(_EMBEDDED, _KNOWN)}
    return replace(node, properties=known)


_KNOWN = Node(preserve=True)
