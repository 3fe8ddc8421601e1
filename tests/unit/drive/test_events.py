"""Events are written in the background: repeats are counted, and nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from controlplane.drive import events
from controlplane.drive.events import Recorder
from controlplane.store.values import Unavailable
from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.engine.effects import Emit
from tests.unit.drive.conftest import Cluster, config

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def recording(cluster: Cluster) -> AsyncIterator[Recorder]:
    """Write what is recorded while the block lasts."""
    recorder = Recorder(cluster.registry, cluster.clock, cluster.ids)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(recorder.run(cluster.fence))
        yield recorder
        task.cancel()


async def about(cluster: Cluster, name: str) -> core.ConfigMap:
    """An object for events to tell of."""
    one = config(name)
    return await cluster.registry.create(replace(one, metadata=replace(one.metadata, uid=f"uid-{name}")))


def counts(cluster: Cluster) -> dict[str, int]:
    return {event.message: event.count for event in cluster.registry.view.list(kinds.EVENT)}


async def test_what_is_emitted_is_stored_and_repeats_are_counted(cluster: Cluster) -> None:
    one = await about(cluster, "a")
    async with recording(cluster) as recorder:
        for message in ("x", "y", "x"):
            recorder.record(Emit(one, "Normal", "Test", message, "test"))
        await cluster.until(lambda: counts(cluster) == {"x": 2, "y": 1})
        recorder.record(Emit(one, "Normal", "Test", "x", "test"))
        await cluster.until(lambda: counts(cluster) == {"x": 3, "y": 1})


async def test_too_many_are_dropped(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PENDING_MAX", 3)
    one = await about(cluster, "a")
    async with recording(cluster) as recorder:
        for number in range(5):
            recorder.record(Emit(one, "Normal", "Test", f"m{number}", "test"))
        await cluster.until(lambda: len(counts(cluster)) == 3)
        recorder.record(Emit(one, "Normal", "Test", "later", "test"))
        await cluster.until(lambda: "later" in counts(cluster))
    assert len(counts(cluster)) == 4


async def test_what_the_store_does_not_take_is_lost_and_the_next_is_not(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await about(cluster, "a")
    commit = cluster.registry.commit
    troubles = [Unavailable("away")]

    async def stumbling(*args: object, **kwargs: object) -> object:
        if troubles:
            raise troubles.pop()
        return await commit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster.registry, "commit", stumbling)
    async with recording(cluster) as recorder:
        recorder.record(Emit(one, "Normal", "Test", "first", "test"))
        await cluster.until(lambda: not troubles)
        recorder.record(Emit(one, "Normal", "Test", "second", "test"))
        await cluster.until(lambda: counts(cluster) == {"second": 1})
