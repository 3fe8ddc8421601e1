"""The picture of the machine: never older than what the agent itself did, and patient with a list that lags."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nodeagent.drive.metrics import Metrics
from nodeagent.drive.observe import Seen, Watcher
from nodeagent.runtime.errors import RuntimeUnavailable
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.runtime.values import ContainerState, Event, PodRef, SandboxState, Snapshot, Status
from tests.unit.agent.world import LoopClock

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]

REF = PodRef(uid="u1", namespace="default", name="web")


def state(name: str = "app", status: Status = Status.RUNNING, started_at_ms: int = 5) -> ContainerState:
    """A container of the pod."""
    return ContainerState(id=f"id-{name}", pod=REF, name=name, attempt=0, status=status, started_at_ms=started_at_ms)


class Engine(FakeRuntime):
    """An engine whose lists and events the test writes; a list takes a second."""

    def __init__(self) -> None:
        super().__init__(LoopClock())
        self.now = Snapshot()
        self.hints: asyncio.Queue[Event] = asyncio.Queue()
        self.away = False
        self.lists = 0
        self.takes_s = 1.0

    async def list(self) -> Snapshot:
        """What was true when the list was begun."""
        self.lists += 1
        if self.away:
            raise RuntimeUnavailable("away")
        taken = self.now
        await asyncio.sleep(self.takes_s)
        return taken

    async def events(self) -> AsyncIterator[Event]:  # type: ignore[override]
        """The test's hints."""
        while True:
            yield await self.hints.get()


@asynccontextmanager
async def watching(engine: Engine) -> AsyncIterator[Watcher]:
    """A watcher at work."""
    watcher = Watcher(engine, LoopClock(), Metrics("n1"), 10)
    task = asyncio.create_task(watcher.run())
    await watcher.ready.wait()
    yield watcher
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_list_begun_before_a_start_does_not_take_it_back() -> None:
    engine = Engine()
    async with watching(engine) as watcher:
        looking = asyncio.create_task(watcher.refresh())
        await asyncio.sleep(4.5)  # past the pause, in the middle of the next list
        watcher.put(state())
        engine.now = Snapshot(containers=(state(),))
        await looking
        assert watcher.of("u1").containers == (state(),)
        await watcher.refresh()
        assert watcher.of("u1").containers == (state(),)


async def test_a_list_begun_before_a_removal_does_not_bring_it_back() -> None:
    engine = Engine()
    engine.now = Snapshot(
        containers=(state(),), sandboxes=(SandboxState(id="s", pod=REF, attempt=0, status=Status.RUNNING),)
    )
    async with watching(engine) as watcher:
        looking = asyncio.create_task(watcher.refresh())
        await asyncio.sleep(4.5)
        watcher.drop("u1", "id-app")
        watcher.drop("u1", "s")
        engine.now = Snapshot()
        await looking
        assert watcher.of("u1") == Seen()
        assert watcher.uids() == []


async def test_what_vanished_is_told_once() -> None:
    engine = Engine()
    engine.now = Snapshot(containers=(state(),))
    async with watching(engine) as watcher:
        told: list[str] = []
        watcher.changed = told.append
        engine.now = Snapshot()
        await watcher.refresh()
        await watcher.refresh()
        assert told == ["u1"]


async def test_a_running_container_keeps_the_start_that_was_told_first() -> None:
    engine = Engine()
    async with watching(engine) as watcher:
        watcher.put(state(started_at_ms=1_999))
        engine.now = Snapshot(containers=(state(started_at_ms=2_001),))
        await watcher.refresh()
        assert watcher.of("u1").containers[0].started_at_ms == 1_999


async def test_a_death_that_the_list_does_not_show_yet_is_looked_for_again_soon() -> None:
    engine = Engine()
    engine.takes_s = 0.01
    engine.now = Snapshot(containers=(state(),))
    async with watching(engine) as watcher:
        await asyncio.sleep(1)
        told: list[str] = []
        watcher.changed = told.append
        engine.hints.put_nowait(Event(action="die", container_id="id-app"))
        await asyncio.sleep(0.05)
        assert told == []
        engine.now = Snapshot(containers=(state(status=Status.EXITED),))
        await asyncio.sleep(0.5)
        assert told == ["u1"]


async def test_a_death_that_is_never_shown_is_not_believed_for_ever() -> None:
    engine = Engine()
    engine.takes_s = 0.01
    engine.now = Snapshot(containers=(state(),))
    async with watching(engine) as watcher:
        await watcher.refresh(ended="id-app")
        lists = engine.lists
        assert lists < 12
        await asyncio.sleep(9)
        assert engine.lists <= lists + 1


async def test_hints_come_faster_than_lists() -> None:
    engine = Engine()
    engine.takes_s = 0.1
    async with watching(engine):
        before = engine.lists
        for _ in range(1000):
            engine.hints.put_nowait(Event(action="destroy"))
            await asyncio.sleep(0.01)
        assert engine.lists - before <= 25, "a fifth of the time at most"


async def test_an_engine_that_is_away_leaves_the_picture_as_it_was() -> None:
    engine = Engine()
    engine.now = Snapshot(containers=(state(),))
    async with watching(engine) as watcher:
        engine.away = True
        looking = asyncio.create_task(watcher.refresh())
        await asyncio.sleep(10)
        assert watcher.failure == "away"
        assert watcher.of("u1").containers == (state(),)
        assert not looking.done()
        engine.away = False
        await looking
        assert watcher.failure == ""
