"""Reads untyped JSON against the schema, with a reader compiled once per message.

A reader takes a JSON value and gives back one that a struct can be made of without further questions: nulls and
unknown names gone, scalars checked and canonical. It changes nothing in what it is given. It also keeps a *tally*, from
which `codec` sees whether names were unknown or repeated.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from mizzen.api import quantity, schema, times

Reader = Callable[[Any, "Tally"], Any]
Entry = tuple[type[Any] | None, Reader]
"""For one field: the type whose values are taken as they are, if any, and the reader for all others."""
Table = dict[str, Entry]

_JSON_TYPES: dict[type[Any], str] = {
    dict: "object",
    list: "array",
    tuple: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}
_SCHEMA = "apiextensions_v1.JSONSchemaProps"
_INT_BITS = {"int32": 31, "int64": 63}


class Tally:
    """What a reader saw on its way."""

    __slots__ = ("keys", "unknown")

    def __init__(self) -> None:
        self.keys = 0
        """Keys of all objects, each counted once per object."""
        self.unknown = 0
        """Keys that the schema does not have."""


class _Unknown:
    """Marks the entry of names that are not in a table; nothing is of this type."""


class Mismatch(ValueError):
    """A value cannot be what its field holds; `str()` says it as Go's JSON decoder does."""

    def __init__(self, what: str, *, plain: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.plain = plain
        self.struct = ""
        self.path: list[str] = []

    def __str__(self) -> str:
        field = ".".join(reversed(self.path))
        if self.plain:
            return f"{self.what} ({field})" if field else self.what
        given, _, wanted = self.what.partition(" into ")
        return f"json: cannot unmarshal {given} into Go struct field {self.struct}.{field} of type {wanted}"


def json_type(value: Any) -> str:
    """The name of a JSON value's type: `object`, `array`, `string`, `number`, `bool`."""
    return _JSON_TYPES.get(type(value), "null")


def message_reader(name: str) -> Reader:
    """The reader of one message, such as `core_v1.Pod`."""
    return _READERS.get(name) or _compiled(name)


def _compiled(name: str) -> Reader:
    message = schema.message(name)
    table: Table = {}
    reader = _fields_reader(table, name)
    # Known before its fields are, because messages may contain themselves.
    _READERS[name] = reader if not message.kind else _kind_reader(reader)
    table |= {field.json_name: _field_reader(field) for field in message.fields}
    if message.kind:
        table |= {"apiVersion": (str, _text), "kind": (str, _text)}
    return _READERS[name]


def _fields_reader(table: Table, name: str) -> Reader:
    struct = name.partition(".")[2]

    def read(value: Any, tally: Tally) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch(f"{json_type(value)} into v1.{struct}")
        tally.keys += len(value)
        out: dict[str, Any] = {}
        key = ""
        try:
            for key, item in value.items():
                plain, reader = table.get(key, _UNKNOWN)
                if type(item) is plain:
                    out[key] = item
                elif item is not None or plain is _Unknown:
                    out[key] = reader(item, tally)
        except Mismatch as error:
            error.path.append(key)
            error.struct = error.struct or struct
            raise
        return out

    return read


def _kind_reader(reader: Reader) -> Reader:
    """An empty apiVersion or kind says nothing, and the struct knows better."""

    def read(value: Any, tally: Tally) -> dict[str, Any]:
        out: dict[str, Any] = reader(value, tally)
        return {key: item for key, item in out.items() if item or key not in ("apiVersion", "kind")}

    return read


def _unknown(value: Any, tally: Tally) -> None:
    """The struct that is made of the result has no such field, so it may stay."""
    tally.unknown += 1


def _field_reader(field: schema.Field) -> Entry:
    """How a field's value is read."""
    plain, item = _item_reader(field)
    if field.cardinality == "one":
        return plain, item
    go_type = _go_type(field)
    if field.cardinality == "map":
        return None, _map_reader(item, _zero(field), f"map[string]{go_type}")
    if plain is str:
        return None, _string_list
    return None, _list_reader(item, _zero(field), f"[]{go_type}")


def _list_reader(item: Reader, zero: Any, go_type: str) -> Reader:
    def read(value: Any, tally: Tally) -> list[Any]:
        if type(value) is not list:
            raise Mismatch(f"{json_type(value)} into {go_type}")
        return [item(zero if element is None else element, tally) for element in value]

    return read


def _string_list(value: Any, tally: Tally) -> list[str]:
    if type(value) is not list:
        raise Mismatch(f"{json_type(value)} into []string")
    return [element if type(element) is str else _text("" if element is None else element, tally) for element in value]


def _map_reader(item: Reader, zero: Any, go_type: str) -> Reader:
    def read(value: Any, tally: Tally) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch(f"{json_type(value)} into {go_type}")
        tally.keys += len(value)
        out: dict[str, Any] = {}
        key = ""
        try:
            for key, element in value.items():
                out[key] = item(zero if element is None else element, tally)
        except Mismatch as error:
            if error.plain:
                error.path.append(key)
            raise
        return out

    return read


def _item_reader(field: schema.Field) -> Entry:
    """How one item of a field is read."""
    if field.type == "message":
        return None, message_reader(field.message)
    if field.type in _INT_BITS:
        return None, _int_reader(field.type)
    return _SCALARS[field.type]


def _int_reader(go_type: str) -> Reader:
    limit: int = 2 ** _INT_BITS[go_type]

    def read(value: Any, tally: Tally) -> int:
        number = value
        if type(value) is float and value.is_integer():
            number = int(value)
        if type(number) is not int:
            raise Mismatch(f"{_number(value)} into {go_type}")
        if not -limit <= number < limit:
            raise Mismatch(f"number {value} into {go_type}")
        return number

    return read


def _text(value: Any, tally: Tally) -> str:
    if type(value) is not str:
        raise Mismatch(f"{json_type(value)} into string")
    return value


def _bool(value: Any, tally: Tally) -> bool:
    if type(value) is not bool:
        raise Mismatch(f"{json_type(value)} into bool")
    return value


def _double(value: Any, tally: Tally) -> int | float:
    """A whole number stays one, because that is how it is printed."""
    if type(value) is float:
        return int(value) if value.is_integer() else value
    if type(value) is not int:
        raise Mismatch(f"{json_type(value)} into float64")
    return value


def _schema_or(other: type[Any], go_type: str) -> Reader:
    """Reads a JSON schema, or a value of another type in its place (a list stands for schemas, or for texts)."""

    def read(value: Any, tally: Tally) -> Any:
        if type(value) is dict:
            return message_reader(_SCHEMA)(value, tally)
        if type(value) is not other:
            raise Mismatch(f"{json_type(value)} into v1.{go_type}")
        if go_type == "JSONSchemaPropsOrStringArray":
            return _string_list(value, tally)
        return [message_reader(_SCHEMA)(item, tally) for item in value] if other is list else value

    return read


def _bytes(value: Any, tally: Tally) -> bytes:
    if type(value) is not str:
        raise Mismatch(f"{json_type(value)} into []uint8")
    try:
        return binascii.a2b_base64(value.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError as error:
        raise Mismatch(f"illegal base64 data: {error}", plain=True) from error


def _quantity(value: Any, tally: Tally) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Mismatch(f"{json_type(value)} into resource.Quantity")
    try:
        return quantity.canonical(value.strip() if isinstance(value, str) else str(value))
    except quantity.QuantityError as error:
        raise Mismatch(str(error), plain=True) from error


def _time_reader(canonical: Callable[[str], str]) -> Reader:
    def read(value: Any, tally: Tally) -> str:
        if type(value) is not str:
            raise Mismatch(f"{json_type(value)} into string")
        try:
            return canonical(value)
        except times.TimeError as error:
            raise Mismatch(str(error), plain=True) from error

    return read


def _anything(value: Any, tally: Tally) -> Any:
    _count(value, tally)
    return value


def _count(value: Any, tally: Tally) -> None:
    if isinstance(value, dict):
        tally.keys += len(value)
        for item in value.values():
            _count(item, tally)
    elif isinstance(value, list):
        for item in value:
            _count(item, tally)


_SCALARS: dict[str, Entry] = {
    "string": (str, _text),
    "bool": (bool, _bool),
    "double": (int, _double),
    "bytes": (None, _bytes),
    "Quantity": (None, _quantity),
    "Time": (None, _time_reader(times.canonical)),
    "MicroTime": (None, _time_reader(times.canonical_micro)),
    "Duration": (str, _text),
    "IntOrString": (str, _int_reader("int32")),
    "Verbs": (None, _string_list),
    "ExtraValue": (None, _string_list),
    "RawExtension": (None, _anything),
    "FieldsV1": (None, _anything),
    "JSON": (None, _anything),
    "JSONSchemaPropsOrArray": (None, _schema_or(list, "JSONSchemaPropsOrArray")),
    "JSONSchemaPropsOrBool": (None, _schema_or(bool, "JSONSchemaPropsOrBool")),
    "JSONSchemaPropsOrStringArray": (None, _schema_or(list, "JSONSchemaPropsOrStringArray")),
}
_READERS: dict[str, Reader] = {}
_UNKNOWN: Entry = (_Unknown, _unknown)
_ZERO: dict[str, Any] = {
    "message": {},
    "int32": 0,
    "int64": 0,
    "bool": False,
    "double": 0.0,
    "Quantity": "0",
    "JSON": None,
}
_GO_TYPES = {
    "bytes": "[]uint8",
    "double": "float64",
    "Quantity": "resource.Quantity",
    "Time": "v1.Time",
    "MicroTime": "v1.MicroTime",
    "IntOrString": "intstr.IntOrString",
    "RawExtension": "runtime.RawExtension",
}


def _zero(field: schema.Field) -> Any:
    """What a null stands for among the items of a list or map."""
    return _ZERO.get(field.type, "")


def _go_type(field: schema.Field) -> str:
    return f"v1.{field.message.partition('.')[2]}" if field.type == "message" else _GO_TYPES.get(field.type, field.type)


def _number(value: Any) -> str:
    """A number is shown itself, because its type is right and its value is not."""
    return f"number {value}" if type(value) is float else json_type(value)
