"""Doing something for as long as a condition holds."""

from __future__ import annotations

import asyncio

import pytest

from mizzen.base.tasks import unless

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
