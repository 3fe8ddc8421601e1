"""Changes: told once, in order, from any version that is still known, also after trouble with the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from controlplane.store import history
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.api.errors import ApiError, Expired, Timeout
from mizzen.engine.entry import Change
from tests.conformance.registry.harness import DEADLINE_S, Registries, Stumbling, config, told, until, version_of

CONFIGS = kinds.CONFIG_MAP


async def test_a_watch_tells_what_happened_since_its_version(registries: Registries) -> None:
    registry = await registries.open()
    first = await registry.create(config("a", key="1"))
    second = await registry.update(replace(first, data={"key": "2"}), version_of(first))
    third = await registry.delete(CONFIGS, "default", "a", version_of(second))
    await registry.fresh()
    changes = await until(registry.watch(CONFIGS, "", version_of(first)), version_of(third))
    assert [told(change) for change in changes] == [
        ("MODIFIED", "a", version_of(second)),
        ("DELETED", "a", version_of(third)),
    ]
    assert changes[0].previous is not None
    assert changes[0].previous.object() == first
    assert changes[1].entry.object() == third


async def test_a_watch_from_an_own_write_does_not_tell_it_again(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a"))
    watcher = registry.watch(CONFIGS, "", version_of(created))
    later = await registry.create(config("b"))
    assert [told(change)[1] for change in await until(watcher, version_of(later))] == ["b"]


async def test_a_watch_of_one_namespace_tells_of_that_alone(registries: Registries) -> None:
    registry = await registries.open()
    watcher = registry.watch(CONFIGS, "here", 0)
    await registry.create(config("a", "there"))
    last = await registry.create(config("b", "here"))
    assert [told(change)[1] for change in await until(watcher, version_of(last))] == ["b"]


async def test_without_changes_a_watch_still_moves_on(registries: Registries) -> None:
    registry = await registries.open()
    watcher = registry.watch(CONFIGS, "", 0)
    version = version_of(await registry.create(config("a", "elsewhere")))
    other = registry.watch(CONFIGS, "here", 0)
    await registry.fresh()
    news = await other.next(0.01)
    assert (news.changes, news.version >= version) == ((), True)
    assert len(await until(watcher, version)) == 1


async def test_a_slow_watch_is_ended(registries: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_CHANGES", 3)
    registry = await registries.open()
    slow, quick = registry.watch(CONFIGS, "", 0), registry.watch(CONFIGS, "", 0)
    first = await registry.create(config("n0"))
    for number in range(1, 5):
        created = await registry.create(config(f"n{number}"))
        await until(quick, version_of(created))
    with pytest.raises(Expired):
        slow.ready()
    with pytest.raises(Expired):
        registry.watch(CONFIGS, "", version_of(first) - 1)
    assert len(registry.watch(CONFIGS, "", version_of(created) - 1).ready().changes) == 1


async def test_a_window_is_bounded_in_bytes(registries: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_BYTES", 1500)
    monkeypatch.setattr(history, "FORGET", 1)
    registry = await registries.open()
    watcher = registry.watch(CONFIGS, "", 0)
    for number in range(4):
        await registry.create(config(f"n{number}", key="x" * 1000))
    await registry.fresh()
    with pytest.raises(Expired):
        watcher.ready()


async def test_a_read_from_the_future_waits_and_gives_up(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a"))
    await registry.reach(version_of(created))
    with pytest.raises(Timeout, match="Too large resource version"):
        await registry.reach(registry.revision + 100_000, deadline_s=0.01)


async def test_history_that_was_compacted_away_ends_watches_and_nothing_is_missed(registries: Registries) -> None:
    stumbling = Stumbling(registries.store)
    registry, other = await registries.open(stumbling), await registries.open()
    changes: list[Change] = []
    kept = await registry.create(config("kept"))
    changed = await registry.create(config("changed", key="1"))
    gone = await registry.create(config("gone"))
    await registry.fresh()
    watcher = registry.watch(CONFIGS, "", 0)
    registry.subscribe(lambda news, revision: changes.extend(news))
    stumbling.hold()
    await other.update(replace(changed, data={"key": "2"}), version_of(changed))
    await other.delete(CONFIGS, "default", "gone", version_of(gone))
    await other.create(config("new"))
    brief = await other.create(config("brief"))
    await other.delete(CONFIGS, "default", "brief", version_of(brief))
    own = await registry.create(config("own"))
    await registries.store.compact(await other.fresh())
    stumbling.go()
    await registry.fresh(DEADLINE_S)
    assert sorted(told(change)[:2] for change in changes) == [
        ("ADDED", "new"),
        ("ADDED", "own"),
        ("DELETED", "gone"),
        ("MODIFIED", "changed"),
    ]
    assert [change.version for change in changes] == sorted(change.version for change in changes)
    names = [(obj.metadata.name, obj.data.get("key", "")) for obj in registry.view.list(CONFIGS)]
    assert names == [("changed", "2"), ("kept", ""), ("new", ""), ("own", "")]
    assert registry.view.get(CONFIGS, "default", "kept") == kept
    assert registry.view.get(CONFIGS, "default", "own") == own
    with pytest.raises(Expired):
        await watcher.next(1.0)
    watcher = registry.watch(CONFIGS, "", registry.revision)
    later = await registry.create(config("later"))
    assert [told(change)[1] for change in await until(watcher, version_of(later))] == ["later"]


async def test_broken_connections_are_not_noticed(registries: Registries) -> None:
    registry = await registries.open()
    watcher = registry.watch(CONFIGS, "", 0)
    for number in range(6):
        created = await registry.create(config(f"n{number}"))
        await registries.backend.reset()
    assert [told(change)[1] for change in await until(watcher, version_of(created))] == [f"n{n}" for n in range(6)]


async def test_a_new_registry_goes_on_where_another_was(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a"))
    await registry.close()
    again = await registries.open()
    assert again.view.get(CONFIGS, "default", "a") == created
    watcher = again.watch(CONFIGS, "", again.revision)
    later = await again.create(config("b"))
    assert [told(change)[1] for change in await until(watcher, version_of(later))] == ["b"]


class Follower:
    """A watch that checks what it is told."""

    def __init__(self, registry: Registry) -> None:
        self.state: dict[str, int] = {}
        self.versions: list[int] = []
        self._watcher = registry.watch(CONFIGS, "", 0)

    async def follow(self, done: asyncio.Event, registry: Registry) -> None:
        """Read until everything is written and told."""
        while True:
            news = await self._watcher.next(0.2)
            self.take(news.changes)
            if done.is_set() and news.version >= registry.revision:
                return

    def take(self, changes: Sequence[Change]) -> None:
        """Check that changes follow on what was told before."""
        for change in changes:
            name = change.entry.name
            before = change.previous.version if change.previous is not None else 0
            assert before == self.state.get(name, 0)
            assert change.version > (self.versions[-1] if self.versions else 0)
            assert (str(change.type) == "ADDED") == (name not in self.state)
            self.versions.append(change.version)
            if str(change.type) == "DELETED":
                del self.state[name]
            else:
                self.state[name] = change.version


async def test_a_thousand_writers_and_many_watchers_agree(registries: Registries) -> None:
    one, two = await registries.open(), await registries.open()
    followers = [(Follower(registry), registry) for registry in (one, two) for _ in range(10)]
    done = asyncio.Event()
    written: list[int] = []
    chance = random.Random(7)

    async def writer(number: int) -> None:
        registry = (one, two)[number % 2]
        name = f"n{chance.randrange(200)}"
        tries = wrote = 0
        # How many of three tries others are faster in depends on the machine; one of each writer's must succeed.
        while tries < 3 or not wrote:
            tries += 1
            try:
                known = registry.view.get(CONFIGS, "default", name)
                if known is None:
                    obj = await registry.create(config(name))
                elif chance.random() < 0.5:
                    obj = await registry.update(replace(known, data={"by": str(number)}), version_of(known))
                else:
                    obj = await registry.delete(CONFIGS, "default", name, version_of(known))
                written.append(version_of(obj))
                wrote += 1
            except ApiError:
                await registry.fresh(DEADLINE_S)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for follower, registry in followers:
            group.create_task(follower.follow(done, registry))
        async with asyncio.TaskGroup() as writers:
            for number in range(1000):
                writers.create_task(writer(number))
        await one.fresh(DEADLINE_S)
        await two.fresh(DEADLINE_S)
        done.set()
    assert len(written) >= 1000
    for follower, registry in followers:
        assert follower.versions == sorted(written)
        assert follower.state == {entry.name: entry.version for entry in registry.entries(CONFIGS)}
