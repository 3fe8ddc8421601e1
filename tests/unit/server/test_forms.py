"""Bodies from entries: made once, the same for REST and gRPC, and gone with the entry."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.server import rest_forms
from controlplane.server.grpc_objects import packed, packed_entry
from controlplane.server.negotiate import PROTOBUF, YAML, Output
from controlplane.server.verbs_read import Listing
from mizzen.api import codec, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Entry
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.api import scalars_pb2
from mizzen.wire.gen.mizzen.api.core.v1 import core_pb2

BINARY = Output(media_type=PROTOBUF)


def entry(name: str = "a", version: int = 7) -> Entry:
    obj = core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="shop", resource_version=str(version)))
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
    body = await rest_forms.list_body(kinds.CONFIG_MAP, Listing(entries, 9, "t", 4), BINARY, 0, "")
    unknown = scalars_pb2.Unknown.FromString(body.removeprefix(convert.MAGIC))
    listed = core_pb2.ConfigMapList.FromString(unknown.raw)
    assert [item.metadata.name for item in listed.items] == ["a", "b", "c"]
    assert (listed.metadata.resource_version, listed.metadata.remaining_item_count) == ("9", 4)
    assert all(one.message for one in entries)


def test_a_long_answer_in_yaml_is_json() -> None:
    short, long = b'{"a":["b"]}', b'{"a":"%b"}' % (b"x" * 100_000)
    assert rest_forms.text(Output(media_type=YAML), short) == b"a:\n- b\n"
    assert rest_forms.text(Output(media_type=YAML), long) == long
    assert rest_forms.text(Output(pretty=True), short) == b'{\n  "a": [\n    "b"\n  ]\n}\n'
