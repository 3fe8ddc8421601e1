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
_PARAMETERS = {"query": (3, 6), "path": (4, 5)}
"""The fields of what is a parameter there, and of its type inside of that."""
_LENGTH_DELIMITED = 2


def encode(document: Json) -> bytes:
    """The bytes of a document as `openapi_v2.document` makes it.

    What others add to it (`openapi_merge`) may leave out anything; of that only what stands below is written.
    """
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
    for parameter in _parameters(item):
        yield 9, parameter


def _operation_fields(operation: Json) -> Pairs:
    for tag in operation.get("tags", ()):
        yield 1, tag
    yield 5, operation.get("operationId", "")
    for type_ in operation.get("produces", ()):
        yield 6, type_
    for type_ in operation.get("consumes", ()):
        yield 7, type_
    for parameter in _parameters(operation):
        yield 8, parameter
    answers = operation.get("responses", {})
    yield 9, _message((1, _named(code, _response(answer))) for code, answer in answers.items())
    yield from _extensions(13, operation)


def _response(answer: Json) -> bytes:
    fields: list[tuple[int, Value]] = [(1, answer.get("description", ""))]
    if "schema" in answer:
        fields.append((2, _only(1, _schema(answer["schema"]))))
    return _only(1, _message(fields))


def _parameters(holder: Json) -> Iterator[bytes]:
    """Each a `ParametersItem`; bodies, queries and paths are each another message inside of it, others have no use."""
    for parameter in holder.get("parameters", ()):
        where, required = parameter.get("in"), parameter.get("required", False)
        if where == "body":
            schema = _schema(parameter.get("schema", {}))
            yield _only(1, _only(1, _message([(2, parameter["name"]), (3, "body"), (4, required), (5, schema)])))
        elif where in _PARAMETERS:
            described, type_ = parameter.get("description", ""), parameter.get("type", "string")
            common: list[tuple[int, Value]] = [(1, required), (2, where), (3, described), (4, parameter["name"])]
            number, number_of_type = _PARAMETERS[where]
            yield _only(1, _only(2, _only(number, _message([*common, (number_of_type, type_)]))))


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
        more = schema["additionalProperties"]
        yield 21, _only(2, more) if isinstance(more, bool) else _only(1, _schema(more))
    if isinstance(schema.get("type"), str):
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
