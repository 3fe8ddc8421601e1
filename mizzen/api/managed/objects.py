"""Managed fields of built-in objects: from structs to what the rest of this package works on, as little as needed.

A write of an object costs a look at what it changes, not at all that there is, and makes no JSON (`structs`).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from msgspec.structs import replace

from mizzen.api import codec, schema
from mizzen.api.kinds import Object
from mizzen.api.managed import entries, sets, structs, values
from mizzen.api.managed.entries import Entries, Writer
from mizzen.api.managed.shapes import Shape, of_message
from mizzen.api.managed.values import Json

T = TypeVar("T", bound=Object)


def shape_of(type_: type[Any]) -> Shape:
    """The shape of a built-in type."""
    return of_message(codec.message_name(type_))


def with_entries(obj: T, managed: Entries) -> T:
    """The object with these entries."""
    metadata = obj.metadata
    if metadata.managed_fields == managed:
        return obj
    changed: T = replace(obj, metadata=replace(metadata, managed_fields=managed))  # type: ignore[type-var]
    return changed


def created(obj: Any, writer: Writer, time: str, *, without: tuple[str, ...] = ()) -> Entries:
    """The entries of a new object; the writer owns what it holds, but for the fields `without`."""
    type_: Any = type(obj)
    difference = structs.of_new(obj, _nothing(type_))
    for name in without:
        difference.changed.pop(sets.field(name), None)
    return entries.updated((), difference, writer, time)


def updated(old: Any, new: Any, writer: Writer, time: str) -> Entries:
    """The entries of `new`, which is what a writer has made of `old`.

    They begin with those of the new object, which may have come with it. An object without entries stays so: nobody
    has kept account from its beginning, and half of it would be wrong.
    """
    managed: Entries = new.metadata.managed_fields
    return entries.updated(managed, structs.compare(old, new), writer, time) if managed else managed


def first_account(live: Json, type_: Any, api_version: str, time: str) -> Entries:
    """The entries of an object that has none, for its first apply: all that it holds is somebody's."""
    writer = Writer(entries.BEFORE_FIRST_APPLY, api_version)
    difference = values.compare(codec.to_dict(_nothing(type_)), live, shape_of(type_))
    return entries.updated((), difference, writer, time)


def configuration_of(obj: Any) -> Json:
    """An object as a configuration to apply: without what is only printed because it always is, though it is empty."""
    return _set_in(codec.to_dict(obj), schema.message(codec.message_name(type(obj))))


def _set_in(value: Json, message: schema.MessageSchema) -> Json:
    result: Json = {}
    for name, inner in value.items():
        field = message.by_json_name.get(name)
        if field is not None and field.type == "message":
            below = schema.message(field.message)
            if isinstance(inner, list):
                inner = [_set_in(item, below) for item in inner]
            elif field.cardinality == "map":
                inner = {key: _set_in(item, below) for key, item in inner.items()}
            elif inner is not None:
                inner = _set_in(inner, below)
        if inner or field is None or field.pointer:
            result[name] = inner
    return {name: inner for name, inner in result.items() if inner is not None}


def owns(obj: Any, path: sets.Node) -> Entries:
    """The entries of an object that own something in a set."""
    managed: Entries = obj.metadata.managed_fields
    return tuple(entry for entry in managed if sets.intersection(entries.fields_in(entry), path))


@cache
def _nothing(type_: Any) -> Any:
    """An object in which nothing is set."""
    return type_()
