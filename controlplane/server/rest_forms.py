"""Bodies of answers: objects and lists, in the form and the media type that the client asked for.

Most are put together from bytes that exist already. JSON is kept with each entry from the beginning, protobuf and table
rows from when somebody first asks for them; all die with the entry. Stretches of lists are kept in `kept_lists`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from controlplane.server import rest_yaml
from controlplane.server.kept_lists import WORTH_KEEPING, KeptLists, Stretch, cut
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
    row = (render.row(what, in_table(kind, obj), raw, now), raw)
    rows = render.rows((row,), now, include=include, version=output.version)
    return text(output, rows.join(render.table(what, list_metadata=head, version=output.version)))


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


async def list_body(
    kind: Kind[Any], listing: Listing, output: Output, now: Instant, include: str, kept: KeptLists
) -> list[bytes | Stretch]:
    """A list, in parts; the stretches among them are kept."""
    metadata = meta.ListMeta(
        resource_version=str(listing.version), continue_=listing.continue_, remaining_item_count=listing.remaining
    )
    items = await _stretches(kind, listing.entries, output, now, include, kept)
    name, api_version = _list_name(kind, output)
    if output.media_type == PROTOBUF:
        return [convert.list_head(api_version, name, metadata, sum(len(one.body) for one in items)), *items]
    if output.form == "table":
        head, tail = render.table(render.what(kind), list_metadata=codec.encode_json(metadata), version=output.version)
    else:
        head, tail = _around_items(name, api_version, metadata)
    parts: list[bytes | Stretch] = [head]
    for number, one in enumerate(items):
        parts += (one,) if not number else (b",", one)
    parts.append(tail)
    return [text(output, joined(parts))] if output.pretty or output.media_type == YAML else parts


def joined(parts: Iterable[bytes | Stretch]) -> bytes:
    """The parts of a body as one."""
    return b"".join(part if isinstance(part, bytes) else part.body for part in parts)


async def _stretches(
    kind: Kind[Any], entries: Sequence[Entry], output: Output, now: Instant, include: str, kept: KeptLists
) -> list[Stretch]:
    """The items of a list."""
    # What is shown of users' kinds, or in another form than it is stored in, changes with more than the entries.
    keeping = kind.stored and not isinstance(kind, CustomKind)
    form = (kind.resource, output.media_type, output.form, output.version, include)
    found = []
    for part in cut(list(entries)):
        worth = keeping and len(part) >= WORTH_KEEPING
        stretch = kept.find(form, part, now) if worth else None
        if stretch is None:
            stretch, lasting = await _stretch(kind, part, output, now, include)
            if worth and lasting:
                kept.keep(form, stretch)
        found.append(stretch)
    return found


async def _stretch(
    kind: Kind[Any], entries: Sequence[Entry], output: Output, now: Instant, include: str
) -> tuple[Stretch, bool]:
    """Some items of a list, and whether they may be kept."""
    if output.media_type == PROTOBUF:
        return Stretch(entries, convert.encode_items(await _messages(kind, entries, output))), True
    if output.form == "table":
        rows = await _rows(kind, entries, now)
        body = render.rows(rows, now, include=include, version=output.version)
        return Stretch(entries, body, render.true_until(rows, now)), all(entry.row is not None for entry in entries)
    raws = [entry.raw for entry in entries] if kind.stored else [shown_raw(kind, entry) for entry in entries]
    if output.form == "metadata":
        raws = [render.partial(raw, output.version) for raw in raws]
    return Stretch(entries, b",".join(raws)), True


def objects_body(
    registry: Registry, kind: Kind[Any], output: Output, metadata: meta.ListMeta, objects: Sequence[Any]
) -> bytes:
    """A list of objects that are not all in the cache any more. It is never a table."""
    name, api_version = _list_name(kind, output)
    if output.media_type == PROTOBUF:
        items = convert.encode_items(_item(kind, output, obj) for obj in objects)
        return convert.list_head(api_version, name, metadata, len(items)) + items
    raws = (raw_of(registry, kind, obj) for obj in objects)
    shown_as = (render.partial(raw, output.version) for raw in raws) if output.form == "metadata" else raws
    return text(output, b",".join(shown_as).join(_around_items(name, api_version, metadata)))


def _around_items(name: str, api_version: str, metadata: meta.ListMeta) -> tuple[bytes, bytes]:
    """What stands before and behind the items in the JSON of a list."""
    head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":['
    return head % (name.encode(), api_version.encode(), codec.encode_json(metadata)), b"]}"


def _list_name(kind: Kind[Any], output: Output) -> tuple[str, str]:
    """The kind and the version of a list of objects, whole or their metadata alone."""
    if output.form == "metadata":
        return f"{_PARTIAL}List", _META + output.version
    return kind.list_kind, kind.api_version


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


async def _messages(kind: Kind[Any], entries: Iterable[Entry], output: Output) -> list[bytes]:
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
    return items


def _item(kind: Kind[Any], output: Output, obj: Any) -> bytes:
    return convert.encode_list(obj.metadata) if output.form == "metadata" else convert.encode(shown(kind, obj))
