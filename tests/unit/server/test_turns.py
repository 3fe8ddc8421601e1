"""Writers at one object take turns, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.server import turns
from controlplane.server.turns import Turns


async def test_one_after_the_other_at_one_object_and_nothing_is_kept() -> None:
    queue, running, most = Turns(), 0, 0
    done: list[int] = []

    async def writer(number: int) -> None:
        nonlocal running, most
        async with queue.of("a"):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            done.append(number)

    await asyncio.gather(*(writer(i) for i in range(16)))
    assert (most, done, len(queue)) == (1, list(range(16)), 0)
    async with queue.of("a"), queue.of("b"):
        assert len(queue) == 2


async def test_who_waits_too_long_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_MAX_S", 0.01)
    queue = Turns()
    async with queue.of("a"):
        async with queue.of("a"):
            assert len(queue) == 1
        assert len(queue) == 1
    assert len(queue) == 0
