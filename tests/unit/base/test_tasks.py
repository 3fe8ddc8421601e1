"""Doing something while a condition holds, and doing it again when it fails."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from mizzen.base.tasks import keep_running, unless

pytestmark = pytest.mark.looptime


async def test_a_body_that_ends_first_ends_it() -> None:
    async def body() -> None:
        return None

    assert await unless(asyncio.Event(), body())


async def test_the_event_cancels_the_body() -> None:
    event = asyncio.Event()
    ended: list[str] = []

    async def body() -> None:
        event.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    assert not await unless(event, body())
    assert ended == ["cancelled"]


async def test_what_the_body_raises_is_raised_also_while_it_is_cancelled() -> None:
    event = asyncio.Event()

    async def body() -> None:
        event.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless(event, body())


async def test_what_fails_is_run_again_after_growing_pauses_until_it_returns() -> None:
    clock = asyncio.get_running_loop().time
    began: list[float] = []

    async def body() -> None:
        began.append(clock())
        if len(began) < 5:
            raise OSError("away")

    await keep_running("test", body, on=OSError, first_pause_s=1, longest_pause_s=4)
    assert [round(at - began[0]) for at in began] == [0, 1, 3, 7, 11]


async def test_after_a_steady_run_the_pauses_begin_anew() -> None:
    clock = asyncio.get_running_loop().time
    began: list[float] = []

    async def body() -> None:
        began.append(clock())
        if len(began) == 3:
            with suppress(TimeoutError):
                async with asyncio.timeout(100):
                    await asyncio.Event().wait()
        if len(began) < 5:
            raise OSError("away")

    await keep_running("test", body, on=OSError, first_pause_s=1, longest_pause_s=4, steady_s=60)
    assert [round(at - began[0]) for at in began] == [0, 1, 3, 104, 106]


async def test_a_defect_goes_up() -> None:
    async def body() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await keep_running("test", body, on=OSError)
