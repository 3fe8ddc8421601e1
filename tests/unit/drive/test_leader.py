"""One leads, and only while it can prove it."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.drive.leader import lead
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.port import Store
from controlplane.store.registry import NotLeader
from controlplane.store.values import Require, Unavailable

pytestmark = pytest.mark.looptime


class Office:
    """Who decides now, and who did."""

    def __init__(self) -> None:
        self.terms: list[str] = []
        self.holders: set[str] = set()
        self.trouble: Exception | None = None
        self._changed = asyncio.Condition()

    async def campaign(self, store: Store, name: str) -> None:
        """Lead as `name` whenever possible."""

        async def decide(fence: Require) -> None:
            self.terms.append(name)
            self.holders.add(name)
            await self._tell()
            try:
                if self.trouble is not None:
                    trouble, self.trouble = self.trouble, None
                    raise trouble
                await asyncio.Event().wait()
            finally:
                self.holders.remove(name)
                await self._tell()

        await lead(store, "test", name, 5, decide)

    async def until(self, terms: int, holders: set[str]) -> None:
        """Wait until so many terms have begun and these are in office."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.terms) >= terms and self.holders == holders)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


async def test_when_the_lease_of_one_runs_out_another_leads(backend: MemoryBackend) -> None:
    office = Office()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(office.campaign(MemoryStore(backend), name)) for name in ("a", "b")]
        await office.until(1, {"a"})
        backend.expire("test")
        # For a moment both may believe that they lead; that is what the fence is for.
        await office.until(2, {"b"})
        assert office.terms == ["a", "b"]
        for task in tasks:
            task.cancel()
    assert office.holders == set()


async def test_when_one_resigns_another_leads(backend: MemoryBackend) -> None:
    office = Office()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(office.campaign(MemoryStore(backend), "a"))
        await office.until(1, {"a"})
        second = group.create_task(office.campaign(MemoryStore(backend), "b"))
        first.cancel()
        await office.until(2, {"b"})
        second.cancel()


@pytest.mark.parametrize(
    "trouble", [NotLeader("over"), Unavailable("away"), ExceptionGroup("group", [NotLeader("over")])], ids=str
)
async def test_trouble_with_the_store_ends_a_term_and_begins_another(
    backend: MemoryBackend, trouble: Exception
) -> None:
    office = Office()
    office.trouble = trouble
    async with asyncio.TaskGroup() as group:
        task = group.create_task(office.campaign(MemoryStore(backend), "a"))
        await office.until(2, {"a"})
        task.cancel()
    assert office.terms == ["a", "a"]


async def test_a_defect_goes_up(backend: MemoryBackend) -> None:
    office = Office()
    office.trouble = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        await office.campaign(MemoryStore(backend), "a")


async def test_it_ends_with_the_store(backend: MemoryBackend) -> None:
    office = Office()
    store = MemoryStore(backend)
    async with MemoryStore(backend).campaign("test", "other", 5), asyncio.TaskGroup() as group:
        task = group.create_task(office.campaign(store, "a"))
        await store.current()
        await store.close()
        async with asyncio.timeout(10):
            await task
    assert office.terms == []
