"""How one struct became another: what `values.compare` finds in their JSON, without making JSON.

Every write needs this, so it is compiled: each message has a table of what its fields are to merging, and equal parts
of the two are passed over without a look inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
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


def of_new(obj: Message, nothing: Message) -> Difference:
    """How a new object differs from one of its type in which nothing is set.

    Most objects are one of many that are alike but for their metadata, so what is found in the rest is remembered.
    """
    difference = Difference({}, {})
    type_: Any = type(obj)
    table = _table(type_)
    for before, after, field in zip(table.values(nothing), table.values(obj), table.fields, strict=True):
        if before is after or before == after:
            continue
        if field.attr == "metadata" or field.kind != "struct" or not isinstance(before, Message):
            _compare_field(before, after, field, difference.changed, difference.removed)
        else:
            part: Any = type(after)
            if below := _remembered(part, codec.encode_json(after)):
                difference.changed[field.step] = below
    return difference


@lru_cache(maxsize=256)
def _remembered(type_: Any, text: bytes) -> Node:
    """What a part of a new object sets, known by its text."""
    return compare(type_(), codec.decode_stored(text, type_)).changed


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
        if before is not after and before != after:
            _compare_field(before, after, field, changed, removed)


def _compare_field(before: Any, after: Any, field: _Field, changed: Node, removed: Node) -> None:
    """Two values of a field that are not the same."""
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
    rows: dict[type[Any], tuple[_Key, ...]] = {}

    def step(item: Any) -> str:
        keys = rows.get(type(item)) or rows.setdefault(type(item), _keys_of(type(item), shape))
        if len(keys) == 1:
            value = keys[0].of(item)
            return _UNTOLD if value is None else sets.item_with(keys[0].name, value)
        found = {key.name: key.of(item) for key in keys}
        return _UNTOLD if None in found.values() else sets.item(found)

    return step


class _Key:
    """A field that tells items from each other."""

    __slots__ = ("default", "get", "name", "unset")

    def __init__(self, name: str, attr: str, unset: Any, default: Any) -> None:
        self.name = name
        self.get = attrgetter(attr)
        self.unset = unset
        """The value that is not printed, in whose place the default counts."""
        self.default = default

    def of(self, item: Any) -> Any:
        """The key of an item; None where it has none."""
        value = self.get(item)
        return self.default if value is None or value == self.unset else value


def _keys_of(type_: type[Any], shape: Shape) -> tuple[_Key, ...]:
    fields = schema.message(codec.message_name(type_)).by_json_name
    defaults = {info.name: _default(info) for info in msgspec.structs.fields(type_)}
    return tuple(_Key(name, fields[name].attr, defaults[fields[name].attr], default) for name, default in shape.keys)
