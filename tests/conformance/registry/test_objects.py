"""Writing and reading objects."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controlplane.store.keys import object_key
from controlplane.store.registry import Bounced, NotLeader
from controlplane.store.values import Put, Require
from mizzen.api import kinds
from mizzen.api.errors import AlreadyExists, Conflict, Expired, NotFound
from mizzen.engine import canonical
from mizzen.engine.writes import creation, removal, replacement
from tests.conformance.registry.harness import Registries, config, told, until, version_of

CONFIGS = kinds.CONFIG_MAP


async def test_what_is_created_is_read_back_with_its_version(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a", key="value"))
    assert created == canonical.at_version(config("a", key="value"), version_of(created))
    assert registry.view.get(CONFIGS, "default", "a") == created
    entry = registry.cache.entry(CONFIGS, "default", "a")
    assert entry is not None
    assert canonical.decode(CONFIGS, entry.raw) == created


async def test_another_registry_sees_it_once_it_is_fresh(registries: Registries) -> None:
    registry, other = await registries.open(), await registries.open()
    created = await registry.create(config("a"))
    await other.fresh()
    assert other.view.get(CONFIGS, "default", "a") == created


async def test_a_name_is_taken_once(registries: Registries) -> None:
    registry = await registries.open()
    await registry.create(config("a"))
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await registry.create(config("a"))


async def test_an_update_needs_the_version_it_replaces(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a", key="1"))
    updated = await registry.update(replace(created, data={"key": "2"}), version_of(created))
    assert version_of(updated) > version_of(created)
    with pytest.raises(Conflict):
        await registry.update(replace(created, data={"key": "3"}), version_of(created))
    assert registry.view.get(CONFIGS, "default", "a") == updated
    with pytest.raises(NotFound):
        await registry.update(config("b"), version_of(created))


async def test_a_deletion_returns_the_last_state(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a", key="1"))
    deleted = await registry.delete(CONFIGS, "default", "a", version_of(created))
    assert (deleted.data, version_of(deleted) > version_of(created)) == ({"key": "1"}, True)
    assert registry.view.get(CONFIGS, "default", "a") is None
    with pytest.raises(NotFound):
        await registry.delete(CONFIGS, "default", "a", version_of(created))


async def test_a_deletion_of_what_the_cache_has_not_seen_asks_the_store(registries: Registries) -> None:
    registry, other = await registries.open(), await registries.open()
    created = await registry.create(config("a", key="1"))
    await other.close()
    deleted = await other.delete(CONFIGS, "default", "a", version_of(created))
    assert deleted.data == {"key": "1"}


async def test_several_objects_are_written_together_or_not_at_all(registries: Registries) -> None:
    registry = await registries.open()
    first = await registry.create(config("first"))
    taken = await registry.create(config("taken"))
    with pytest.raises(AlreadyExists):
        await registry.commit((creation(config("new")), creation(config("taken"))))
    assert registry.view.get(CONFIGS, "default", "new") is None
    new, changed, gone = await registry.commit(
        (
            creation(config("new")),
            replacement(replace(first, data={"a": "b"}), version_of(first)),
            removal(CONFIGS, "default", "taken", version_of(taken)),
        )
    )
    names = [obj.metadata.name for obj in registry.view.list(CONFIGS, "default")]
    assert names == ["first", "new"]
    assert len({version_of(new), version_of(changed), version_of(gone)}) == 3


async def test_extra_operations_decide_with_the_objects(registries: Registries) -> None:
    registry = await registries.open()
    claim = "/mizzen/claims/one"
    before = await registries.store.get(claim)
    put = Put(claim, b"mine", before.version if before else 0)
    await registry.commit((creation(config("a")),), extra=(put,))
    with pytest.raises(Bounced) as bounced:
        await registry.commit((creation(config("b")),), extra=(put,))
    assert bounced.value.key == claim
    assert registry.view.get(CONFIGS, "default", "b") is None


async def test_without_leadership_a_fenced_write_does_not_happen(registries: Registries) -> None:
    registry = await registries.open()
    async with registries.store.campaign("test-fence", "me", 5) as leadership:
        await registry.create(config("a"), fence=leadership.fence)
        gone = leadership.fence
    with pytest.raises(NotLeader):
        await registry.create(config("b"), fence=gone)
    with pytest.raises(NotLeader):
        await registry.create(config("b"), fence=Require("/mizzen/leader/nobody", 999_999))


async def test_lists_are_of_the_revision_and_in_order(registries: Registries) -> None:
    registry = await registries.open()
    for name, namespace in (("b", "team-a"), ("a", "team"), ("c", "team")):
        await registry.create(config(name, namespace))
    revision = await registry.fresh()
    assert registry.revision >= revision
    entries = registry.entries(CONFIGS)
    assert [(entry.namespace, entry.name) for entry in entries] == [("team", "a"), ("team", "c"), ("team-a", "b")]
    assert [entry.name for entry in registry.entries(CONFIGS, "team-a")] == ["b"]


@pytest.mark.parametrize("forgotten", [False, True], ids=["kept", "from-the-store"])
async def test_pages_are_of_one_version_whatever_happens_meanwhile(registries: Registries, forgotten: bool) -> None:
    registry, other = await registries.open(), await registries.open()
    places = [(namespace, f"n{number}") for namespace in ("t", "t-a", "u") for number in range(4)]
    created = {place: await registry.create(config(place[1], place[0])) for place in places}
    await registry.fresh()
    page = await registry.page(CONFIGS, "", 5)
    seen = list(page.entries)
    await registry.create(config("zz", "u"))
    await registry.delete(CONFIGS, "u", "n3", version_of(created[("u", "n3")]))
    await registry.fresh()
    while page.remaining:
        last = page.entries[-1]
        reader = other if forgotten else registry
        page = await reader.page(CONFIGS, "", 5, version=page.version, after=(last.namespace, last.name))
        seen += page.entries
    assert sorted((entry.namespace, entry.name) for entry in seen) == places
    assert len(seen) == len(places)


async def test_pages_of_a_forgotten_version_are_expired(registries: Registries) -> None:
    registry, other = await registries.open(), await registries.open()
    for number in range(4):
        await registry.create(config(f"n{number}"))
    await registry.fresh()
    page = await registry.page(CONFIGS, "", 2)
    await registry.create(config("later"))
    await registries.store.compact(await registry.fresh())
    with pytest.raises(Expired):
        await other.page(CONFIGS, "", 2, version=page.version, after=("default", "n1"))


async def test_unreadable_values_do_not_stop_the_rest(registries: Registries) -> None:
    registry = await registries.open()
    created = await registry.create(config("a", key="1"))
    watcher = registry.watch(CONFIGS, "", version_of(created))
    key = object_key("", "configmaps", "default", "a")
    await registries.store.commit((Put(key, b"{", version_of(created)),))
    await registries.store.commit((Put(object_key("", "configmaps", "default", "x"), b"[]", 0),))
    await registries.store.commit((Put(object_key("other.io", "things", "default", "x"), b"{}", 0),))
    other = await registry.create(config("b"))
    assert [told(change)[1] for change in await until(watcher, version_of(other))] == ["b"]
    assert registry.view.get(CONFIGS, "default", "a") == created
    again = await registries.open()
    assert [obj.metadata.name for obj in again.view.list(CONFIGS)] == ["b"]
