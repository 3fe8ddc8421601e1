"""A bound on requests by one timer: who is late is ended, who is not goes on, and other cancellations pass."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.server.spans import Spans


async def _endless(spans: Spans) -> None:
    with spans.span():
        await asyncio.Event().wait()


async def test_each_that_is_late_is_ended() -> None:
    spans = Spans(0.02)
    outcomes = await asyncio.gather(*(_endless(spans) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 3
    with pytest.raises(TimeoutError):  # the timer is set anew
        await _endless(spans)


async def test_who_ends_in_time_is_left_alone() -> None:
    spans = Spans(0.02)
    with spans.span():
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await _endless(spans)
    assert asyncio.current_task() is not None


async def test_who_begins_later_is_due_later() -> None:
    loop = asyncio.get_running_loop()
    spans, ended = Spans(0.05), []

    async def one(number: int) -> None:
        begun = loop.time()
        try:
            await _endless(spans)
        except TimeoutError:
            ended.append((number, loop.time() - begun >= 0.05))

    async with asyncio.TaskGroup() as group:
        group.create_task(one(1))
        await asyncio.sleep(0.02)
        group.create_task(one(2))
    assert ended == [(1, True), (2, True)]


async def test_cancelled_by_another() -> None:
    task = asyncio.create_task(_endless(Spans(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_by_both() -> None:
    spans = Spans(0.01)

    async def cancelled_meanwhile() -> None:
        with spans.span():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                raise

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled_meanwhile())


async def test_an_error_of_its_own_passes() -> None:
    with pytest.raises(ValueError, match="own"), Spans(60).span():
        raise ValueError("own")
