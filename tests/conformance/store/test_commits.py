"""Commits: preconditions, all or nothing, grouping, and what is known after an answer was lost."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.store.port import (
    Closed,
    Committed,
    Conflict,
    Put,
    Record,
    Remove,
    Require,
    Store,
    Unavailable,
    UnknownOutcome,
    end_of,
)
from tests.conformance.store.harness import Backend


async def put(store: Store, key: str, value: bytes = b"v", expect: int = 0) -> int:
    """Commit one put that must succeed and return its version."""
    outcome = await store.commit((Put(key, value, expect),))
    assert isinstance(outcome, Committed)
    return outcome.version


async def test_a_key_lives_from_create_to_recreate(store: Store, space: str) -> None:
    key = space + "a"
    first = await put(store, key, b"one")
    assert await store.get(key) == Record(key, b"one", first)

    second = await put(store, key, b"two", first)
    assert second > first
    assert await store.get(key) == Record(key, b"two", second)

    removed = await store.commit((Remove(key, second),))
    assert isinstance(removed, Committed)
    assert removed.version > second
    assert await store.get(key) is None

    again = await put(store, key, b"three")
    assert again > removed.version


async def test_a_wrong_expectation_is_a_conflict_that_shows_what_is_there(store: Store, space: str) -> None:
    key = space + "a"
    assert await store.commit((Put(key, b"x", 12345),)) == Conflict(key, None)
    assert await store.commit((Remove(key, 12345),)) == Conflict(key, None)
    assert await store.commit((Put(key, b"x", 1),)) == Conflict(key, None)
    assert await store.commit((Remove(key, 1),)) == Conflict(key, None)

    first = await put(store, key, b"one")
    assert await store.commit((Put(key, b"x", 0),)) == Conflict(key, Record(key, b"one", first))

    second = await put(store, key, b"two", first)
    stale = Conflict(key, Record(key, b"two", second))
    assert await store.commit((Put(key, b"x", first),)) == stale
    assert await store.commit((Remove(key, first),)) == stale
    assert await store.commit((Require(key, first), Put(space + "b", b"x", 0))) == stale
    assert await store.get(space + "b") is None


async def test_a_requirement_changes_nothing(store: Store, space: str) -> None:
    key = space + "a"
    version = await put(store, key)
    outcome = await store.commit((Require(key, version), Require(space + "none", 0)))
    assert outcome == Committed((0, 0))
    assert outcome.version == 0
    assert await store.get(key) == Record(key, b"v", version)


async def test_a_commit_is_all_or_nothing(store: Store, space: str) -> None:
    keys = [f"{space}{n}" for n in range(4)]
    made = await store.commit(tuple(Put(key, b"1", 0) for key in keys[:3]))
    assert isinstance(made, Committed)
    assert len(set(made.versions)) == 3

    refused = await store.commit((Put(keys[3], b"2", 0), Remove(keys[0], made.versions[0]), Put(keys[1], b"2", 0)))
    assert refused == Conflict(keys[1], Record(keys[1], b"1", made.versions[1]))
    assert [record.value for record in (await store.range(space)).records] == [b"1"] * 3

    done = await store.commit((Put(keys[3], b"2", 0), Remove(keys[0], made.versions[0])))
    assert isinstance(done, Committed)
    assert end_of(done.versions[0]) == end_of(done.versions[1])
    assert done.versions[1] > done.versions[0]
    assert [record.key for record in (await store.range(space)).records] == keys[1:]


async def test_each_of_many_commits_at_once_has_its_own_outcome(store: Store, space: str) -> None:
    taken = await put(store, f"{space}7", b"first")
    outcomes = await asyncio.gather(*(store.commit((Put(f"{space}{n}", b"x", 0),)) for n in range(20)))
    assert outcomes[7] == Conflict(f"{space}7", Record(f"{space}7", b"first", taken))
    made = [outcome.version for outcome in outcomes if isinstance(outcome, Committed)]
    assert len(set(made)) == 19


async def test_of_commits_at_once_for_one_key_one_wins(store: Store, space: str) -> None:
    outcomes = await asyncio.gather(*(store.commit((Put(space + "a", b"%d" % n, 0),)) for n in range(10)))
    winners = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Committed)]
    record = await store.get(space + "a")
    assert record is not None
    assert [b"%d" % n for n in winners] == [record.value]


async def test_commits_that_require_what_the_other_writes_do_not_both_happen(store: Store, space: str) -> None:
    one = store.commit((Require(space + "b", 0), Put(space + "a", b"1", 0)))
    other = store.commit((Require(space + "a", 0), Put(space + "b", b"1", 0)))
    outcomes = await asyncio.gather(one, other)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Conflict"]


async def test_a_thousand_commits_at_once(store: Store, space: str) -> None:
    outcomes = await asyncio.gather(*(store.commit((Put(f"{space}{n:04}", b"x" * 200, 0),)) for n in range(1000)))
    versions = {f"{space}{n:04}": made.version for n, made in enumerate(outcomes) if isinstance(made, Committed)}
    assert len(set(versions.values())) == 1000
    page = await store.range(space)
    assert {record.key: record.version for record in page.records} == versions


async def test_the_largest_commit(store: Store, space: str) -> None:
    made = await store.commit(tuple(Put(f"{space}{n:03}", b"x" * 2000, 0) for n in range(100)))
    assert isinstance(made, Committed)
    ops = [Remove(f"{space}{n:03}", version) for n, version in enumerate(made.versions)]
    gone = await store.commit(tuple(ops))
    assert isinstance(gone, Committed)
    assert list(gone.versions) == sorted(set(gone.versions))
    assert (await store.range(space)).records == ()


async def test_many_bytes_at_once(store: Store, space: str) -> None:
    value = bytes(range(256)) * 400
    outcomes = await asyncio.gather(*(store.commit((Put(f"{space}{n:02}", value, 0),)) for n in range(40)))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert all(record.value == value for record in (await store.range(space)).records)


@pytest.mark.parametrize("value", [b"", b"\n", b"\n@5 x.1", b"{}\n@", bytes(range(256))])
async def test_values_come_back_as_they_were(store: Store, space: str, value: bytes) -> None:
    await put(store, space + "a", value)
    record = await store.get(space + "a")
    assert record is not None
    assert record.value == value


@pytest.mark.parametrize(
    "ops",
    [
        (),
        (Put("/elsewhere/a", b"", 0),),
        (Remove("/mizzen/a", 0),),
        (Put("/mizzen/a", b"", -1),),
        (Put("/mizzen/a", b"", 0), Require("/mizzen/a", 0)),
        tuple(Put(f"/mizzen/{n}", b"", 0) for n in range(101)),
    ],
)
async def test_senseless_commits_are_refused(store: Store, ops: tuple[Put | Remove | Require, ...]) -> None:
    with pytest.raises(ValueError, match=r"commit|key|expect"):
        await store.commit(ops)


async def test_a_lost_answer_never_hides_a_commit(backend: Backend, store: Store, space: str) -> None:
    """Either the outcome is told truly, or it is called unknown and reading shows it."""
    key = space + "a"
    await backend.lose_answer()
    try:
        outcome = await store.commit((Put(key, b"x", 0),))
    except UnknownOutcome:
        outcome = None
    record = await store.get(key)
    assert record is not None
    assert outcome in (None, Committed((record.version,)))


async def test_a_store_that_hangs_beyond_the_deadline(backend: Backend, store: Store, space: str) -> None:
    await put(store, space + "before")
    await backend.freeze()
    with pytest.raises((UnknownOutcome, Unavailable)) as raised:
        await store.commit((Put(space + "a", b"x", 0),), deadline_s=0.3)
    assert raised.value.retryable is isinstance(raised.value, Unavailable)
    await backend.thaw()
    after = await store.commit((Put(space + "a", b"y", 0),))
    record = await store.get(space + "a")
    assert record is not None
    assert record.value == (b"y" if isinstance(after, Committed) else b"x")


async def test_a_closed_store_says_so(backend: Backend, store: Store, space: str) -> None:
    await store.close()
    await store.close()
    with pytest.raises(Closed):
        await store.commit((Put(space + "a", b"x", 0),))
    with pytest.raises(Closed):
        await store.get(space + "a")
    with pytest.raises(Closed):
        await anext(store.watch(space, 0))
