"""JSON to structs and back, as strict as a client asks for.

Two ways in. What we wrote ourselves (`decode_stored`) is canonical and decoded as it is. What clients send
(`decode_json`, `decode_dict`) is first *read* against the schema: null means unset everywhere, quantities and times
become canonical, whole numbers may be written with a fraction of zero, names are case-sensitive, and what the schema
does not know is left out. Whether that was in order is for `strict` to say, and it is asked only when the quick count
of keys shows that something is odd.

Not defaults, not rules: see `defaults` and `validate`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeVar, overload

import msgspec

from mizzen.api import custom, reading, strict, structural
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.errors import BadRequest
from mizzen.api.kinds import BY_TYPE, Kind, Object

T = TypeVar("T")
OBJ = TypeVar("OBJ", bound=Object)
FieldValidation = Literal["Strict", "Warn", "Ignore"]

_ENCODER = msgspec.json.Encoder(order="deterministic")
_AS_IT_IS = msgspec.json.Encoder()
_PLAIN = msgspec.json.Decoder()
_SUMMARY_BYTES = 30


class Undecodable(BadRequest):
    """A value that is no object of its kind; `why` says so without naming the kind."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


@overload
def decode_json(
    data: bytes, target: Kind[OBJ], *, validation: FieldValidation = "Strict"
) -> tuple[OBJ, tuple[str, ...]]: ...
@overload
def decode_json(
    data: bytes, target: type[T], *, validation: FieldValidation = "Strict"
) -> tuple[T, tuple[str, ...]]: ...
def decode_json(
    data: bytes, target: Kind[Any] | type[Any], *, validation: FieldValidation = "Strict"
) -> tuple[Any, tuple[str, ...]]:
    """The object that a client sent, and warnings such as `unknown field "spec.foo"`.

    With a `Kind` the body must be of that kind and version, or say nothing about it; with a bare type it may say
    anything. Raises BadRequest: for what is no JSON or has wrong types, and with `Strict` instead of warning.
    """
    type_ = target.type if isinstance(target, Kind) else target
    try:
        value = _PLAIN.decode(data)
        if not isinstance(value, dict):
            raise BadRequest(
                _unrecognized(type_, f"json: cannot unmarshal {reading.json_type(value)} into an object", data)
            )
        return _decode(value, data, target, validation)
    except msgspec.DecodeError as error:
        raise BadRequest(_unrecognized(type_, str(error), data)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(_unrecognized(type_, str(error), data)) from error


@overload
def decode_dict(
    value: dict[str, Any], target: Kind[OBJ], *, validation: FieldValidation = "Strict"
) -> tuple[OBJ, tuple[str, ...]]: ...
@overload
def decode_dict(
    value: dict[str, Any], target: type[T], *, validation: FieldValidation = "Strict"
) -> tuple[T, tuple[str, ...]]: ...
def decode_dict(
    value: dict[str, Any], target: Kind[Any] | type[Any], *, validation: FieldValidation = "Strict"
) -> tuple[Any, tuple[str, ...]]:
    """The object that a JSON value means; as `decode_json`, but duplicates cannot be seen any more."""
    try:
        return _decode(value, None, target, validation)
    except RecursionError as error:
        raise BadRequest(f"the object is nested too deeply: {error}") from error


def from_dict(value: dict[str, Any], type_: type[T]) -> T:
    """The object that a JSON value means, unknown fields left out. Raises BadRequest."""
    return decode_dict(value, type_, validation="Ignore")[0]


def to_dict(obj: Any) -> dict[str, Any]:
    """The object as a JSON value of our own: nothing in it is shared with the object."""
    value: dict[str, Any] = _PLAIN.decode(encode_json(obj))
    return value


def encode_json(obj: Any) -> bytes:
    """Canonical JSON: fields in the schema's order, maps sorted, no spaces. Equal objects have equal bytes."""
    return _AS_IT_IS.encode(custom.plain(obj)) if isinstance(obj, Custom) else _ENCODER.encode(obj)


def decode_stored(data: bytes, type_: type[T]) -> T:
    """An object from canonical JSON of our own making; raises msgspec.ValidationError for anything else."""
    decoder: msgspec.json.Decoder[T] = _decoder(type_)  # type: ignore[arg-type]
    return decoder.decode(data)


def normalised(obj: T) -> T:
    """The object with quantities and times in canonical form, for what did not come in as JSON. Raises BadRequest."""
    return from_dict(to_dict(obj), type(obj))


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def _decode(
    value: dict[str, Any], data: bytes | None, target: Kind[Any] | type[Any], validation: FieldValidation
) -> tuple[Any, tuple[str, ...]]:
    kind = target if isinstance(target, Kind) else BY_TYPE.get(target)
    type_ = target.type if isinstance(target, Kind) else target
    if isinstance(target, Kind):
        _check_kind(value, target)
    if isinstance(target, CustomKind):
        return _decode_custom(value, data, target, validation)
    name = message_name(type_)
    tally = reading.Tally()
    try:
        read = reading.message_reader(name)(value, tally)
    except reading.Mismatch as error:
        raise _undecodable(value, kind, type_, str(error)) from error
    problems: list[str] = []
    if validation != "Ignore" and _odd(tally, data):
        problems = strict.problems(value if data is None else data, name)
        if problems and validation == "Strict":
            raise _undecodable(value, kind, type_, f"strict decoding error: {', '.join(problems)}")
    return msgspec.convert(read, type_), tuple(problems)


def _decode_custom(
    value: dict[str, Any], data: bytes | None, kind: CustomKind, validation: FieldValidation
) -> tuple[Custom, tuple[str, ...]]:
    """The object of a user's kind: without unknown fields, with its defaults, in the version of `kind`."""
    try:
        obj, odd = custom.from_value(kind, value)
    except reading.Mismatch as error:
        raise _undecodable(value, kind, kind.type, str(error)) from error
    problems = strict.duplicates(data) if data is not None and validation != "Ignore" else []
    content = structural.pruned(obj.content, kind.schema, "", problems)
    if odd:
        problems += strict.problems({"metadata": value["metadata"]}, "core_v1.Namespace")
    problems = [text if " field " in text else f'unknown field "{text}"' for text in problems]
    if problems and validation == "Strict":
        raise _undecodable(value, kind, kind.type, f"strict decoding error: {', '.join(problems)}")
    obj = msgspec.structs.replace(obj, content=structural.filled(content, kind.schema))
    return obj, tuple(problems) if validation == "Warn" else ()


def message_name(type_: type[Any]) -> str:
    """The schema's name of a struct: `core_v1.Pod`."""
    return f"{type_.__module__.rpartition('.')[2]}.{type_.__name__}"


def _odd(tally: reading.Tally, data: bytes | None) -> bool:
    """Whether there may be unknown or duplicate fields; false only when there are none.

    Keys are counted twice: in the value, where duplicates have fallen together, and in the text, where a key is what
    ends in `":`, unless that quote is escaped. Texts that this rule might misread count as odd.
    """
    if tally.unknown:
        return True
    if data is None:
        return False
    escaped = 0
    if b"\\" in data:
        if b'\\\\"' in data:
            return True
        escaped = data.count(b'\\":')
    if b" :" in data or any(blank in data and blank + b":" in data for blank in (b"\t", b"\n", b"\r")):
        return True
    return data.count(b'":') - escaped != tally.keys


def _check_kind(value: dict[str, Any], kind: Kind[Any]) -> None:
    """The body must not claim to be something else; what it leaves out is what the path says."""
    version, name = value.get("apiVersion") or kind.api_version, value.get("kind") or kind.kind
    if name == kind.kind and version == kind.api_version:
        return
    if not isinstance(version, str) or not isinstance(name, str):
        raise BadRequest(_cannot({}, kind, kind.type, "apiVersion and kind must be strings"))
    if version != kind.api_version:
        raise BadRequest(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    given = f"{_short(version)}.{name}"
    raise BadRequest(_cannot(value, kind, kind.type, f"converting ({given}) to ({kind.kind}): unknown conversion"))


def _undecodable(value: dict[str, Any], kind: Kind[Any] | None, type_: type[Any], why: str) -> Undecodable:
    return Undecodable(_cannot(value, kind, type_, why), why)


def _cannot(value: dict[str, Any], kind: Kind[Any] | None, type_: type[Any], why: str) -> str:
    wanted = kind.kind if kind else type_.__name__
    given = value.get("kind") or wanted
    version = value.get("apiVersion") or (kind.api_version if kind else "v1")
    return f'{given} in version "{_short(str(version))}" cannot be handled as a {wanted}: {why}'


def _unrecognized(type_: type[Any], why: str, data: bytes) -> str:
    start = data[:_SUMMARY_BYTES].decode("utf-8", "replace") + (" ..." if len(data) > _SUMMARY_BYTES else "")
    return (
        f"the object provided is unrecognized (must be of type {type_.__name__}): "
        f"couldn't get version/kind; json parse error: {why} ({start})"
    )


def _short(api_version: str) -> str:
    return api_version.rpartition("/")[2]
