"""Keeping asyncio structured: doing something for as long as a condition holds, and leaving no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def unless(event: asyncio.Event, body: Coroutine[Any, Any, None]) -> bool:
    """Run `body` until it ends or `event` is set, which cancels it; return whether it came to its own end.

    What `body` raises is raised, also while it is being cancelled.
    """
    task = asyncio.create_task(body)
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        finished = task.done()
    finally:
        task.cancel()
        waiter.cancel()
        await asyncio.wait((task, waiter))
    if not task.cancelled():
        task.result()
    return finished
