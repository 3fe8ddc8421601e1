"""Two ways of keeping asyncio structured: doing something while a condition holds, and doing it again when it fails.

Both are awaited inside a task group like any other coroutine; neither leaves a task behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

_LOG = structlog.get_logger(__name__)


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


async def keep_running(
    name: str,
    body: Callable[[], Awaitable[None]],
    *,
    on: type[Exception] | tuple[type[Exception], ...],
    first_pause_s: float = 0.5,
    longest_pause_s: float = 30.0,
    steady_s: float = 60.0,
) -> None:
    """Run `body` until it returns; when it raises an operating error `on`, run it again after a pause.

    The pause doubles up to `longest_pause_s`, and begins anew after `body` has run for `steady_s` seconds. Every other
    exception is a defect and goes up.
    """
    clock = asyncio.get_running_loop().time
    pause_s = first_pause_s
    while True:
        began = clock()
        try:
            return await body()
        except on as error:
            if clock() - began >= steady_s:
                pause_s = first_pause_s
            _LOG.warning("task_failed", task=name, error=str(error), error_type=type(error).__name__, pause_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, longest_pause_s)
