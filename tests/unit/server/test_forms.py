"""Bodies from entries: made once, the same for REST and gRPC, and gone with the entry."""

from __future__ import annotations

import gzip
import zlib
from random import Random

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.server import kept_lists, packing, rest_forms
from controlplane.server.grpc_objects import packed, packed_entry
from controlplane.server.kept_lists import STRETCH, KeptLists, Stretch
from controlplane.server.negotiate import PROTOBUF, YAML, Output
from controlplane.server.tables.model import duration, steady_s
from controlplane.server.verbs_read import Listing
from mizzen.api import codec, kinds, times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Entry
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.api import scalars_pb2
from mizzen.wire.gen.mizzen.api.core.v1 import core_pb2

BINARY = Output(media_type=PROTOBUF)


def entry(name: str = "a", version: int = 7) -> Entry:
    created = times.render(1000 * (version % 500))
    metadata = meta.ObjectMeta(name=name, namespace="shop", resource_version=str(version), creation_timestamp=created)
    obj = core.ConfigMap(metadata=metadata)
    return Entry(kinds.CONFIG_MAP, "shop", name, version, codec.encode_json(obj))


def test_the_bytes_are_made_once() -> None:
    one = entry()
    first = rest_forms.message_of(kinds.CONFIG_MAP, one)
    assert rest_forms.message_of(kinds.CONFIG_MAP, one) is first
    assert one.message is first
    assert core_pb2.ConfigMap.FromString(first).metadata.resource_version == "7"
    assert rest_forms.message_of(kinds.CONFIG_MAP, entry(version=8)) != first


def test_both_servers_use_the_same_bytes() -> None:
    one = entry()
    made = packed_entry(kinds.CONFIG_MAP, one)
    assert made == packed(kinds.CONFIG_MAP, one.object())
    assert rest_forms.message_of(kinds.CONFIG_MAP, one) is one.message
    again = packed_entry(kinds.CONFIG_MAP, one)
    assert (again, again.value) == (made, one.message)
    assert isinstance(again, AnyMessage)


def test_what_is_shown_as_another_kind_is_not_kept() -> None:
    obj = core.Event(metadata=meta.ObjectMeta(name="e", namespace="shop"), message="m")
    one = Entry(kinds.EVENT, "shop", "e", 1, codec.encode_json(obj))
    shown = convert.from_any(packed_entry(kinds.EVENTS_EVENT, one))
    assert (shown.api_version, shown.note) == ("events.k8s.io/v1", "m")
    assert rest_forms.message_of(kinds.EVENTS_EVENT, one)
    assert one.message is None
    assert convert.from_any(packed_entry(kinds.EVENT, one)).message == "m"


async def test_a_list_is_put_together_from_entries() -> None:
    entries = [entry(name, number) for number, name in enumerate("abc", 1)]
    body = await rest_forms.list_body(kinds.CONFIG_MAP, Listing(entries, 9, "t", 4), BINARY, 0, "", KeptLists())
    unknown = scalars_pb2.Unknown.FromString(rest_forms.joined(body).removeprefix(convert.MAGIC))
    listed = core_pb2.ConfigMapList.FromString(unknown.raw)
    assert [item.metadata.name for item in listed.items] == ["a", "b", "c"]
    assert (listed.metadata.resource_version, listed.metadata.remaining_item_count) == ("9", 4)
    assert all(one.message for one in entries)


FORMS = [
    Output(), Output(form="metadata", version="v1"), Output(form="table", version="v1"), BINARY,
    Output(media_type=PROTOBUF, form="metadata", version="v1"),
]  # fmt: skip


@pytest.mark.parametrize("output", FORMS, ids=str)
async def test_kept_stretches_of_lists_say_what_new_ones_would(output: Output) -> None:
    """Whatever changes in between: objects, their number, the time."""
    random, kept, now = Random(1), KeptLists(), 1_000_000
    entries = [entry(f"n{number:04}", number) for number in range(1, 3 * STRETCH)]
    for version in range(40):
        place = random.randrange(len(entries))
        match random.randrange(4):
            case 0:
                entries[place] = entry(entries[place].name, 10_000 + version)
            case 1:
                del entries[place]
            case 2:
                entries.insert(place, entry(f"m{version}", 20_000 + version))
            case 3:
                now += random.choice((10, 900, 61_000, 4_000_000, 90_000_000))
        listing = Listing(tuple(entries), version)
        again = await rest_forms.list_body(kinds.CONFIG_MAP, listing, output, now, "Metadata", kept)
        anew = await rest_forms.list_body(kinds.CONFIG_MAP, listing, output, now, "Metadata", KeptLists())
        assert rest_forms.joined(again) == rest_forms.joined(anew)


async def test_a_change_costs_one_stretch() -> None:
    kept = KeptLists()
    entries = [entry(f"n{number:04}", number) for number in range(1, 3 * STRETCH)]
    await rest_forms.list_body(kinds.CONFIG_MAP, Listing(entries, 1), BINARY, 0, "", kept)
    for one in entries:
        one.message = None
    entries[STRETCH] = entry("changed", 999)
    await rest_forms.list_body(kinds.CONFIG_MAP, Listing(entries, 2), BINARY, 0, "", kept)
    assert sum(one.message is not None for one in entries) == STRETCH


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_lists, "KEPT_BYTES", 100)
    kept, parts = KeptLists(), [[entry(name)] for name in "abc"]

    def found() -> list[bytes | None]:
        return [one.body if (one := kept.find("f", part, 0)) is not None else None for part in parts]

    for part in parts:
        kept.keep("f", Stretch(part, b"x" * 40))
    assert found() == [None, b"x" * 40, b"x" * 40]
    kept.keep("f", Stretch(parts[1], b"y" * 40))
    assert found() == [None, b"y" * 40, b"x" * 40]
    assert kept.find("g", parts[1], 0) is None


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (5, 0, 70_000), (128 * 1024, 3, 1, 2**20)])
def test_packed_parts_are_one_stream(sizes: tuple[int, ...]) -> None:
    random = Random(len(sizes))
    parts = [bytes(random.choices(b"abc,", k=size)) for size in sizes]
    body = packing.together(map(packing.packed, parts))
    assert gzip.decompress(body) == b"".join(parts)
    assert zlib.decompressobj(wbits=31).decompress(body) == b"".join(parts), "for readers of one stream, too"


@pytest.mark.parametrize(
    "seconds", [-5, 0, 119, 120, 599, 600, 10_799, 10_800, 28_799, 28_800, 172_799, 172_800, 10**6, 10**8]
)
def test_ages_read_the_same_as_long_as_is_said(seconds: int) -> None:
    shown = {duration(1000 * (seconds + more)) for more in range(steady_s(seconds))}
    assert len(shown) == 1


def test_a_long_answer_in_yaml_is_json() -> None:
    short, long = b'{"a":["b"]}', b'{"a":"%b"}' % (b"x" * 100_000)
    assert rest_forms.text(Output(media_type=YAML), short) == b"a:\n- b\n"
    assert rest_forms.text(Output(media_type=YAML), long) == long
    assert rest_forms.text(Output(pretty=True), short) == b'{\n  "a": [\n    "b"\n  ]\n}\n'
