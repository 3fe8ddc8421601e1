"""Bodies of answers: objects and lists, in the form and the media type that the client asked for.

Most are put together from bytes that exist already. JSON is kept with each entry from the beginning, protobuf from when
somebody first asks for it; both die with the entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from controlplane.server import rest_yaml
from controlplane.server.negotiate import PROTOBUF, YAML, Output
from controlplane.server.representations import in_table, shown, shown_raw, storage
from controlplane.server.tables import render
from controlplane.server.verbs_read import Listing
from controlplane.store.registry import Registry
from mizzen.api import codec
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Entry
from mizzen.engine.values import Instant
from mizzen.wire import convert

AT_ONCE = 64
"""Objects that are encoded before other requests get their turn."""
_META = "meta.k8s.io/"
_PARTIAL = "PartialObjectMetadata"


def raw_of(registry: Registry, kind: Kind[Any], obj: Any) -> bytes:
    """The JSON of an object that was just written: the cache's bytes if they are of this version."""
    own = storage(kind)
    if kind is own:
        entry = registry.cache.entry(own, obj.metadata.namespace, obj.metadata.name)
        if entry is not None and str(entry.version) == obj.metadata.resource_version and entry.decoded is obj:
            return entry.raw
    return codec.encode_json(shown(kind, obj))


def message_of(kind: Kind[Any], entry: Entry) -> bytes:
    """An entry's object as protobuf, without an envelope; made once."""
    if kind is not entry.kind:
        return convert.encode(shown(kind, entry.object()))
    if entry.message is None:
        entry.message = convert.encode(entry.object())
    return entry.message


def row_of(kind: Kind[Any], entry: Entry, now: Instant) -> tuple[render.Kept, bytes]:
    """An entry's object as a table takes it; the row is made once where that can be."""
    if kind is entry.kind and entry.row is not None:
        return entry.row, entry.raw
    raw = shown_raw(kind, entry)
    made = render.row(render.what(kind), in_table(kind, entry.object()), raw, now)
    # The columns of users' kinds may change, the objects staying as they are.
    if kind is entry.kind and not isinstance(kind, CustomKind) and render.lasts(raw):
        entry.row = made
    return made, raw


def text(output: Output, body: bytes) -> bytes:
    """A JSON text as the client wants its texts."""
    if output.media_type == YAML:
        return rest_yaml.written(body)
    return msgspec.json.format(body, indent=2) + b"\n" if output.pretty else body


def object_body(kind: Kind[Any], output: Output, obj: Any, raw: bytes, now: Instant, include: str) -> bytes:
    """An object, given as it is stored and as its JSON; for a table the type of `obj` decides on the columns."""
    if output.media_type == PROTOBUF:
        return _binary(output, shown(kind, obj))
    what = render.what_of(in_table(kind, obj))
    if output.form == "object" or (output.form == "table" and not render.has_table(what)):
        return text(output, raw)
    if output.form == "metadata":
        return text(output, render.partial(raw, output.version))
    version = getattr(obj.metadata, "resource_version", "")
    head = msgspec.json.encode({"resourceVersion": version} if version else {})
    rows = [(render.row(what, in_table(kind, obj), raw, now), raw)]
    return text(output, render.table(what, rows, now, list_metadata=head, include=include, version=output.version))


def entry_body(kind: Kind[Any], output: Output, entry: Entry) -> bytes:
    """An entry's object itself."""
    if output.media_type == PROTOBUF:
        return convert.envelope(kind.api_version, kind.kind, message_of(kind, entry))
    return text(output, shown_raw(kind, entry))


def value_body(output: Output, value: Any, raw: bytes) -> bytes:
    """A value of one of the API's types that is no object, given with its JSON; never shown as anything else."""
    return convert.encode_envelope(value) if output.media_type == PROTOBUF else text(output, raw)


def status_body(output: Output, status: meta.Status) -> bytes:
    """A Status, which is never shown as anything else."""
    return value_body(output, status, codec.encode_json(status))


async def list_body(kind: Kind[Any], listing: Listing, output: Output, now: Instant, include: str) -> bytes:
    """A list."""
    metadata = meta.ListMeta(
        resource_version=str(listing.version), continue_=listing.continue_, remaining_item_count=listing.remaining
    )
    if output.media_type == PROTOBUF:
        return await _binary_list(kind, listing.entries, output, metadata)
    if output.form == "table":
        rows = await _rows(kind, listing.entries, now)
        head = codec.encode_json(metadata)
        body = render.table(render.what(kind), rows, now, list_metadata=head, include=include, version=output.version)
        return text(output, body)
    return text(output, _joined(kind, output, metadata, _raws(kind, listing.entries)))


def _raws(kind: Kind[Any], entries: Iterable[Entry]) -> list[bytes]:
    """The JSON of every entry's object."""
    return [entry.raw for entry in entries] if kind.stored else [shown_raw(kind, entry) for entry in entries]


def objects_body(
    registry: Registry, kind: Kind[Any], output: Output, metadata: meta.ListMeta, objects: Sequence[Any]
) -> bytes:
    """A list of objects that are not all in the cache any more. It is never a table."""
    if output.media_type == PROTOBUF:
        return _envelope_of_list(kind, output, metadata, [_item(kind, output, obj) for obj in objects])
    return text(output, _joined(kind, output, metadata, (raw_of(registry, kind, obj) for obj in objects)))


def _joined(kind: Kind[Any], output: Output, metadata: meta.ListMeta, items: Iterable[bytes]) -> bytes:
    """The JSON of a list of objects, whole or their metadata alone."""
    name, api_version = kind.list_kind, kind.api_version
    if output.form == "metadata":
        items = (render.partial(raw, output.version) for raw in items)
        name, api_version = f"{_PARTIAL}List", _META + output.version
    head = b'{"kind":"%b","apiVersion":"%b","metadata":' % (name.encode(), api_version.encode())
    return b'%b%b,"items":[%b]}' % (head, codec.encode_json(metadata), b",".join(items))


def partial_message(metadata: meta.ObjectMeta, version: str) -> bytes:
    """An object's metadata alone as protobuf, in its envelope."""
    return convert.envelope(_META + version, _PARTIAL, convert.encode_list(metadata))


def _binary(output: Output, obj: Any) -> bytes:
    if output.form == "metadata" and isinstance(obj.metadata, meta.ObjectMeta):
        return partial_message(obj.metadata, output.version)
    return convert.encode_envelope(obj)


async def _rows(kind: Kind[Any], entries: Iterable[Entry], now: Instant) -> list[tuple[render.Kept, bytes]]:
    rows, made = [], 0
    for entry in entries:
        if entry.row is not None and kind is entry.kind:
            rows.append((entry.row, entry.raw))
            continue
        made += 1
        rows.append(row_of(kind, entry, now))
        if made >= AT_ONCE:
            made = 0
            await asyncio.sleep(0)
    return rows


async def _binary_list(kind: Kind[Any], entries: Iterable[Entry], output: Output, metadata: meta.ListMeta) -> bytes:
    items, made, whole = [], 0, output.form != "metadata"
    for entry in entries:
        if whole and entry.message is not None and kind is entry.kind:
            items.append(entry.message)
            continue
        made += 1
        items.append(message_of(kind, entry) if whole else _item(kind, output, entry.object()))
        if made >= AT_ONCE:
            made = 0
            await asyncio.sleep(0)
    return _envelope_of_list(kind, output, metadata, items)


def _item(kind: Kind[Any], output: Output, obj: Any) -> bytes:
    return convert.encode_list(obj.metadata) if output.form == "metadata" else convert.encode(shown(kind, obj))


def _envelope_of_list(kind: Kind[Any], output: Output, metadata: meta.ListMeta, items: Iterable[bytes]) -> bytes:
    name, api_version = kind.list_kind, kind.api_version
    if output.form == "metadata":
        name, api_version = f"{_PARTIAL}List", _META + output.version
    return convert.envelope(api_version, name, convert.encode_list(metadata, items))
