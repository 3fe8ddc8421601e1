"""Managed fields of objects: from what they are to what the rest of this package works on, as little as needed.

A write of an object costs a look at what it changes, not at all that there is, and makes no JSON (`structs`). Of
users' kinds only the metadata is a struct; the rest is JSON as it is.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from msgspec.structs import replace

from mizzen.api import codec, schema, structural
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.kinds import Kind, Object
from mizzen.api.managed import entries, sets, structs, structural_shapes, values
from mizzen.api.managed.entries import Entries, Writer
from mizzen.api.managed.shapes import Shape, of_message
from mizzen.api.managed.values import Difference, Json

T = TypeVar("T", bound=Object)


def shape_of(kind: Kind[Any]) -> Shape:
    """The shape of the objects of a kind, for users' kinds in a served version."""
    return (
        structural_shapes.of_kind(kind) if isinstance(kind, CustomKind) else of_message(codec.message_name(kind.type))
    )


def with_entries(obj: T, managed: Entries) -> T:
    """The object with these entries."""
    metadata = obj.metadata
    if metadata.managed_fields == managed:
        return obj
    changed: T = replace(obj, metadata=replace(metadata, managed_fields=managed))  # type: ignore[type-var]
    return changed


def created(obj: Any, writer: Writer, time: str, *, without: tuple[str, ...] = ()) -> Entries:
    """The entries of a new object of a built-in kind; the writer owns what it holds, but for the fields `without`."""
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


def created_custom(obj: Custom, kind: CustomKind, writer: Writer, time: str) -> Entries:
    """The entries of a new object of a user's kind; the writer owns all that it holds."""
    return entries.updated((), _compare_custom(Custom(of=obj.of), obj, kind), writer, time)


def updated_custom(old: Custom, new: Custom, kind: CustomKind, writer: Writer, time: str) -> Entries:
    """As `updated`, for an object of a user's kind that is written in the version `kind`.

    Defaults that its schema has got since the object was stored are nobody's doing.
    """
    managed: Entries = new.metadata.managed_fields
    if not managed:
        return managed
    before = replace(old, content=structural.filled(old.content, kind.schema))
    return entries.updated(managed, _compare_custom(before, new, kind), writer, time)


def _compare_custom(old: Custom, new: Custom, kind: CustomKind) -> Difference:
    difference = values.compare(dict(old.content), dict(new.content), shape_of(kind))
    metadata = structs.compare(old.metadata, new.metadata)
    step = sets.field("metadata")
    if metadata.changed:
        difference.changed[step] = metadata.changed
    if metadata.removed:
        difference.removed[step] = metadata.removed
    return difference


def first_account(live: Json, kind: Kind[Any], time: str) -> Entries:
    """The entries of an object that has none, for its first apply: all that it holds is somebody's."""
    writer = Writer(entries.BEFORE_FIRST_APPLY, kind.api_version)
    type_: Any = kind.type
    nothing = Custom(of=kind) if isinstance(kind, CustomKind) else _nothing(type_)
    difference = values.compare(codec.to_dict(nothing), live, shape_of(kind))
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
