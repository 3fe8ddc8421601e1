"""Objects as canonical JSON bytes: how they rest in the store and how they travel.

Why: an object is encoded once per change and its bytes are shared by the store, the cache, every list and every watch.
What it is not: it converts no versions, fills in no defaults and checks nothing.

Vocabulary
- *resting* bytes: what the store keeps. They begin with `apiVersion`, `kind`, `metadata` and carry no
  `metadata.resourceVersion`, because the version is only known when the write is done.
- *stamped* bytes: the same with `resourceVersion` as the first field of `metadata`, ready for any client.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from mizzen.api import custom
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.kinds import Kind, Object

T = TypeVar("T", bound=Object)

_ENCODER = msgspec.json.Encoder()
_FIELD = b'"resourceVersion":"'
_END = b'",'
_VERSIONED = rb'\{"apiVersion":"%b/[a-z0-9-]+","kind":"%b","metadata":\{'


@cache
def _head(kind: Kind[Any]) -> bytes:
    """How objects of a kind begin."""
    return f'{{"apiVersion":"{kind.api_version}","kind":"{kind.kind}","metadata":{{'.encode()


def _head_of(kind: Kind[Any], raw: bytes) -> bytes:
    """How these bytes begin: those of users' kinds may name any of the kind's versions."""
    head = _head(kind)
    if not isinstance(kind, CustomKind) or raw.startswith(head):
        return head
    own = re.compile(_VERSIONED % (re.escape(kind.group).encode(), kind.kind.encode())).match(raw)
    return own.group() if own else head


@cache
def _decoder(kind: Kind[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind.type)


def decode(kind: Kind[T], raw: bytes) -> T:
    """Return the object in `raw`, resting or stamped. Raises msgspec.DecodeError (ValidationError for wrong types)."""
    if isinstance(kind, CustomKind):
        return custom.from_stored(kind, raw)  # type: ignore[return-value]
    obj: T = _decoder(kind).decode(raw)
    return obj


def at_version(obj: T, version: int) -> T:
    """Return the object with `metadata.resourceVersion` set; version 0 leaves it empty."""
    text = str(version) if version else ""
    if obj.metadata.resource_version == text:
        return obj
    metadata = replace(obj.metadata, resource_version=text)
    changed: T = replace(obj, metadata=metadata)  # type: ignore[type-var]  # every kind is a struct
    return changed


def rest(obj: Object) -> bytes:
    """Return the object's resting bytes."""
    bare = at_version(obj, 0)
    return _ENCODER.encode(custom.plain(bare) if isinstance(bare, Custom) else bare)


def stamp(kind: Kind[Any], value: bytes, version: int) -> bytes:
    """Return resting bytes with the version put in.

    Bytes that another hand wrote in another order are decoded and encoded once; raises msgspec.DecodeError if they
    are not an object of this kind.
    """
    head = _head_of(kind, value)
    size = len(head)
    if value.startswith(head) and value[size : size + 1] == b'"' and _FIELD not in value[size : size + 128]:
        return b"%b%b%d%b%b" % (head, _FIELD, version, _END, value[size:])
    return stamp(kind, rest(decode(kind, value)), version)


def restamp(kind: Kind[Any], raw: bytes, version: int) -> bytes:
    """Return stamped bytes with another version in place of the one they have."""
    head = _head_of(kind, raw)
    begin = len(head) + len(_FIELD)
    return b"%b%b%d%b" % (head, _FIELD, version, raw[raw.index(_END, begin) :])
