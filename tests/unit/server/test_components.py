"""How the parts of the control plane feel: by who leads, and by whether the store answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from controlplane.server import components
from controlplane.server.components import LEADER, Components
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import errors


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    opened = MemoryStore(MemoryBackend())
    yield opened
    await opened.close()


@pytest.fixture
async def found(store: MemoryStore) -> AsyncIterator[Components]:
    registry = Registry(store)
    await registry.start()
    yield Components(registry)
    await registry.close()


async def feel(found: Components) -> dict[str, tuple[str, str]]:
    """Status and what is said of each."""
    conditions = {entry.name: entry.object().conditions[0] for entry in await found.every()}
    return {name: (condition.status, condition.message or condition.error) for name, condition in conditions.items()}


async def test_scheduler_and_controllers_are_well_while_somebody_leads(store: MemoryStore, found: Components) -> None:
    well, none = ("True", "ok"), ("False", "no control plane leads")
    assert await feel(found) == {"controller-manager": none, "etcd-0": well, "scheduler": none}
    async with store.campaign(LEADER, "a", 5):
        assert await feel(found) == {"controller-manager": well, "etcd-0": well, "scheduler": well}
        assert (await found.get("scheduler")).object().conditions[0].type == "Healthy"
    assert (await feel(found))["scheduler"] == none


async def test_a_store_that_does_not_answer_is_told_of_in_time(
    store: MemoryStore, found: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "CHECK_S", 0.05)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.campaign(LEADER, "a", 5))
        store.backend.frozen = True
        felt = await feel(found)
        store.backend.frozen = False
        store.backend.wake()
    assert {name: status for name, (status, _) in felt.items()} == dict.fromkeys(felt, "False")
    assert "no answer within" in felt["scheduler"][1]


async def test_there_are_no_others(found: Components) -> None:
    with pytest.raises(errors.NotFound, match='componentstatuses "etcd-1" not found'):
        await found.get("etcd-1")
