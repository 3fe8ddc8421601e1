"""Leadership: one at a time, lost when the lease is gone, and fenced whatever an old leader believes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from controlplane.store.port import Committed, Conflict, Put, Store
from tests.conformance.store.harness import Backend

WAIT_S = 15.0


async def test_a_leader_writes_behind_its_fence(store: Store, space: str) -> None:
    async with store.campaign(f"name-{space[8:-1]}", "one", 5) as leader:
        assert leader.identity == "one"
        assert not leader.lost.is_set()
        held = await store.get(leader.fence.key)
        assert held is not None
        assert (held.value, held.version) == (b"one", leader.fence.expect)
        assert isinstance(await store.commit((leader.fence, Put(space + "a", b"1", 0))), Committed)
    assert await store.get(leader.fence.key) is None
    assert await store.commit((leader.fence, Put(space + "b", b"1", 0))) == Conflict(leader.fence.key, None)


async def test_an_old_leader_bounces(backend: Backend, space: str) -> None:
    name = f"name-{space[8:-1]}"
    stores = [await backend.open(), await backend.open()]
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        old = await first.enter_async_context(stores[0].campaign(name, "old", 5))
        await backend.expire(name)
        async with asyncio.timeout(WAIT_S):
            new = await second.enter_async_context(stores[1].campaign(name, "new", 5))

        refused = await stores[0].commit((old.fence, Put(space + "a", b"old", 0)))
        assert isinstance(refused, Conflict)
        assert refused.key == old.fence.key
        assert refused.current is not None
        assert refused.current.value == b"new"
        assert isinstance(await stores[1].commit((new.fence, Put(space + "a", b"new", 0))), Committed)

        async with asyncio.timeout(WAIT_S):
            await old.lost.wait()
        assert not new.lost.is_set()
        await first.aclose()  # resigning from what is lost already does not harm the new leader
        assert isinstance(await stores[1].commit((new.fence, Put(space + "b", b"new", 0))), Committed)


async def test_there_is_one_leader_at_a_time(backend: Backend, space: str) -> None:
    name = f"name-{space[8:-1]}"
    leading: list[str] = []
    terms: list[str] = []

    async def stand(identity: str) -> None:
        store = await backend.open()
        async with store.campaign(name, identity, 5):
            leading.append(identity)
            assert leading == [identity]
            await store.current()
            leading.remove(identity)
            terms.append(identity)

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        for n in range(5):
            tasks.create_task(stand(f"cp-{n}"))
    assert sorted(terms) == [f"cp-{n}" for n in range(5)]


async def test_giving_up_a_campaign_leaves_no_trace(backend: Backend, space: str) -> None:
    name = f"name-{space[8:-1]}"
    one, two = await backend.open(), await backend.open()
    async with one.campaign(name, "one", 5):
        waiting = asyncio.create_task(two.campaign(name, "two", 5).__aenter__())
        await two.current()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
    async with asyncio.timeout(WAIT_S), one.campaign(name, "three", 5) as leader:
        assert leader.identity == "three"
