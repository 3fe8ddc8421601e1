"""Versions and stored values: what goes in comes out, and numbering never collides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.store.values import Op, Put, Remove, Require
from controlplane.store.versions import (
    expected_revision,
    first_safe,
    mark_of,
    number,
    pack,
    revision_of,
    unpack,
    version_at,
    watch_start,
)


@given(st.binary(), st.integers(0, 127))
def test_a_value_comes_back_with_its_position_and_mark(value: bytes, position: int) -> None:
    stored = pack(value, position, b"1f2e.a7")
    assert unpack(stored) == (value, position)
    assert mark_of(stored) == b"1f2e.a7"


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"{}\n", b"{}\n@", b"{}\n@5", b"{}\n@5 x", b"{}\n@128 a.1", b"a\n@-01 b"]
)
def test_a_value_written_by_hand_is_left_alone(value: bytes) -> None:
    assert unpack(value) == (value, 0)
    assert mark_of(value) == b""


def test_versions_are_revisions_with_positions() -> None:
    assert version_at(7, 127) + 1 == version_at(8, 0)
    assert revision_of(version_at(7, 127)) == revision_of(version_at(7, 0)) == 7


def test_no_version_is_taken_for_absence() -> None:
    assert expected_revision(0) == 0
    assert [expected_revision(version) for version in (1, 127, 128, 256)] == [1, 1, 1, 2]


def test_a_watch_asks_for_one_revision_more_than_it_needs() -> None:
    assert watch_start(0) == 1
    assert watch_start(version_at(9, 127)) == 9  # needs 10
    assert watch_start(version_at(9, 5)) == 8  # needs the rest of 9
    assert watch_start(first_safe(9)) == 9


operations = st.sampled_from([Put("/mizzen/a", b"", 0), Remove("/mizzen/a", 1), Require("/mizzen/a", 0)])
commits = st.lists(st.lists(operations, min_size=1, max_size=5), max_size=25)


@settings(max_examples=200)
@given(commits, st.lists(st.booleans(), min_size=25, max_size=25))
def test_numbers_are_unique_and_in_order(commits: list[list[Op]], happened: list[bool]) -> None:
    done = happened[: len(commits)]
    numbered = number([tuple(ops) for ops in commits], done, 10)
    puts = [
        n
        for ops, numbers in zip(commits, numbered, strict=True)
        for op, n in zip(ops, numbers, strict=True)
        if isinstance(op, Put) and n
    ]
    removes = [
        n
        for ops, numbers in zip(commits, numbered, strict=True)
        for op, n in zip(ops, numbers, strict=True)
        if isinstance(op, Remove) and n
    ]
    assert puts + removes == sorted({*puts, *removes})
    assert all(revision_of(n) == 10 for n in puts + removes)
    assert not removes or removes[-1] == version_at(10, 127)
    assert [not any(numbers) for numbers, ok in zip(numbered, done, strict=True) if not ok] == [True] * done.count(
        False
    )
