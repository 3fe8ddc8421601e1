"""An engine that dies, and a machine that loses its power."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from nodeagent.runtime.archive import PAUSE_REF
from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.docker_engine import DockerSettings
from nodeagent.runtime.errors import ContainerNotRunning, Deadline, RuntimeUnavailable
from nodeagent.runtime.values import Status
from tests.conformance.runtime.rig import IMAGE, Rig
from tests.fixtures.docker_machine import DockerMachine
from tests.fixtures.images import busybox_image

pytestmark = pytest.mark.docker


async def _prepared(machine: DockerMachine) -> DockerRuntime:
    runtime = DockerRuntime(DockerSettings(socket=machine.socket))
    await runtime.load_image(busybox_image(IMAGE)[1])
    return runtime


async def test_the_engine_dies_and_comes_back(own_machine: DockerMachine) -> None:
    runtime = await _prepared(own_machine)
    container_id = await Rig(runtime, "web").started("sleep 1000")
    before = await runtime.list()
    async with aclosing(runtime.events()) as events, asyncio.timeout(60):
        assert (await anext(events)).action == "resync"
        await asyncio.to_thread(own_machine.kill_dockerd)
        with pytest.raises(RuntimeUnavailable):
            await runtime.list()
        with pytest.raises(RuntimeUnavailable):
            await runtime.exec(container_id, ["true"])
        await asyncio.to_thread(own_machine.start_dockerd)
        while (await anext(events)).action != "resync":
            pass
    assert await runtime.list() == before
    assert (await runtime.exec_sync(container_id, ["echo", "still here"], 10)).output == b"still here\n"
    await runtime.close()


async def test_an_engine_that_hangs(own_machine: DockerMachine) -> None:
    runtime = DockerRuntime(DockerSettings(socket=own_machine.socket, call_deadline_s=0.5))
    await runtime.version()
    own_machine.freeze_dockerd()
    with pytest.raises(Deadline):
        await runtime.list()
    own_machine.thaw_dockerd()
    assert await runtime.list() == await runtime.list()
    await runtime.close()


async def test_after_a_power_loss_all_is_found_ended(own_machine: DockerMachine) -> None:
    runtime = await _prepared(own_machine)
    container_id = await Rig(runtime, "web").started("sleep 1000")
    await runtime.close()
    await asyncio.to_thread(own_machine.power_off)
    await asyncio.to_thread(own_machine.boot)
    await asyncio.to_thread(own_machine.start_dockerd)

    runtime = DockerRuntime(DockerSettings(socket=own_machine.socket))
    rig = Rig(runtime, "web")
    snapshot = await runtime.list()
    assert [s.status for s in snapshot.sandboxes] == [Status.EXITED]
    assert [(c.id, c.status) for c in snapshot.containers] == [(container_id, Status.EXITED)]
    with pytest.raises(ContainerNotRunning):
        await runtime.exec(container_id, ["true"])
    assert (await rig.sandbox()).status is Status.RUNNING
    assert (await rig.sandbox(attempt=1)).status is Status.RUNNING
    await runtime.close()


async def test_the_pause_image_comes_back_when_it_was_removed(runtime: DockerRuntime, rig: Rig) -> None:
    await runtime.remove_sandbox((await rig.sandbox()).id)
    image = await runtime.image_status(PAUSE_REF)
    assert image is not None
    await runtime.remove_image(image.id)
    assert await runtime.image_status(PAUSE_REF) is None
    assert (await rig.sandbox()).status is Status.RUNNING


async def test_no_engine_at_all() -> None:
    runtime = DockerRuntime(DockerSettings(socket="/nowhere/docker.sock"))
    with pytest.raises(RuntimeUnavailable, match="Docker cannot be reached"):
        await runtime.version()
    await runtime.close()
