"""Between structs and protobuf messages, at the edge only.

Both directions are compiled once per message from the schema tables, because `json_format` is ten times slower. What
is inlined in a struct stands in a message of its own on the wire; zero values of fields without presence are read as
unset, whether or not they were on the wire. Also the envelope of Kubernetes' protobuf media type: four magic bytes,
then an `Unknown` with the object's kind beside its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, TypeVar

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from mizzen.api import codec, kinds, schema, spans
from mizzen.api.custom import Custom
from mizzen.api.types import meta_v1
from mizzen.wire.gen.mizzen.api import scalars_pb2
from mizzen.wire.gen.mizzen.api.meta.v1 import meta_pb2

T = TypeVar("T")
MAGIC = b"k8s\0"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
TYPE_URL = "type.googleapis.com/mizzen.api."
_STUBS = "mizzen.wire.gen.mizzen.api.{0}.{1}.{0}_pb2"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadMessage(ValueError):
    """The bytes are not the message that they should be."""


def to_struct(message: Message, type_: type[T]) -> T:
    """The struct that a protobuf message means."""
    result: T = _reader(_name_of(type_))(message)
    return result


def to_message(obj: Any) -> Message:
    """The protobuf message that a struct means."""
    name = _name_of(type(obj))
    return _message_class(name)(**_writer(name)(obj))


def to_any(obj: Any) -> AnyMessage:
    """The object in a `google.protobuf.Any`; one of a user's kind as `meta.v1.CustomObject`."""
    if isinstance(obj, Custom):
        obj = meta_v1.CustomObject(json=codec.encode_json(obj))
    return AnyMessage(type_url=type_url(type(obj)), value=encode(obj))


def type_url(type_: type[Any]) -> str:
    """What names a type in a `google.protobuf.Any`."""
    return TYPE_URL + _proto_name(_name_of(type_))


def from_any(packed: AnyMessage) -> Any:
    """The message in a `google.protobuf.Any`; raises BadMessage for a type that the API does not have.

    An object of a user's kind stays a `CustomObject`: which kinds there are is for the caller to know.
    """
    if not packed.type_url.startswith(TYPE_URL):
        raise BadMessage(f"type {packed.type_url!r} is not an API type; expected {TYPE_URL}<group>.<version>.<Kind>")
    *package, kind = packed.type_url.removeprefix(TYPE_URL).split(".")
    return _parse(f"{'_'.join(package)}.{kind}", packed.value)


def decode_envelope(data: bytes, type_: type[T] | None = None) -> Any:
    """The object in Kubernetes' protobuf encoding; its type is `type_` where given, else the kind in the envelope.

    Raises BadMessage.
    """
    if not data.startswith(MAGIC):
        raise BadMessage("the body does not begin with the four bytes of Kubernetes' protobuf encoding (k8s\\0)")
    try:
        unknown = scalars_pb2.Unknown.FromString(data[len(MAGIC) :])
    except DecodeError as error:
        raise BadMessage(f"the envelope is not a runtime.Unknown: {error}") from error
    meta = unknown.type_meta
    if type_ is None:
        kind = kinds.BY_KIND.get((meta.api_version, meta.kind))
        if kind is None:
            raise BadMessage(f'no kind "{meta.kind}" is registered for version "{meta.api_version}"')
        type_ = kind.type
    obj = _parse(_name_of(type_), unknown.raw)
    if schema.message(_name_of(type_)).kind and meta.kind:
        obj = msgspec.structs.replace(obj, api_version=meta.api_version, kind=meta.kind)
    return obj


def encode(obj: Any) -> bytes:
    """The protobuf bytes of a struct."""
    return to_message(obj).SerializeToString()


def encode_list(metadata: Any, items: Iterable[bytes] = ()) -> bytes:
    """The protobuf bytes of a list whose items are bytes already; without items, of an object that is all metadata."""
    return _list_head(metadata) + encode_items(items)


def encode_items(items: Iterable[bytes]) -> bytes:
    """The items of a list, each bytes already, as they stand in the list's protobuf bytes."""
    # Written by hand, as protobuf writes an UnknownList: a message would copy thousands of items first.
    parts: list[bytes] = []
    for item in items:
        parts += (_SECOND, _varint(len(item)), item)
    return b"".join(parts)


def list_head(api_version: str, kind: str, metadata: Any, size: int) -> bytes:
    """What stands before the items of a list, of so many bytes by `encode_items`, in Kubernetes' protobuf encoding."""
    head = _list_head(metadata)
    return b"".join((_envelope_head(api_version, kind), _SECOND, _varint(len(head) + size), head))


def _list_head(metadata: Any) -> bytes:
    head = encode(metadata)
    return _sized(_FIRST, head) if head else b""


_FIRST, _SECOND = b"\x0a", b"\x12"
"""What protobuf writes before the length of a field of bytes, for the fields 1 and 2."""


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


@lru_cache(maxsize=4096)
def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def envelope(api_version: str, kind: str, data: bytes) -> bytes:
    """Kubernetes' protobuf encoding of an object, around the object's own bytes."""
    head = _envelope_head(api_version, kind)
    return b"".join((head, _SECOND, _varint(len(data)), data)) if data else head


@lru_cache(maxsize=1024)
def _envelope_head(api_version: str, kind: str) -> bytes:
    meta = scalars_pb2.TypeMeta(api_version=api_version, kind=kind)
    return MAGIC + scalars_pb2.Unknown(type_meta=meta).SerializeToString()


def watch_frame(type_: str, obj: bytes) -> bytes:
    """One event of a watch: its length in four bytes, then the event around an object in its envelope."""
    event = meta_pb2.WatchEvent(type=type_, object=scalars_pb2.RawExtension(raw=obj)).SerializeToString()
    return len(event).to_bytes(4, "big") + event


def encode_envelope(obj: Any) -> bytes:
    """The object in Kubernetes' protobuf encoding."""
    return envelope(obj.api_version, obj.kind, encode(obj))


def _parse(name: str, data: bytes) -> Any:
    try:
        return _reader(name)(_message_class(name).FromString(data))
    except KeyError as error:
        raise BadMessage(f"there is no API type {name}") from error
    except (DecodeError, ValueError, OverflowError) as error:
        raise BadMessage(f"the bytes are not a {name}: {error}") from error


def _name_of(type_: type[Any]) -> str:
    return f"{type_.__module__.rsplit('.', 1)[-1]}.{type_.__name__}"


def _proto_name(name: str) -> str:
    module, message = name.split(".")
    group, version = module.split("_")
    return f"{group}.{version}.{message}"


@cache
def _message_class(name: str) -> type[Message]:
    module, message = name.split(".")
    schema.message(name)
    group, version = module.split("_")
    stubs = import_module(_STUBS.format(group, version))
    found: type[Message] = getattr(stubs, message)
    return found


@cache
def _struct_class(name: str) -> type[Any]:
    module, message = name.split(".")
    found: type[Any] = getattr(import_module(f"mizzen.api.types.{module}"), message)
    return found


# Scalars: (from a message, to a message's constructor value; None leaves the field unset)


def _read_time(digits: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not value.seconds and not value.nanos:
            return ""  # upstream's encoding of a time that is not set, where the field itself is always written
        moment = _EPOCH + timedelta(seconds=value.seconds)
        fraction = f".{value.nanos // 1000:06d}" if digits else ""
        return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{fraction}Z"

    return read


def _write_time(text: str) -> dict[str, int] | None:
    if not text:
        return None
    since = datetime.fromisoformat(text) - _EPOCH
    return {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1000}


def _read_int_or_string(value: Any) -> int | str:
    return str(value.str_val) if value.type else int(value.int_val)


def _write_int_or_string(value: int | str) -> dict[str, int | str]:
    return {"type": 1, "str_val": value} if isinstance(value, str) else {"type": 0, "int_val": value}


def _json_reader(value: Any) -> Any:
    return msgspec.json.decode(value.raw) if value.raw else None


def _json_writer(value: Any) -> dict[str, bytes] | None:
    return None if value is None else {"raw": msgspec.json.encode(value)}


def _read_fields(value: Any) -> msgspec.Raw:
    if value.raw:
        msgspec.json.decode(value.raw)  # raises for what is no JSON
    return msgspec.Raw(value.raw)


def _write_fields(text: msgspec.Raw) -> dict[str, bytes] | None:
    return {"raw": bytes(text)} if bytes(text) else None


_SCHEMA = "apiextensions_v1.JSONSchemaProps"


def _schema_or(other: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A JSON schema, or in its place what another field of the message holds."""

    def read(value: Any) -> Any:
        if value.HasField("schema"):
            return _reader(_SCHEMA)(value.schema)
        instead = getattr(value, other)
        if isinstance(instead, bool):
            return instead
        return tuple(item if isinstance(item, str) else _reader(_SCHEMA)(item) for item in instead)

    def write(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        if isinstance(value, tuple):
            return {other: [item if isinstance(item, str) else _writer(_SCHEMA)(item) for item in value]}
        return {other: value} if isinstance(value, bool) else {"schema": _writer(_SCHEMA)(value)}

    return read, write


_SCALARS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Time": (_read_time(0), _write_time),
    "MicroTime": (_read_time(6), _write_time),
    "Duration": (lambda value: spans.render(value.duration), lambda text: {"duration": spans.parse(text)}),
    "Quantity": (lambda value: value.string, lambda text: {"string": text} if text else None),
    "IntOrString": (_read_int_or_string, _write_int_or_string),
    "RawExtension": (_json_reader, _json_writer),
    "FieldsV1": (_read_fields, _write_fields),
    "JSON": (_json_reader, lambda value: {"raw": msgspec.json.encode(value)}),
    "JSONSchemaPropsOrArray": _schema_or("j_son_schemas"),
    "JSONSchemaPropsOrBool": _schema_or("allows"),
    "JSONSchemaPropsOrStringArray": _schema_or("property"),
    "Verbs": (lambda value: tuple(value.items), lambda items: {"items": list(items)} if items else None),
    "ExtraValue": (lambda value: tuple(value.items), lambda items: {"items": list(items)}),
}


def _item_reader(field: schema.Field) -> Callable[[Any], Any] | None:
    """How one item of a field is read; None where the value is used as it is."""
    if field.type == "message":

        def read(value: Any) -> Any:
            # Looked up at the call, because messages may contain themselves.
            return _reader(field.message)(value)

        return read
    if field.type in ("Time", "MicroTime") and (field.pointer or field.always):
        scalar = _SCALARS[field.type][0]
        return lambda value: scalar(value) or None
    return _SCALARS[field.type][0] if field.type in _SCALARS else None


def _field_reader(field: schema.Field) -> Callable[[Any], Any] | None:
    read = _item_reader(field)
    if field.cardinality == "list":
        return tuple if read is None else lambda values: tuple(map(read, values))
    if field.cardinality == "map":
        return dict if read is None else lambda values: {key: read(value) for key, value in values.items()}
    return read


@cache
def _reader(name: str) -> Callable[[Any], Any]:
    """Reads a message into its struct."""
    fill = _filler(schema.message(name).fields, 0)
    struct = _struct_class(name)

    def read(message: Any) -> Any:
        found: dict[str, Any] = {}
        fill(message, found)
        return struct(**found)

    return read


def _filler(fields: tuple[schema.Field, ...], depth: int) -> Callable[[Any, dict[str, Any]], None]:
    """Collects the attributes of the fields that stand at one depth of inlining, and below."""
    plain: dict[str, tuple[str, Callable[[Any], Any] | None]] = {}
    inlined: dict[str, list[schema.Field]] = {}
    for field in fields:
        if len(field.proto_path) == depth + 1:
            plain[field.proto_path[depth]] = (field.attr, _field_reader(field))
        else:
            inlined.setdefault(field.proto_path[depth], []).append(field)
    below = {proto_name: _filler(tuple(inner), depth + 1) for proto_name, inner in inlined.items()}

    def fill(message: Any, found: dict[str, Any]) -> None:
        for descriptor, value in message.ListFields():
            target = plain.get(descriptor.name)
            if target is not None:
                attr, read = target
                found[attr] = value if read is None else read(value)
            elif descriptor.name in below:
                below[descriptor.name](value, found)

    return fill


def _item_writer(field: schema.Field) -> Callable[[Any], Any] | None:
    if field.type == "message":

        def write(value: Any) -> Any:
            return _writer(field.message)(value)

        return write
    return _SCALARS[field.type][1] if field.type in _SCALARS else None


def _item_class(field: schema.Field) -> type[Message]:
    """The protobuf class of one item of a field."""
    if field.type == "message":
        return _message_class(field.message)
    stubs: Any = meta_pb2 if field.type in ("Time", "MicroTime") else scalars_pb2
    if field.message:
        stubs = import_module(_STUBS.format(*field.message.partition(".")[0].split("_")))
    found: type[Message] = getattr(stubs, field.type)
    return found


def _field_writer(field: schema.Field) -> Callable[[Any], Any]:
    write = _item_writer(field)
    if field.cardinality == "list":
        return list if write is None else lambda values: [write(value) for value in values]
    if field.cardinality == "map":
        if write is None:
            return dict
        make = _item_class(field)  # a map of messages takes messages, not dicts
        return lambda values: {key: make(**(write(value) or {})) for key, value in values.items()}
    return (lambda value: value) if write is None else write


@cache
def _writer(name: str) -> Callable[[Any], dict[str, Any]]:
    """Makes the constructor arguments of a message from its struct."""
    steps = [
        (f.attr, f.proto_path[:-1], f.proto_path[-1], f.pointer, _field_writer(f)) for f in schema.message(name).fields
    ]

    def write(obj: Any) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for attr, path, proto_name, pointer, convert in steps:
            value = getattr(obj, attr)
            # Presence matters for pointers only; everything else that is empty reads back as empty.
            if value is None or (not pointer and not value and value != 0):
                continue
            converted = convert(value)
            if converted is None:
                continue
            place = made
            for step in path:
                place = place.setdefault(step, {})
            place[proto_name] = converted
        return made

    return write
