"""The drivers: keys are run when they must, side by side, and one defect stops nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from msgspec.structs import replace

from controlplane.drive.controllers import Controllers
from controlplane.drive.metrics import WorkqueueCollector
from controlplane.store.registry import NotLeader
from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Update, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View
from tests.unit.drive.conftest import Cluster, config

pytestmark = pytest.mark.looptime
CONFIGS = kinds.CONFIG_MAP
Reconcile = Callable[[Key, View, Instant], Decision]


def pair(one: core.ConfigMap, view: View) -> Iterable[Key]:
    """A copy concerns what it was copied from."""
    name = one.metadata.name
    return [Key("configmaps", "default", name.removeprefix("copy-of-"))] if name.startswith("copy-of-") else []


def copies(key: Key, view: View, now: Instant) -> Decision:
    """Every object shall have a copy."""
    one = view.get(CONFIGS, key.namespace, key.name)
    if one is None or key.name.startswith("copy-of-"):
        return Decision()
    name = f"copy-of-{key.name}"
    copy = view.get(CONFIGS, key.namespace, name)
    if copy is None:
        return Decision((Create(config(name, **one.data)),))
    return Decision() if copy.data == one.data else Decision((Update(replace(copy, data=one.data)),))


@dataclass
class Running:
    """Controllers that run, and what was decided."""

    controllers: Controllers
    collector: WorkqueueCollector
    decided: list[tuple[int, str]] = field(default_factory=list)

    def metric(self, name: str) -> float:
        """A metric of the work queue."""
        samples = [s for family in self.collector.collect() for s in family.samples if s.name == f"workqueue_{name}"]
        return sum(sample.value for sample in samples)


@asynccontextmanager
async def running(cluster: Cluster, reconcile: Reconcile, workers: int = 4) -> AsyncIterator[Running]:
    """Run one controller while the block lasts; what it raises is raised."""

    def decide(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        made.decided.append((cluster.clock.monotonic_ms(), key.name))
        return reconcile(key, view, now)

    one = Controller("test", CONFIGS, decide, watches=((CONFIGS, pair),), workers=workers)
    collector = WorkqueueCollector(cluster.clock)
    performer, clock, ids = cluster.performer, cluster.clock, cluster.ids
    made = Running(Controllers(lambda _: [one], cluster.registry, performer, clock, ids, collector), collector)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.controllers.run(cluster.fence))
        yield made
        task.cancel()


def data(cluster: Cluster, name: str) -> dict[str, str] | None:
    one = cluster.registry.view.get(CONFIGS, "default", name)
    return None if one is None else dict(one.data)


async def test_what_is_there_and_what_comes_is_reconciled(cluster: Cluster) -> None:
    await cluster.registry.create(config("early", key="1"))
    async with running(cluster, copies) as made:
        await cluster.until(lambda: data(cluster, "copy-of-early") == {"key": "1"})
        late = await cluster.registry.create(config("late", key="1"))
        await cluster.until(lambda: data(cluster, "copy-of-late") == {"key": "1"})
        await cluster.registry.update(replace(late, data={"key": "2"}), int(late.metadata.resource_version))
        await cluster.until(lambda: data(cluster, "copy-of-late") == {"key": "2"})
        copy = cluster.registry.view.get(CONFIGS, "default", "copy-of-late")
        assert copy is not None
        await cluster.registry.delete(CONFIGS, "default", "copy-of-late", int(copy.metadata.resource_version))
        await cluster.until(lambda: data(cluster, "copy-of-late") == {"key": "2"})
        assert made.metric("adds_total") >= 4
        assert made.metric("work_duration_seconds_count") == made.metric("queue_duration_seconds_count") >= 4


async def test_many_keys_are_performed_side_by_side_but_not_too_many(cluster: Cluster) -> None:
    for number in range(20):
        await cluster.registry.create(config(f"c{number}"))
    under_way: list[int] = []
    perform = cluster.performer.perform
    gate = asyncio.Event()
    count = 0

    async def slow(*args: object) -> object:
        nonlocal count
        count += 1
        under_way.append(count)
        await gate.wait()
        count -= 1
        return await perform(*args)  # type: ignore[arg-type]

    cluster.performer.perform = slow  # type: ignore[method-assign, assignment]
    async with running(cluster, copies, workers=3):
        await cluster.until(lambda: count == 3)
        gate.set()
        await cluster.until(lambda: len(cluster.registry.view.list(CONFIGS)) == 40)
    assert max(under_way) == 3


async def test_a_bounced_decision_is_made_again_on_what_is_there_then(cluster: Cluster) -> None:
    first = await cluster.registry.create(config("a", key="1"))
    await cluster.registry.create(config("copy-of-a", key="0"))

    async def meanwhile() -> None:
        copy = cluster.registry.view.get(CONFIGS, "default", "copy-of-a")
        assert copy is not None
        await cluster.registry.update(replace(copy, data={"key": "x"}), int(copy.metadata.resource_version))

    cluster.store.before = meanwhile
    async with running(cluster, copies) as made:
        await cluster.until(lambda: data(cluster, "copy-of-a") == dict(first.data))
        assert made.metric("retries_total") == 1


async def test_a_defect_is_tried_again_later_and_stops_nothing_else(cluster: Cluster) -> None:
    def reconcile(key: Key, view: View, now: Instant) -> Decision:
        if key.name == "bad" and len([one for one in made.decided if one[1] == "bad"]) < 4:
            raise ZeroDivisionError("a defect")
        return copies(key, view, now)

    for name in ("bad", "good"):
        await cluster.registry.create(config(name))
    async with running(cluster, reconcile) as made:
        await cluster.until(lambda: data(cluster, "copy-of-good") is not None)
        story = made.controllers.stories(Key("configmaps", "default", "bad"))["test"]
        assert "a defect" in story.error
        await cluster.until(lambda: data(cluster, "copy-of-bad") is not None)
    times = [at for at, name in made.decided if name == "bad"][:4]
    assert [later - sooner for sooner, later in pairwise(times)] == [5, 10, 20]


async def test_a_defect_while_performing_stops_nothing_else(cluster: Cluster) -> None:
    broken = cluster.performer.perform

    async def perform(effects: object, fence: object) -> object:
        if "copy-of-bad" in str(effects):
            raise ZeroDivisionError("a defect")
        return await broken(effects, fence)  # type: ignore[arg-type]

    cluster.performer.perform = perform  # type: ignore[method-assign, assignment]
    for name in ("bad", "good"):
        await cluster.registry.create(config(name))
    async with running(cluster, copies) as made:
        await cluster.until(lambda: data(cluster, "copy-of-good") is not None)
        await cluster.until(lambda: made.controllers.stories(Key("configmaps", "default", "bad")))


async def test_a_key_wakes_when_it_asked_to_and_says_what_it_waits_for(cluster: Cluster) -> None:
    waiting = (Waiting("Patience", "not yet"),)

    def reconcile(key: Key, view: View, now: Instant) -> Decision:
        return Decision(wake_after_ms=20_000, waiting=waiting)

    await cluster.registry.create(config("a"))
    async with running(cluster, reconcile) as made:
        await cluster.until(lambda: len(made.decided) == 3)
        assert made.controllers.stories(Key("configmaps", "default", "a"))["test"].waiting == waiting
    times = [at for at, _ in made.decided]
    assert [later - sooner for sooner, later in pairwise(times)] == [20_000, 20_000]


async def test_no_decision_is_made_on_a_view_without_the_last_ones_writes(cluster: Cluster) -> None:
    wrote: list[int] = []

    def reconcile(key: Key, view: View, now: Instant) -> Decision:
        one = view.get(CONFIGS, key.namespace, key.name)
        assert one is not None
        count = int(one.data["count"])
        assert wrote == list(range(count)), "a decision that saw an old state repeats itself"
        if count == 20:
            return Decision()
        wrote.append(count)
        return Decision((Update(replace(one, data={"count": str(count + 1)})),), wake_after_ms=0)

    await cluster.registry.create(config("a", count="0"))
    async with running(cluster, reconcile):
        await cluster.until(lambda: data(cluster, "a") == {"count": "20"})


async def test_without_leadership_the_controllers_end(cluster: Cluster) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(NotLeader), flatten_subgroups=True):
        async with cluster.other().campaign("test", "other", 5), running(cluster, copies):
            await cluster.registry.create(config("a"))
            await cluster.until(lambda: False)
