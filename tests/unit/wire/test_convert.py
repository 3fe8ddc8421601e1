"""What arrives in a `google.protobuf.Any`: read, or refused in a way that the sender understands."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.api.core.v1 import core_pb2

POD = convert.TYPE_URL + "core.v1.Pod"


def pod(**metadata: int) -> core_pb2.Pod:
    """A pod that was created at some time."""
    made = core_pb2.Pod()
    for name, value in metadata.items():
        setattr(made.metadata.creation_timestamp, name, value)
    return made


def test_there_and_back() -> None:
    made = core.Pod(
        metadata=meta.ObjectMeta(name="web", labels={"a": "b"}, creation_timestamp="2026-03-01T12:00:00Z"),
        spec=core.PodSpec(containers=(core.Container(name="c", image="i"),), termination_grace_period_seconds=0),
    )
    packed = convert.to_any(made)
    assert packed.type_url == POD
    assert convert.from_any(packed) == made


@pytest.mark.parametrize(
    "url",
    ["", "x", "core.v1.Pod", "type.googleapis.com/google.protobuf.Any", convert.TYPE_URL]
    + [
        convert.TYPE_URL + name
        for name in ("Pod", "core.v1.", "core.v1.Nope", "x.v1.Pod", "core.v1.Pod.x", "..", "os.path.join")
    ],
)
def test_types_that_there_are_not(url: str) -> None:
    with pytest.raises(convert.BadMessage):
        convert.from_any(AnyMessage(type_url=url))


def test_bytes_that_are_no_object() -> None:
    fields = pod()
    fields.metadata.managed_fields.add().fields_v1.raw = b"{"
    for data in (
        b"\xff\xff",
        b"\x0a\x05",
        pod(seconds=2**60).SerializeToString(),
        pod(seconds=-(2**62)).SerializeToString(),
        fields.SerializeToString(),
    ):
        with pytest.raises(convert.BadMessage, match=r"the bytes are not a core_v1\.Pod"):
            convert.from_any(AnyMessage(type_url=POD, value=data))


def test_old_times_have_four_digits_too() -> None:
    data = pod(seconds=-62135596800, nanos=1).SerializeToString()
    found = convert.from_any(AnyMessage(type_url=POD, value=data))
    assert found.metadata.creation_timestamp == "0001-01-01T00:00:00Z"
