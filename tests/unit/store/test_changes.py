"""Events become changes with versions, whatever the order in which a transaction carried them out."""

from __future__ import annotations

from typing import Any

from aetcd.rpc import kv_pb2

from controlplane.store.changes import read_changes
from controlplane.store.versions import pack, version_at


def put(revision: int, position: int) -> Any:
    value = pack(b"v", position, b"m.1")
    return kv_pb2.Event(type="PUT", kv=kv_pb2.KeyValue(key=b"/mizzen/p", value=value, mod_revision=revision))


def delete(revision: int) -> Any:
    return kv_pb2.Event(type="DELETE", kv=kv_pb2.KeyValue(key=b"/mizzen/d", mod_revision=revision))


def versions(*events: Any) -> list[tuple[int, int]]:
    """Return revision and position of the changes."""
    return [divmod(change.version, 128) for change in read_changes(events)]


def test_deletes_come_after_puts_and_are_numbered_back_from_the_end() -> None:
    assert versions(delete(7), put(7, 0), delete(7), put(7, 3), delete(7)) == [
        (7, 0), (7, 3), (7, 125), (7, 126), (7, 127),
    ]  # fmt: skip


def test_each_revision_is_numbered_by_itself() -> None:
    assert versions(put(7, 2), delete(7), delete(8), delete(9), delete(9)) == [
        (7, 2), (7, 127), (8, 127), (9, 126), (9, 127),
    ]  # fmt: skip


def test_deleting_by_hand_more_than_fits_never_leaves_the_revision() -> None:
    found = [change.version for change in read_changes([delete(7) for _ in range(200)])]
    assert found == sorted(found)
    assert found[0] == version_at(7, 0)
    assert found[-1] == version_at(7, 127)


def test_a_value_written_by_hand_is_at_position_zero() -> None:
    event = kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"/mizzen/h", value=b"{}\n", mod_revision=9))
    (change,) = read_changes([event])
    assert change.version == version_at(9, 0)
    assert change.value == b"{}\n"
