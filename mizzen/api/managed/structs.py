"""How one struct became another: what `values.compare` finds in their JSON, without making JSON.

Every write needs this, so it is compiled: each message has a table of what its fields are to merging, and equal parts
of the two are passed over without a look inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec

from mizzen.api import codec, schema
from mizzen.api.managed import sets
from mizzen.api.managed.sets import LEAF, SELF, Node
from mizzen.api.managed.shapes import Shape, of_message
from mizzen.api.managed.values import Difference, container
from mizzen.api.message import Message

Step = Callable[[Any], str]
_ALWAYS = object()
"""The default of a field that is always printed, so that no value is left out."""
_UNTOLD = sets.item({"": None})


class _Field:
    """One field of a message."""

    __slots__ = ("attr", "default", "kind", "step", "step_to")

    def __init__(self, attr: str, name: str, default: Any, shape: Shape) -> None:
        self.attr = attr
        self.step = sets.field(name)
        self.default = default
        """What is not printed."""
        self.kind = container(shape, None) if shape.form != "struct" or shape.atomic else "struct"
        self.step_to = _step_to(shape) if self.kind == "list" else None


class _Table:
    """The fields of a message, and how to get the values of all of them."""

    __slots__ = ("defaults", "fields", "values")

    def __init__(self, fields: tuple[_Field, ...]) -> None:
        self.fields = fields
        self.defaults = tuple(field.default for field in fields)
        get = attrgetter(*(field.attr for field in fields)) if fields else lambda value: ()
        self.values: Callable[[Any], tuple[Any, ...]] = get if len(fields) != 1 else lambda value: (get(value),)


def compare(old: Message, new: Message) -> Difference:
    """How a message became another of the same type."""
    difference = Difference({}, {})
    _compare(old, new, difference.changed, difference.removed)
    return difference


def everything(value: Any) -> Node:
    """The message and all that is in it."""
    result: Node = {SELF: LEAF}
    type_: Any = type(value)
    table = _table(type_)
    for inner, default, field in zip(table.values(value), table.defaults, table.fields, strict=True):
        if inner is default or inner == default:
            continue
        result[field.step] = LEAF if not field.kind or not inner else _all(inner, field)
    return result if len(result) > 1 else LEAF


def _all(value: Any, field: _Field) -> Node:
    """The node of a field that is not a leaf."""
    if field.kind == "struct":
        return everything(value)
    return {SELF: LEAF, **{step: _item(item) for step, item in _items(value, field).items()}}


def _item(value: Any) -> Node:
    return everything(value) if isinstance(value, Message) and not _is_atomic(type(value)) else LEAF


def _items(value: Any, field: _Field) -> dict[str, Any]:
    """What is in a map or list, by its step. Of items that have the same step, all are one."""
    if field.kind == "map":
        return {f"f:{name}": inner for name, inner in value.items()}
    found: dict[str, Any] = {}
    assert field.step_to is not None
    for item in value:
        step = field.step_to(item)
        before = found.get(step, found)
        if before is found:
            found[step] = item
        else:
            found[step] = [*before, item] if isinstance(before, list) else [before, item]
    return found


def _compare(old: Any, new: Any, changed: Node, removed: Node) -> None:
    type_: Any = type(new)
    table = _table(type_)
    for before, after, field in zip(table.values(old), table.values(new), table.fields, strict=True):
        if before is after or before == after:
            continue
        if not field.kind:
            (removed if after == field.default else changed)[field.step] = LEAF
        elif before == field.default:
            changed[field.step] = _all(after, field) if after else LEAF
        elif after == field.default:
            removed[field.step] = _all(before, field) if before else LEAF
        else:
            more: Node = {}
            less: Node = {}
            if field.kind == "struct":
                _compare(before, after, more, less)
            elif field.kind == "list":
                # What stands in both needs no step.
                gone = [item for item in before if item not in after]
                come = [item for item in after if item not in before]
                _compare_items(_items(gone, field), _items(come, field), more, less)
            else:
                _compare_items(_items(before, field), _items(after, field), more, less)
            if more:
                changed[field.step] = more
            if less:
                removed[field.step] = less


def _compare_items(old: dict[str, Any], new: dict[str, Any], changed: Node, removed: Node) -> None:
    for step, after in new.items():
        before = old.get(step, old)
        if before is old:
            changed[step] = _item(after)
        elif before == after:
            continue
        elif type(before) is type(after) and isinstance(after, Message) and not _is_atomic(type(after)):
            more: Node = {}
            less: Node = {}
            _compare(before, after, more, less)
            if more:
                changed[step] = more
            if less:
                removed[step] = less
        else:
            changed[step] = LEAF
    for step, before in old.items():
        if step not in new:
            removed[step] = _item(before)


@cache
def _table(type_: Any) -> _Table:
    message = schema.message(codec.message_name(type_))
    shape = of_message(message.name, granular=True)
    defaults = {info.name: _default(info) for info in msgspec.structs.fields(type_)}
    rows = []
    for field in message.fields:
        inner = shape.child(field.json_name)
        assert inner is not None
        rows.append(_Field(field.attr, field.json_name, defaults[field.attr], inner))
    return _Table(tuple(rows))


@cache
def _is_atomic(type_: Any) -> bool:
    return of_message(codec.message_name(type_)).atomic


def _default(info: msgspec.structs.FieldInfo) -> Any:
    """The value with which the field is not printed."""
    if info.default is not msgspec.NODEFAULT:
        return info.default
    return info.default_factory() if info.default_factory in (dict, list) else _ALWAYS


def _step_to(shape: Shape) -> Step:
    """How the items of a list are told from each other."""
    if not shape.keys:
        return sets.value
    keys = tuple((name, default) for name, default in shape.keys)

    def step(item: Any) -> str:
        found = {}
        type_: Any = type(item)
        for field in _keyed(type_, keys):
            value = getattr(item, field[0])
            value = field[2] if value == field[1] or value is None else value
            if value is None:
                return _UNTOLD
            found[field[3]] = value
        return sets.item(found)

    return step


@cache
def _keyed(type_: Any, keys: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any, Any, str], ...]:
    """For each key: the attribute, the value that is not printed, what it is then, and the key's name."""
    fields = schema.message(codec.message_name(type_)).by_json_name
    defaults = {info.name: _default(info) for info in msgspec.structs.fields(type_)}
    return tuple((fields[name].attr, defaults[fields[name].attr], default, name) for name, default in keys)
