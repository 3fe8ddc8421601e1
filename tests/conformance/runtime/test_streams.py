"""Logs, exec and attach of every runtime."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

import pytest

from nodeagent.runtime.errors import ContainerNotFound, ContainerNotRunning, Deadline
from nodeagent.runtime.values import LogQuery
from tests.conformance.runtime.rig import Rig, closing, eventually, read_all, read_until

THREE = "echo one; echo two >&2; echo three; sleep 0.2"


async def test_logs_of_both_streams(rig: Rig) -> None:
    container_id = await rig.started(THREE)
    await rig.exited(container_id)
    found = [frame async for frame in rig.runtime.logs(container_id, LogQuery())]
    assert sorted(found) == [("stderr", b"two\n"), ("stdout", b"one\n"), ("stdout", b"three\n")]
    assert await rig.output(container_id, stderr=False) == "one\nthree\n"
    assert await rig.output(container_id, stdout=False) == "two\n"


async def test_parts_of_logs(rig: Rig) -> None:
    container_id = await rig.started("echo one; sleep 0.3; echo two; echo three")
    ended = await rig.exited(container_id)
    assert await rig.output(container_id, tail=2) == "two\nthree\n"
    assert await rig.output(container_id, tail=0) == ""
    assert await rig.output(container_id, tail=99) == "one\ntwo\nthree\n"
    assert await rig.output(container_id, limit_bytes=5) == "one\nt"
    assert await rig.output(container_id, since_ms=ended.started_at_ms + 200) == "two\nthree\n"
    stamped = await rig.output(container_id, timestamps=True, tail=1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z three\n", stamped)


async def test_following_ends_with_the_container(rig: Rig) -> None:
    container_id = await rig.started("echo one; sleep 0.3; echo two")
    async with asyncio.timeout(20):
        assert await rig.output(container_id, follow=True) == "one\ntwo\n"


async def test_following_can_be_given_up(rig: Rig) -> None:
    container_id = await rig.started("echo one; sleep 100")
    async with asyncio.timeout(20), aclosing(rig.runtime.logs(container_id, LogQuery(follow=True))) as pieces:
        async for frame in pieces:
            assert frame == ("stdout", b"one\n")
            break


async def test_logs_of_nobody(rig: Rig) -> None:
    with pytest.raises(ContainerNotFound):
        await rig.output("f" * 64)


async def test_exec_sync(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    found = await rig.runtime.exec_sync(container_id, ["sh", "-c", "echo out; echo err >&2; exit 5"], 10)
    assert found.exit_code == 5
    assert sorted(found.output.splitlines()) == [b"err", b"out"]
    assert (await rig.runtime.exec_sync(container_id, ["test", "-f", "/tmp/ready"], 10)).exit_code == 1
    assert (await rig.runtime.exec_sync(container_id, ["touch", "/tmp/ready"], 10)).exit_code == 0
    assert (await rig.runtime.exec_sync(container_id, ["test", "-f", "/tmp/ready"], 10)).exit_code == 0


async def test_exec_sync_of_what_is_not_there(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    found = await rig.runtime.exec_sync(container_id, ["no-such-program"], 10)
    assert found.exit_code in (126, 127)
    assert b"no-such-program" in found.output


async def test_exec_sync_has_a_deadline(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    async with asyncio.timeout(15):
        with pytest.raises(Deadline, match="timed out"):
            await rig.runtime.exec_sync(container_id, ["sleep", "60"], 0.3)


async def test_exec_in_a_container_that_has_ended(rig: Rig) -> None:
    container_id = await rig.started("true")
    await rig.exited(container_id)
    with pytest.raises(ContainerNotRunning):
        await rig.runtime.exec(container_id, ["true"])
    with pytest.raises(ContainerNotRunning):
        await rig.runtime.attach(container_id)


async def test_exec_keeps_streams_apart(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    async with closing(await rig.runtime.exec(container_id, ["sh", "-c", "echo out; echo err >&2; exit 9"])) as session:
        assert await read_all(session) == {"stdout": b"out\n", "stderr": b"err\n"}
        assert await session.exit_code() == 9


async def test_exec_reads_input_until_it_ends(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    async with closing(await rig.runtime.exec(container_id, ["cat"], stdin=True)) as session:
        await session.write(b"first\n")
        assert await read_until(session, b"first\n") == b"first\n"
        await session.write(b"second\n")
        await session.close_stdin()
        assert (await read_all(session))["stdout"] == b"second\n"
        assert await session.exit_code() == 0


async def test_exec_with_a_terminal_has_one_stream(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    command = ["sh", "-c", "echo out; echo err >&2"]
    async with closing(await rig.runtime.exec(container_id, command, tty=True)) as session:
        await session.resize(24, 80)
        assert await read_all(session) == {"stdout": b"out\r\nerr\r\n", "stderr": b""}
        assert await session.exit_code() == 0


async def test_exec_with_env(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    async with closing(await rig.runtime.exec(container_id, ["env"], env=[("EXTRA", "1")])) as session:
        assert b"EXTRA=1\n" in (await read_all(session))["stdout"]


async def test_attach_joins_a_running_container(rig: Rig) -> None:
    container_id = await rig.started("cat", stdin=True, stdin_once=True)
    async with closing(await rig.runtime.attach(container_id, stdin=True)) as session:
        await session.write(b"hello\n")
        assert await read_until(session, b"hello\n") == b"hello\n"
        await session.close_stdin()
        await read_all(session)
        assert await session.exit_code() == 0
    assert (await rig.exited(container_id)).exit_code == 0
    assert await rig.output(container_id) == "hello\n"


async def test_input_goes_on_for_the_next_who_attaches(rig: Rig) -> None:
    container_id = await rig.started("cat", stdin=True)
    for text in (b"first\n", b"second\n"):
        async with closing(await rig.runtime.attach(container_id, stdin=True)) as session:
            await session.close_stdin()
            async with closing(await rig.runtime.attach(container_id, stdin=True)) as other:
                await other.write(text)
                assert await read_until(session, text) == text
                assert await read_until(other, text) == text


async def test_a_containers_terminal(rig: Rig) -> None:
    container_id = await rig.started("echo one; echo two >&2", tty=True)
    state = await rig.exited(container_id)
    assert state.tty
    found = [frame async for frame in rig.runtime.logs(container_id, LogQuery())]
    assert {stream for stream, _ in found} == {"stdout"}
    assert b"".join(piece for _, piece in found) == b"one\r\ntwo\r\n"


async def test_many_streams_at_once(rig: Rig) -> None:
    container_id = await rig.started("echo ready; sleep 100")
    await rig.says(container_id, "ready")

    async def follow() -> bytes:
        async with aclosing(rig.runtime.logs(container_id, LogQuery(follow=True))) as pieces:
            return (await anext(pieces))[1]

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow()) for _ in range(200)]
    assert {task.result() for task in tasks} == {b"ready\n"}


async def test_the_log_is_there_as_soon_as_it_is_said(rig: Rig) -> None:
    container_id = await rig.started("echo ready; sleep 100")

    async def look() -> bool | None:
        return (await rig.output(container_id)) == "ready\n" or None

    await eventually(look, "no log")
