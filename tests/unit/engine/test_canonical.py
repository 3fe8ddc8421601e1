"""Objects as bytes: the version is put in without decoding, and nothing else changes."""

from __future__ import annotations

import msgspec
import pytest

from mizzen.api import kinds
from mizzen.engine import canonical
from tests.unit.engine.objects import pod


def test_stamped_bytes_are_the_object_with_its_version() -> None:
    given = pod("a", node="n1", owners=("o",))
    raw = canonical.stamp(kinds.POD, canonical.rest(given), 1234)
    assert canonical.decode(kinds.POD, raw) == canonical.at_version(given, 1234)


def test_resting_bytes_carry_no_version() -> None:
    assert canonical.rest(pod("a", version=77)) == canonical.rest(pod("a"))
    assert b"resourceVersion" not in canonical.rest(pod("a", version=77))


def test_another_version_replaces_the_first() -> None:
    raw = canonical.stamp(kinds.POD, canonical.rest(pod("a")), 9)
    assert canonical.restamp(kinds.POD, raw, 12345) == canonical.stamp(kinds.POD, canonical.rest(pod("a")), 12345)


@pytest.mark.parametrize(
    "value",
    [
        b'{"metadata":{"name":"a","namespace":"default"},"kind":"Pod","apiVersion":"v1"}',
        b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","resourceVersion":"5","namespace":"default"}}',
        b'{"apiVersion":"v1","kind":"Pod","metadata":{ "name":"a","namespace":"default"},"spec":{}}',
    ],
)
def test_bytes_written_by_hand_are_stamped_too(value: bytes) -> None:
    read = canonical.decode(kinds.POD, canonical.stamp(kinds.POD, value, 8))
    assert (read.metadata.name, read.metadata.namespace, read.metadata.resource_version) == ("a", "default", "8")


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        canonical.stamp(kinds.POD, b"{", 1)
