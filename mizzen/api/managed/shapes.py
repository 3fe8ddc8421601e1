"""What applying needs to know of a type: the one schema abstraction under field sets and merges.

Built-in kinds get their shapes from the schema tables (`of_message`). A value of which nothing is known has the shape
`ANY`, which goes by the value itself. Whoever has schemas of another origin implements `Shape`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Protocol

from mizzen.api import quantity, schema, times

Form = Literal["scalar", "struct", "map", "list", "any"]
Keys = tuple[tuple[str, Any], ...]


class Shape(Protocol):
    """How the values of one type merge."""

    @property
    def form(self) -> Form:
        """`struct` has named fields, `map` any keys; `any` is whatever the value is."""
        ...

    @property
    def atomic(self) -> bool:
        """The value belongs to one manager as a whole. Scalars always do."""
        ...

    @property
    def keys(self) -> Keys:
        """For a list that is not atomic: the fields that identify an item, by name, and what they are when left out.

        None where they have no default; no keys at all: the list is a set of scalars.
        """
        ...

    @property
    def item(self) -> Shape:
        """The shape of a list's items."""
        ...

    def child(self, name: str) -> Shape | None:
        """The shape of a field, or of a map's values; None for a field that the type does not have."""
        ...

    def named(self, name: str) -> bool:
        """Whether a name is that of a field, not of a key that somebody made up."""
        ...

    def canonical(self, value: Any) -> Any:
        """A scalar as it is stored (`1000m` is `1`); what can't be one stays as it is, for the decoder to refuse."""
        ...


class AnyValue:
    """Maps merge by key, lists are atomic: what can be known from a value alone."""

    form: Form = "any"
    atomic = False
    keys: Keys = ()

    @property
    def item(self) -> Shape:
        return self

    def child(self, name: str) -> Shape | None:
        return self

    def named(self, name: str) -> bool:
        return False

    def canonical(self, value: Any) -> Any:
        return value


class _Scalar(AnyValue):
    """One value, or a bigger one that is never looked into."""

    form: Form = "scalar"
    atomic = True

    def __init__(self, canonical: Callable[[Any], Any] | None) -> None:
        self._canonical = canonical

    def canonical(self, value: Any) -> Any:
        return value if self._canonical is None else self._canonical(value)


class _Struct(AnyValue):
    """A message. Its fields are looked up when they are asked for, because messages may contain themselves."""

    form: Form = "struct"

    def __init__(self, message: schema.MessageSchema, *, atomic: bool) -> None:
        self.atomic = atomic
        self._message = message
        self._fields: dict[str, Shape] = {}

    def child(self, name: str) -> Shape | None:
        if not self._fields:
            self._fields = {one.json_name: _of_field(one) for one in self._message.fields}
            if self._message.kind:
                self._fields |= {"apiVersion": PLAIN, "kind": PLAIN}
        return self._fields.get(name)

    def named(self, name: str) -> bool:
        return self.child(name) is not None


class Collection(AnyValue):
    """A map or a list."""

    def __init__(self, form: Form, inner: Shape, *, atomic: bool, keys: Keys = ()) -> None:
        self.form = form
        self.atomic = atomic
        self.keys = keys
        self._inner = inner

    @property
    def item(self) -> Shape:
        return self._inner

    def child(self, name: str) -> Shape | None:
        return self._inner


ANY: Shape = AnyValue()
PLAIN: Shape = _Scalar(None)


@cache
def of_message(name: str, *, granular: bool = False) -> Shape:
    """The shape of a message such as `core_v1.Pod`; `granular` for a use of it that is not atomic although it is."""
    message = schema.message(name)
    return _Struct(message, atomic=message.struct_type == "atomic" and not granular)


def _of_field(field: schema.Field) -> Shape:
    if field.type == "message":
        inner = of_message(field.message, granular=field.map_type == "granular")
    else:
        inner = _SCALARS.get(field.type, PLAIN)
    if field.cardinality == "map":
        return Collection("map", inner, atomic=field.map_type == "atomic")
    if field.cardinality == "list":
        atomic = field.list_type not in ("set", "map")
        return Collection("list", inner, atomic=atomic, keys=() if atomic else _keys(field))
    return inner


def _keys(field: schema.Field) -> Keys:
    fields = schema.message(field.message).by_json_name if field.map_keys else {}
    return tuple((name, _default(fields[name])) for name in sorted(field.map_keys))


def _default(field: schema.Field) -> Any:
    return json.loads(field.default_json) if field.default_json else None


def _quantity(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return quantity.canonical(value.strip() if isinstance(value, str) else str(value))
    except quantity.QuantityError:
        return value


def _time(canonical: Callable[[str], str]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return canonical(value) if isinstance(value, str) else value
        except times.TimeError:
            return value

    return read


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


WHOLE: Shape = _Scalar(_whole)
_SCALARS: dict[str, Shape] = {
    "Quantity": _Scalar(_quantity),
    "Time": _Scalar(_time(times.canonical)),
    "MicroTime": _Scalar(_time(times.canonical_micro)),
    "int32": WHOLE,
    "int64": WHOLE,
    "IntOrString": WHOLE,
}
