"""The OpenAPI v2 document in the protobuf form of gnostic's `openapi.v2.Document`.

Written by hand, field by field, because it is a small part of a large schema that nothing else of ours needs. Each
`_..._fields` function gives (field number, value) pairs: a text, a truth value, bytes of an inner message, or a list of
these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import msgspec

from mizzen.api.openapi_schema import Json

ASKED_FOR = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What clients put into `Accept`, which is no well-formed media type."""
MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What they must be answered with."""

Value: TypeAlias = str | bool | bytes
Pairs: TypeAlias = Iterator[tuple[int, Value]]

_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
_LENGTH_DELIMITED = 2


def encode(document: Json) -> bytes:
    """The bytes of a document that `openapi_v2.document` made."""
    return _message(_document_fields(document))


def _document_fields(document: Json) -> Pairs:
    info = document["info"]
    yield 1, document["swagger"]
    yield 2, _message([(1, info["title"]), (2, info["version"])])
    yield 8, _message((2, _named(path, _message(_path_fields(item)))) for path, item in document["paths"].items())
    yield 9, _schemas(document["definitions"])


def _path_fields(item: Json) -> Pairs:
    for method, number in _METHODS.items():
        if method in item:
            yield number, _message(_operation_fields(item[method]))
    for parameter in item["parameters"]:
        yield 9, _parameter(parameter)


def _operation_fields(operation: Json) -> Pairs:
    for tag in operation["tags"]:
        yield 1, tag
    yield 5, operation["operationId"]
    for type_ in operation["produces"]:
        yield 6, type_
    for type_ in operation["consumes"]:
        yield 7, type_
    for parameter in operation["parameters"]:
        yield 8, _parameter(parameter)
    yield 9, _message((1, _named(code, _response(answer))) for code, answer in operation["responses"].items())
    yield from _extensions(13, operation)


def _response(answer: Json) -> bytes:
    fields: list[tuple[int, Value]] = [(1, answer["description"])]
    if "schema" in answer:
        fields.append((2, _only(1, _schema(answer["schema"]))))
    return _only(1, _message(fields))


def _parameter(parameter: Json) -> bytes:
    """A `ParametersItem`; bodies, queries and paths are each another message inside of it."""
    if parameter["in"] == "body":
        schema = _schema(parameter["schema"])
        body = _message([(2, parameter["name"]), (3, "body"), (4, parameter["required"]), (5, schema)])
        return _only(1, _only(1, body))
    common: list[tuple[int, Value]] = [
        (1, parameter.get("required", False)),
        (2, parameter["in"]),
        (3, parameter["description"]),
        (4, parameter["name"]),
    ]
    in_query = parameter["in"] == "query"
    common.append((6 if in_query else 5, parameter["type"]))
    return _only(1, _only(2, _only(3 if in_query else 4, _message(common))))


def _schemas(named: Json) -> bytes:
    return _message((1, _named(name, _schema(schema))) for name, schema in named.items())


def _schema(schema: Json) -> bytes:
    return _message(_schema_fields(schema))


def _schema_fields(schema: Json) -> Pairs:
    for name, number in (("$ref", 1), ("format", 2), ("description", 4)):
        if name in schema:
            yield number, schema[name]
    for name in schema.get("required", ()):
        yield 19, name
    if "additionalProperties" in schema:
        yield 21, _only(1, _schema(schema["additionalProperties"]))
    if "type" in schema:
        yield 22, _only(1, schema["type"])
    if "items" in schema:
        yield 23, _only(1, _schema(schema["items"]))
    if "properties" in schema:
        yield 25, _schemas(schema["properties"])
    yield from _extensions(31, schema)


def _extensions(number: int, holder: Json) -> Pairs:
    """What is named `x-...`, as YAML (of which JSON is a part)."""
    for name, value in holder.items():
        if name.startswith("x-"):
            yield number, _named(name, _only(2, msgspec.json.encode(value).decode() + "\n"))


def _named(name: str, value: bytes) -> bytes:
    return _message([(1, name), (2, value)])


def _only(number: int, value: Value) -> bytes:
    return _message([(number, value)])


def _message(pairs: Iterable[tuple[int, Value]]) -> bytes:
    """The wire form of a message; truth values that are false are left out."""
    return b"".join(_FIELD[type(value)](number, value) for number, value in pairs)


def _truth(number: int, value: Value) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _bytes(number: int, value: Value) -> bytes:
    data = value if isinstance(value, bytes) else str(value).encode()
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_FIELD: dict[type[object], Callable[[int, Value], bytes]] = {bool: _truth, str: _bytes, bytes: _bytes}
