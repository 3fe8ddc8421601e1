"""Watches and ranges: versions everybody agrees on, resumption anywhere, compaction, broken connections."""

from __future__ import annotations

import asyncio
import random

import pytest

from controlplane.store.port import (
    Committed,
    Compacted,
    EventType,
    FutureVersion,
    Op,
    Put,
    Record,
    Remove,
    Store,
    WatchEvent,
    end_of,
)
from tests.conformance.store.harness import Backend
from tests.conformance.store.watching import collecting, events_since, state_after


async def mixed_batch(store: Store, space: str) -> tuple[int, ...]:
    """Make one transaction of puts and removals and return its versions in the order of the operations."""
    old = await store.commit(tuple(Put(f"{space}old{n}", b"o", 0) for n in range(3)))
    assert isinstance(old, Committed)
    ops: list[Op] = [Remove(f"{space}old{n}", old.versions[n]) for n in range(3)]
    ops[1:1] = [Put(f"{space}new{n}", b"n", 0) for n in range(3)]
    done = await store.commit(tuple(ops))
    assert isinstance(done, Committed)
    return done.versions


async def test_a_watch_resumes_in_the_middle_of_a_transaction(store: Store, space: str) -> None:
    versions = await mixed_batch(store, space)
    await store.commit((Put(space + "later", b"l", 0),))
    in_order = sorted(versions)
    assert len(set(in_order)) == 6
    for n, version in enumerate(in_order):
        events = await events_since(store, space, version)
        assert [event.version for event in events[:-1]] == in_order[n + 1 :]
        assert events[-1].key == space + "later"


async def test_events_carry_what_happened(store: Store, space: str) -> None:
    start = await store.current()
    key = space + "a"
    made = await store.commit((Put(key, b"1", 0),))
    assert isinstance(made, Committed)
    changed = await store.commit((Put(key, b"2", made.version),))
    assert isinstance(changed, Committed)
    gone = await store.commit((Remove(key, changed.version),))
    assert isinstance(gone, Committed)
    assert await events_since(store, space, start) == [
        WatchEvent(EventType.PUT, key, b"1", made.version, None),
        WatchEvent(EventType.PUT, key, b"2", changed.version, Record(key, b"1", made.version)),
        WatchEvent(EventType.DELETE, key, b"", gone.version, Record(key, b"2", changed.version)),
    ]


async def test_a_watch_sees_only_its_prefix_but_advances_with_everything(store: Store, space: str) -> None:
    start = await store.current()
    async with collecting(store, space + "in/", start) as collector:
        await store.commit((Put(space + "in/a", b"1", 0),))
        outside = await store.commit((Put(space + "out", b"1", 0), Put(space + "in", b"1", 0)))
        assert isinstance(outside, Committed)
        events = await collector.reached(outside.version)
    assert [event.key for event in events] == [space + "in/a"]


async def test_a_watch_from_the_future_skips_what_comes_before(store: Store, space: str) -> None:
    later = await store.current() + 2 * 128
    async with collecting(store, space, later) as collector:
        for n in range(4):
            await store.commit((Put(f"{space}{n}", b"1", 0),))
        events = await collector.reached(await store.current())
    assert [event.key for event in events] == [f"{space}2", f"{space}3"]


async def writer(store: Store, space: str, seed: int, versions: dict[int, str], rounds: int = 60) -> None:
    """Create, change and remove a few keys of its own, noting the version of everything that it did."""
    choose = random.Random(seed)
    held: dict[str, int] = {}
    for _ in range(rounds):
        ops: list[Op] = []
        for key in choose.sample([f"{space}{seed}-{n}" for n in range(5)], choose.choice((1, 1, 1, 2, 3))):
            gone = key in held and choose.random() < 0.5
            ops.append(Remove(key, held[key]) if gone else Put(key, b"%d" % choose.randrange(99), held.get(key, 0)))
        outcome = await store.commit(tuple(ops))
        assert isinstance(outcome, Committed)
        for op, version in zip(ops, outcome.versions, strict=True):
            assert version not in versions
            versions[version] = op.key
            held.pop(op.key, None)
            if isinstance(op, Put):
                held[op.key] = version


async def test_writers_watchers_and_readers_agree_on_every_version(backend: Backend, space: str) -> None:
    stores = [await backend.open(), await backend.open()]
    start = await stores[0].current()
    versions: dict[int, str] = {}
    async with collecting(stores[1], space, start) as collector:
        await asyncio.gather(*(writer(stores[seed % 2], space, seed, versions) for seed in range(16)))
        seen = await collector.reached(await stores[0].current())
    assert {event.version: event.key for event in seen} == versions
    page = await stores[0].range(space)
    assert {record.key: (record.value, record.version) for record in page.records} == state_after(seen)
    assert await events_since(stores[0], space, start) == seen


async def test_broken_connections_lose_and_double_nothing(backend: Backend, store: Store, space: str) -> None:
    start = await store.current()
    versions: dict[int, str] = {}

    async with collecting(store, space, start) as collector:

        async def disturb() -> None:
            for events in (10, 50, 51, 100, 180):
                await collector.received(events)
                await backend.reset()

        await asyncio.gather(disturb(), *(writer(store, space, seed, versions, 30) for seed in range(6)))
        seen = await collector.reached(await store.current())
    assert {event.version: event.key for event in seen} == versions


async def test_compaction_spares_a_watch_that_keeps_up(store: Store, space: str) -> None:
    start = await store.current()
    async with collecting(store, space, start) as collector:
        for n in range(10):
            await store.commit((Put(f"{space}{n}", b"1", 0),))
            await collector.reached(await store.current())
            await store.compact(await store.current())
        events = await collector.reached(await store.current())
    assert [event.key for event in events] == [f"{space}{n}" for n in range(10)]


async def test_history_from_before_a_compaction_is_gone(store: Store, space: str) -> None:
    early = await store.current()
    versions = await mixed_batch(store, space)
    compacted_at = await store.current()
    await store.compact(versions[0])
    await store.compact(early)  # older: nothing happens
    await store.commit((Put(space + "later", b"l", 0),))

    for version in (early, *versions):  # in the middle of the compacted transaction as well: its deletes are gone
        if version == compacted_at:
            continue
        with pytest.raises(Compacted) as raised:
            await anext(store.watch(space, version))
        assert raised.value.oldest == compacted_at
    with pytest.raises(Compacted):
        await store.range(space, version=early)

    assert [event.key for event in await events_since(store, space, compacted_at)] == [space + "later"]
    page = await store.range(space, version=compacted_at)
    assert [record.key for record in page.records] == [f"{space}new{n}" for n in range(3)]


async def test_a_watch_over_a_compaction_it_slept_through(backend: Backend, space: str) -> None:
    sleeper, other = await backend.open(), await backend.open()
    start = await other.current()
    watch = sleeper.watch(space, start)
    await other.commit((Put(space + "0", b"1", 0),))
    first = await anext(watch)
    assert [event.key for event in first.events] == [space + "0"]
    for n in range(1, 30):
        await other.commit((Put(f"{space}{n}", b"1", 0),))
    await backend.reset()
    await other.compact(await other.current())
    keys: list[str] = []
    with pytest.raises(Compacted):
        while True:
            keys += [event.key for event in (await asyncio.wait_for(anext(watch), 10)).events]
            if keys == [f"{space}{n}" for n in range(1, 30)]:
                raise Compacted(0)  # it had received all before the connection broke: just as good
    assert keys == [f"{space}{n}" for n in range(1, 1 + len(keys))]


async def test_pages_show_one_version_while_writes_go_on(store: Store, space: str) -> None:
    made = await asyncio.gather(*(store.commit((Put(f"{space}{n:02}", b"old", 0),)) for n in range(25)))
    expected = [
        Record(f"{space}{n:02}", b"old", outcome.version)
        for n, outcome in enumerate(made)
        if isinstance(outcome, Committed)
    ]
    page = await store.range(space, limit=10)
    found = list(page.records)
    assert page.remaining == 15
    rest = []
    while page.remaining:
        await store.commit((Put(f"{space}{len(found):02}", b"new", expected[len(found)].version),))
        await store.commit((Remove(f"{space}{len(found) + 1:02}", expected[len(found) + 1].version),))
        await store.commit((Put(f"{space}{len(found) + 1:02}x", b"new", 0),))
        page = await store.range(space, start_after=found[-1].key, limit=10, version=page.version)
        rest.append(page.remaining)
        found += page.records
    assert found == expected
    assert rest == [5, 0]
    changed = [event.key for event in await events_since(store, space, page.version)]
    assert changed == [f"{space}{n}" for n in ("10", "11", "11x", "20", "21", "21x")]


async def test_ranges_keep_to_their_prefix(store: Store, space: str) -> None:
    keys = [space + name for name in ("a", "a/1", "a/2", "ab", "b")]
    await store.commit(tuple(Put(key, b"", 0) for key in keys))
    assert [record.key for record in (await store.range(space + "a/")).records] == keys[1:3]
    assert [record.key for record in (await store.range(space + "a")).records] == keys[:4]
    assert [record.key for record in (await store.range(space, start_after=keys[1])).records] == keys[2:]
    assert (await store.range(space + "c")).records == ()
    assert (await store.range(space, limit=5)).remaining == 0


async def test_a_page_of_the_future_is_refused(store: Store, space: str) -> None:
    later = end_of(await store.current() + 1_000_000)
    with pytest.raises(FutureVersion):
        await store.range(space, version=later)
    with pytest.raises(FutureVersion):
        await store.compact(later)


async def test_many_watches_see_the_same(store: Store, space: str) -> None:
    start = await store.current()
    async with (
        collecting(store, space, start) as one,
        collecting(store, space, start) as two,
        collecting(store, space, start) as three,
    ):
        await writer(store, space, 1, {})
        now = await store.current()
        assert await one.reached(now) == await two.reached(now) == await three.reached(now)
