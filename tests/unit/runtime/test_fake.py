"""What the in-memory runtime has beyond the port: virtual time and trouble."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from nodeagent.runtime.errors import RuntimeUnavailable, StartFailed
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.runtime.fake_shell import FOREVER_MS, NotExecutable, Pause, Result, Say, Trap, compile_command
from nodeagent.runtime.values import ContainerSpec, Event, PodRef, SandboxSpec, Status

POD = PodRef(uid="u", namespace="shop", name="web")
EPOCH_MS = 1_700_000_000_000


class LoopClock:
    """The event loop's time as the world's."""

    def now(self) -> int:
        return EPOCH_MS + self.monotonic_ms()

    def monotonic_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)


async def _started(runtime: FakeRuntime, *command: str, image: str = "app:1") -> str:
    runtime.add_remote_image(image)
    await runtime.pull_image(image)
    sandbox = await runtime.create_sandbox(SandboxSpec(pod=POD, hostname="web"))
    spec = ContainerSpec(pod=POD, name="main", attempt=0, sandbox_id=sandbox.id, image=image, command=command)
    container_id = await runtime.create_container(spec)
    await runtime.start_container(container_id)
    return container_id


@pytest.mark.looptime
async def test_days_pass_at_once() -> None:
    runtime = FakeRuntime(LoopClock())
    await _started(runtime, "sh", "-c", "sleep 100000; exit 3")
    await asyncio.sleep(99_999)
    (running,) = (await runtime.list()).containers
    assert running.status is Status.RUNNING
    await asyncio.sleep(2)
    (ended,) = (await runtime.list()).containers
    assert (ended.exit_code, ended.finished_at_ms - ended.started_at_ms) == (3, 100_000_000)


@pytest.mark.looptime
async def test_a_slow_pull() -> None:
    runtime = FakeRuntime(LoopClock())
    runtime.add_remote_image("slow:1", pull_ms=60_000)
    began = asyncio.get_running_loop().time()
    await runtime.pull_image("slow:1")
    assert asyncio.get_running_loop().time() - began == pytest.approx(60)


async def test_failures_in_line_and_an_engine_that_is_away() -> None:
    runtime = FakeRuntime(LoopClock())
    runtime.fail_next("create_sandbox", StartFailed("CreatePodSandboxError", "no"))
    with pytest.raises(StartFailed):
        await runtime.create_sandbox(SandboxSpec(pod=POD))
    assert (await runtime.create_sandbox(SandboxSpec(pod=POD))).status is Status.RUNNING
    runtime.unavailable = True
    with pytest.raises(RuntimeUnavailable):
        await runtime.list()


async def test_after_a_power_loss_everything_has_ended() -> None:
    runtime = FakeRuntime(LoopClock())
    await _started(runtime, "sleep", "1000")
    async with aclosing(runtime.events()) as events:
        await anext(events)
        runtime.power_off()
        runtime.restored()
        assert await anext(events) == Event(action="resync")
    snapshot = await runtime.list()
    assert [(c.status, c.exit_code) for c in snapshot.containers] == [(Status.EXITED, 255)]
    assert [s.status for s in snapshot.sandboxes] == [Status.EXITED]


async def test_out_of_memory() -> None:
    runtime = FakeRuntime(LoopClock())
    runtime.oom_kill(await _started(runtime, "sleep", "1000"))
    (ended,) = (await runtime.list()).containers
    assert (ended.oom_killed, ended.exit_code) == (True, 137)


def test_the_shell() -> None:
    assert compile_command(["echo", "a", "b"]) == (Say("a b\n"), Result(0))
    assert compile_command(["sh", "-c", "echo 'x; y' >&2; sleep 0.5"]) == (
        Say("x; y\n", "stderr"),
        Result(0),
        Pause(500),
        Result(0),
    )
    loop = "trap 'exit 7' TERM; while :; do sleep 1; done"
    trap, wait = compile_command(["/bin/sh", "-c", loop])
    assert isinstance(trap, Trap)
    assert wait == Pause(FOREVER_MS)


@pytest.mark.parametrize("script", ["a | b", "a && b", "echo x > file"])
def test_what_the_shell_cannot_do_it_refuses(script: str) -> None:
    with pytest.raises(ValueError, match="cannot do"):
        compile_command(["sh", "-c", script])


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(NotExecutable, match="nope"):
        compile_command(["nope"])
