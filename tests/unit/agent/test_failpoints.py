"""An agent that is killed at any step of bringing a pod up or taking it away: the next one goes on as if nothing was.

A *step* is a call that changes something on the machine. The agent dies just before it, or just after it and before it
has heard of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.runtime.values import Status
from tests.unit.agent.world import World, container, deleted, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]

RUNTIME = (
    "create_sandbox", "create_container", "start_container", "pull_image", "stop_container", "remove_container",
    "remove_sandbox", "exec_sync",
)  # fmt: skip
NETWORK = ("attach", "detach")
VOLUMES = ("setup", "write", "teardown")
EXPECTED_STEPS = (10, 8)
"""At least so many there are on the way up and on the way down; else the test looks at nothing."""


@dataclass
class Failpoint:
    """Stops the agent at a step; without a number it only counts."""

    at: int = 0
    after: bool = False
    steps: list[str] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self, world: World) -> None:
        """Count the steps on a machine from now on."""
        for part, names in ((world.runtime, RUNTIME), (world.network, NETWORK), (world.volumes, VOLUMES)):
            for name in names:
                setattr(part, name, self._watched(name, getattr(type(part), name).__get__(part)))

    def _watched(self, name: str, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def step(*args: Any, **options: Any) -> Any:
            self.steps.append(name)
            here = len(self.steps) == self.at
            if here and not self.after:
                await self._die()
            result = await real(*args, **options)
            if here:
                await self._die()
            return result

        return step

    async def _die(self) -> None:
        """The agent hears of nothing any more, while the test takes it away."""
        self.reached.set()
        await asyncio.Event().wait()


def subject() -> core.Pod:
    """A pod with something of everything that takes steps."""
    hook = core.Lifecycle(post_start=core.LifecycleHandler(exec=core.ExecAction(command=("true",))))
    first = container("first", command=("true",))
    beside = container("beside", restart_policy="Always")
    scratch = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource())
    return pod(
        "web", container("app", lifecycle=hook), init_containers=(first, beside), volumes=(scratch,)
    )  # fmt: skip


async def brought_up(folder: Path, point: Failpoint) -> World:
    """A machine on which the pod runs although its agent died at the point on the way."""
    folder.mkdir()  # noqa: ASYNC240  # of the test itself
    world = World(folder)
    async with world.running(killed=bool(point.at)):
        point.watch(world)
        world.put(subject())
        if point.at:
            await point.reached.wait()
        else:
            await until(world.ready)
    Failpoint().watch(world)
    async with world.running():
        await until(world.ready, 60)
        await world.agent_is_quiet(5)
    return world


async def taken_away(folder: Path, point: Failpoint) -> None:
    """The pod goes, with all that there is of it, although its agent dies at the point on the way."""
    world = await brought_up(folder, Failpoint())
    async with world.running(killed=bool(point.at)):
        point.watch(world)
        (subject_,) = [one for one in world.objects.values() if isinstance(one, core.Pod)]
        world.put(deleted(subject_))
        if point.at:
            await point.reached.wait()
        else:
            await world.until_empty()
    Failpoint().watch(world)
    async with world.running():
        await world.until_empty()
        await until(lambda: not [one for one in world.objects.values() if isinstance(one, core.Pod)], 60)


async def test_the_way_up(tmp_path: Path) -> None:
    clean = Failpoint()
    await brought_up(tmp_path / "clean", clean)
    assert len(clean.steps) >= EXPECTED_STEPS[0], clean.steps
    for after in (False, True):
        for at, step in enumerate(clean.steps, start=1):
            point = Failpoint(at, after)
            world = await brought_up(tmp_path / f"{at}-{after}", point)
            where = f"killed {'after' if after else 'before'} step {at}, {step}"
            states = await world.containers()
            living = sorted(state.name for state in states if state.status is Status.RUNNING)
            assert living == ["app", "beside"], where
            assert [state.attempt for state in states if state.name in living] == [0, 0], where
            assert len((await world.runtime.list()).sandboxes) == len(world.network.attached) == 1, where
            status = world.status()
            assert status is not None
            assert {one.name: one.restart_count for one in status.container_statuses} == {"app": 0}, where
            first = next(one for one in status.init_container_statuses if one.name == "first")
            assert (first.state.terminated is not None and first.state.terminated.reason) == "Completed", where


async def test_the_way_down(tmp_path: Path) -> None:
    clean = Failpoint()
    await taken_away(tmp_path / "clean", clean)
    assert len(clean.steps) >= EXPECTED_STEPS[1], clean.steps
    for after in (False, True):
        for at in range(1, len(clean.steps) + 1):
            await taken_away(tmp_path / f"{at}-{after}", Failpoint(at, after))
