"""Sets of paths of fields, in the form in which objects carry them (`FieldsV1`).

A set is a tree of steps: `f:NAME` into a field or a key of a map, `k:{KEYS}` to the item of a list that has these
keys, `v:VALUE` to the item of a set, `i:N` to the item at an index. A node that is empty, or has the step `.`, is a
member of the set; all other nodes only lead to members. So the tree *is* the JSON text, decoded.

No function changes its arguments, and each gives back an argument itself where nothing changes. That makes "did this
change anything" a question of identity, and lets trees be shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

Node = dict[str, Any]
"""A node of a tree; `Any` stands for `Node`. The root is no member, so an empty root is the empty set."""

LEAF: Node = {}
"""The node of a member with nothing below it. Never change it."""
SELF = "."
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder()
_CACHED = 2048
"""Decoded sets that are remembered; the objects of one owner have mostly the same."""


class BadFields(ValueError):
    """A text is no set of fields."""


def field(name: str) -> str:
    """The step to a field, or to a key of a map."""
    return f"f:{name}"


def item(keys: dict[str, Any]) -> str:
    """The step to the item of a list that has these keys; they are given in order."""
    return f"k:{{{','.join([_keyed(name, key) for name, key in keys.items()])}}}"


@lru_cache(maxsize=_CACHED, typed=True)
def item_with(name: str, key: Any) -> str:
    """The step to the item of a list that has this one key; mostly one that was asked for before."""
    return item({name: key})


def value(scalar: Any) -> str:
    """The step to the item of a set."""
    return f"v:{_json(scalar)}"


@lru_cache(maxsize=_CACHED, typed=True)
def _keyed(name: str, key: Any) -> str:
    """One key of an item. The same few (types of conditions, names of containers, ports) are asked for all the time."""
    return f"{_json(name)}:{_json(key)}"


def _json(scalar: Any) -> str:
    return _ENCODER.encode(scalar).decode()


def is_member(node: Node) -> bool:
    """Whether a node is in the set itself."""
    return not node or SELF in node


def text(fields: Node) -> bytes:
    """The set as JSON; equal sets have equal texts."""
    return _ENCODER.encode(fields)


@lru_cache(maxsize=_CACHED)
def known(data: bytes) -> Node:
    """The set in a text that `text` made; it is shared, so nobody may change it. Nothing gives the empty set."""
    fields: Node = _DECODER.decode(data) if data else LEAF
    return fields


def parse(data: bytes) -> Node:
    """The set in a text that a client sent, in canonical form. Raises BadFields."""
    try:
        found = _DECODER.decode(data)
        return _canonical(found, top=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFields(f"not a set of fields: {error}") from error


def _canonical(node: Any, *, top: bool = False) -> Node:
    if not isinstance(node, dict):
        raise BadFields(f"a set of fields is made of objects, not of {msgspec.json.encode(node).decode()}")
    result: Node = {}
    for step, below in node.items():
        if step != SELF:
            result[_step(step)] = _canonical(below)
        elif not top:
            result[SELF] = LEAF
    return LEAF if list(result) == [SELF] else result


def _step(step: str) -> str:
    kind, colon, rest = step.partition(":")
    if not colon or kind not in "fkvi" or not kind:
        raise BadFields(f"{step!r} is no step of a path; steps begin with f:, k:, v: or i:")
    if kind == "f":
        return step
    said = _DECODER.decode(rest.encode())
    if kind == "k" and not (isinstance(said, dict) and said):
        raise BadFields(f"{step!r}: the keys of an item are an object")
    if kind == "i" and type(said) is not int:
        raise BadFields(f"{step!r}: an index is a whole number")
    return f"{kind}:{_ENCODER.encode(said).decode()}"


# Sets as sets


def union(left: Node, right: Node) -> Node:
    """What is in one or the other."""
    result = left
    for step, below in right.items():
        have = left.get(step)
        both = below if have is None else _union(have, below)
        if both is not have:
            result = _copied(result, left)
            result[step] = both
    return result


def _union(left: Node, right: Node) -> Node:
    if left is right:
        return left
    if not left:
        return left if not right else {SELF: LEAF, **right}
    if not right:
        return left if SELF in left else {SELF: LEAF, **left}
    return union(left, right)


def difference(left: Node, right: Node) -> Node:
    """What is in the first and not in the second; what lies below a removed member stays."""
    result = left
    for step, below in right.items():
        have = left.get(step)
        if have is None or step == SELF:
            continue
        rest = _difference(have, below)
        if rest is have:
            continue
        result = _copied(result, left)
        if rest is None:
            del result[step]
        else:
            result[step] = rest
    return result


def _difference(left: Node, right: Node) -> Node | None:
    rest = difference(left, right) if left else left
    if not is_member(left):
        return rest or None
    if is_member(right):
        return {step: below for step, below in rest.items() if step != SELF} or None
    return LEAF if rest is not left and list(rest) == [SELF] else rest


def intersection(left: Node, right: Node) -> Node:
    """What is in both."""
    result: Node = {}
    for step, below in right.items():
        have = left.get(step)
        if have is None or step == SELF:
            continue
        both = _intersection(have, below)
        if both is not None:
            result[step] = both
    return result


def _intersection(left: Node, right: Node) -> Node | None:
    both = intersection(left, right)
    if is_member(left) and is_member(right):
        return {SELF: LEAF, **both} if both else LEAF
    return both or None


def _copied(result: Node, original: Node) -> Node:
    return dict(original) if result is original else result


# Paths


def paths(fields: Node, prefix: str = "") -> Iterator[str]:
    """The members as people read them, in order: `.spec.containers[name="web"].image`."""
    for step in sorted(fields):
        if step == SELF:
            continue
        path = prefix + _shown(step)
        if is_member(fields[step]):
            yield path
        yield from paths(fields[step], path)


def _shown(step: str) -> str:
    kind, _, rest = step.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "v":
        return f"[={rest}]"
    if kind == "i":
        return f"[{rest}]"
    keys = _DECODER.decode(rest.encode())
    return f"[{','.join(f'{name}={_ENCODER.encode(keys[name]).decode()}' for name in sorted(keys))}]"


def shown_keys(step: str) -> str:
    """A step to an item as messages name it: `[name="web"]`."""
    return _shown(step)
