"""Containers of every runtime: making, starting, ending, removing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from nodeagent.runtime.errors import (
    ContainerNotFound,
    ImageNotFound,
    InvalidImageName,
    RuntimeFailure,
    StartFailed,
)
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import Status
from tests.conformance.runtime.rig import IMAGE, UNTIL_TERM, Rig

NOBODY = "f" * 64


async def test_a_container_runs_from_created_to_exited(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    before_ms = time.time_ns() // 1_000_000
    spec = rig.spec(sandbox, "echo hello; sleep 0.3; exit 3", spec_hash="abc", labels={"a": "b", "c.d/e": "f"})
    container_id = await rig.runtime.create_container(spec)
    created = await rig.state(container_id)
    assert created is not None
    assert (created.status, created.started_at_ms, created.pid) == (Status.CREATED, 0, 0)

    await rig.runtime.start_container(container_id)
    running = await rig.state(container_id)
    assert running is not None
    assert running.status is Status.RUNNING
    assert running.pid > 0
    assert running.started_at_ms >= running.created_at_ms >= before_ms - 1000

    ended = await rig.exited(container_id)
    image = await rig.runtime.image_status(IMAGE)
    assert image is not None
    assert (ended.exit_code, ended.pid, ended.oom_killed, ended.error) == (3, 0, False, "")
    assert ended.finished_at_ms >= ended.started_at_ms == running.started_at_ms
    assert (ended.pod, ended.name, ended.attempt) == (rig.pod, "main", 0)
    assert (ended.sandbox_id, ended.spec_hash, ended.labels) == (sandbox.id, "abc", {"a": "b", "c.d/e": "f"})
    assert (ended.image, ended.image_id) == (IMAGE, image.id)


async def test_command_and_args_replace_the_images(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    cases = {
        "both": (rig.spec(sandbox, command=("echo", "one"), args=("two",)), "one two\n"),
        "args": (rig.spec(sandbox, args=("echo", "only")), "only\n"),
    }
    for name, (spec, expected) in cases.items():
        container_id = await rig.runtime.create_container(replace(spec, name=name))
        await rig.runtime.start_container(container_id)
        await rig.exited(container_id)
        assert await rig.output(container_id) == expected


async def test_the_images_own_command_runs_when_the_spec_has_none(rig: Rig) -> None:
    container_id = await rig.started()
    state = await rig.state(container_id)
    assert state is not None
    assert state.status is Status.RUNNING


async def test_env_and_hostname_reach_the_program(rig: Rig) -> None:
    container_id = await rig.started("env; hostname", env=(("A", "x=y z"), ("FROM_IMAGE", "no")))
    await rig.exited(container_id)
    lines = (await rig.output(container_id)).splitlines()
    assert "A=x=y z" in lines
    assert "FROM_IMAGE=no" in lines
    assert f"HOSTNAME={rig.pod.name}" in lines
    assert lines[-1] == rig.pod.name


async def test_creating_twice_gives_the_same_container(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    spec = rig.spec(sandbox, "sleep 100", spec_hash="one")
    first = await rig.runtime.create_container(spec)
    assert await rig.runtime.create_container(spec) == first
    other = await rig.runtime.create_container(replace(spec, spec_hash="two"))
    assert other != first
    assert [c.id for c in (await rig.runtime.list()).containers] == [other]


async def test_an_attempt_that_has_run_is_not_made_again(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    spec = rig.spec(sandbox, "true")
    first = await rig.runtime.create_container(spec)
    await rig.runtime.start_container(first)
    await rig.exited(first)
    with pytest.raises(StartFailed) as failure:
        await rig.runtime.create_container(spec)
    assert failure.value.reason == "CreateContainerError"
    second = await rig.runtime.create_container(replace(spec, attempt=1))
    assert [(c.id, c.attempt) for c in (await rig.runtime.list()).containers] == [(first, 0), (second, 1)]


async def test_starting_a_running_container_is_a_success(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    await rig.runtime.start_container(container_id)


async def test_an_image_that_is_not_here(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    with pytest.raises(ImageNotFound, match="missing:1"):
        await rig.runtime.create_container(rig.spec(sandbox, image="mizzen.test/missing:1"))
    with pytest.raises(InvalidImageName):
        await rig.runtime.image_status("Not/A Name")


async def test_a_program_that_is_not_there(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    container_id = await rig.runtime.create_container(rig.spec(sandbox, command=("no-such-program",)))
    with pytest.raises(StartFailed, match="no-such-program") as failure:
        await rig.runtime.start_container(container_id)
    assert failure.value.reason == "ContainerCannotRun"
    state = await rig.state(container_id)
    assert state is not None
    assert (state.status, state.exit_code, state.started_at_ms) == (Status.EXITED, 127, 0)
    assert state.finished_at_ms >= state.created_at_ms
    assert "no-such-program" in state.error


async def test_a_sandbox_that_is_gone(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    early = await rig.runtime.create_container(rig.spec(sandbox, "sleep 100"))
    await rig.runtime.remove_sandbox(sandbox.id)
    with pytest.raises(StartFailed) as start:
        await rig.runtime.start_container(early)
    assert start.value.reason == "RunContainerError"
    with pytest.raises(StartFailed) as create:
        await rig.runtime.create_container(rig.spec(sandbox, "sleep 100", name="late"))
    assert create.value.reason == "CreateContainerError"


async def test_stop_asks_first(rig: Rig) -> None:
    container_id = await rig.started(UNTIL_TERM)
    await rig.says(container_id, "ready")
    await rig.runtime.stop_container(container_id, grace_s=20)
    state = await rig.state(container_id)
    assert state is not None
    assert (state.status, state.exit_code) == (Status.EXITED, 7)
    assert "asked" in await rig.output(container_id)


@pytest.mark.parametrize("ways", ["spec", "call"])
async def test_stop_with_another_signal(rig: Rig, ways: str) -> None:
    script = UNTIL_TERM.replace("TERM", "USR1")
    container_id = await rig.started(script, stop_signal="SIGUSR1" if ways == "spec" else "")
    await rig.says(container_id, "ready")
    await rig.runtime.stop_container(container_id, 20, "" if ways == "spec" else "SIGUSR1")
    assert (await rig.exited(container_id)).exit_code == 7


@pytest.mark.parametrize("signal", ["", "SIGUSR1"])
async def test_stop_kills_after_the_grace(rig: Rig, signal: str) -> None:
    container_id = await rig.started("echo ready; sleep 100")
    await rig.says(container_id, "ready")
    await rig.runtime.stop_container(container_id, 1, signal)
    state = await rig.state(container_id)
    assert state is not None
    assert (state.status, state.exit_code) == (Status.EXITED, 137)


async def test_kill_ends_a_stop_that_waits(rig: Rig) -> None:
    container_id = await rig.started("echo ready; sleep 100")
    await rig.says(container_id, "ready")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(rig.runtime.stop_container(container_id, grace_s=90))
        await rig.runtime.kill_container(container_id)
    assert (await rig.exited(container_id)).exit_code == 137


async def test_ending_what_has_ended_is_a_success(rig: Rig) -> None:
    container_id = await rig.started("exit 4")
    await rig.exited(container_id)
    await rig.runtime.stop_container(container_id, 1)
    await rig.runtime.kill_container(container_id)
    assert (await rig.exited(container_id)).exit_code == 4


async def test_remove(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    with pytest.raises(RuntimeFailure):
        await rig.runtime.remove_container(container_id)
    await rig.runtime.remove_container(container_id, force=True)
    assert (await rig.runtime.list()).containers == ()
    await rig.runtime.remove_container(container_id)
    await rig.runtime.remove_container(NOBODY, force=True)


async def test_calls_about_nobody(runtime: Runtime) -> None:
    with pytest.raises(ContainerNotFound):
        await runtime.start_container(NOBODY)
    with pytest.raises(ContainerNotFound):
        await runtime.stop_container(NOBODY, 1)
    with pytest.raises(ContainerNotFound):
        await runtime.kill_container(NOBODY)
    with pytest.raises(ContainerNotFound):
        await runtime.exec_sync(NOBODY, ["true"], 1)
    with pytest.raises(ContainerNotFound):
        await runtime.attach(NOBODY)
