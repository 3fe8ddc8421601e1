"""The compactor keeps between one and two intervals of history."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.store.compactor import run_compactor
from controlplane.store.memory import MemoryStore
from controlplane.store.port import Committed, Compacted, Put


@pytest.mark.looptime
async def test_history_of_the_last_interval_stays() -> None:
    store = MemoryStore()
    task = asyncio.create_task(run_compactor(store, interval_s=300))
    versions = []
    for minute in range(16):
        outcome = await store.commit((Put(f"/mizzen/{minute}", b"", 0),))
        assert isinstance(outcome, Committed)
        versions.append(outcome.version)
        await asyncio.sleep(60)
    with pytest.raises(Compacted):
        await store.range("/mizzen/", version=versions[8])
    for version in versions[10:]:
        await store.range("/mizzen/", version=version)
    await store.close()
    await asyncio.wait_for(task, 400)
