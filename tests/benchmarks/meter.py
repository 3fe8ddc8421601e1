"""Whose CPU is used in a process of many parts: what runs is charged to the innermost part, and to that one alone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

OTHER = "other"
"""What no part claims: the event loop itself, and callbacks outside tasks."""


class Meter:
    """Seconds of CPU of this thread, by part; what measuring takes is charged to nobody, as far as it can be told."""

    def __init__(self) -> None:
        """Begin to count."""
        self.seconds: Counter[str] = Counter()
        self.times: Counter[str] = Counter()
        """How often each part was entered."""
        self.part = OTHER
        """What is charged now."""
        self._since = time.thread_time()

    def reset(self) -> None:
        """Forget what was counted so far."""
        self.charge()
        self.seconds.clear()
        self.times.clear()

    def charge(self) -> None:
        """Charge what was used until now."""
        self.seconds[self.part] += time.thread_time() - self._since
        self._since = time.thread_time()

    def enter(self, part: str) -> str:
        """Charge another part from now on; returns the one to go back to."""
        self.charge()
        before, self.part = self.part, part
        self.times[part] += 1
        return before

    def leave(self, before: str) -> None:
        """Charge the part again that was charged before."""
        self.charge()
        self.part = before

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Charge a part for a while."""
        before = self.enter(part)
        try:
            yield
        finally:
            self.leave(before)

    def counted(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, charged to a part."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            before = self.enter(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave(before)

        return counted

    def use(self, loop: asyncio.AbstractEventLoop, part_of: Callable[[str], str]) -> None:
        """Charge every task that is made from now on to the part of the module that its coroutine is from."""

        def factory(
            of: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **how: Any
        ) -> asyncio.Task[Any]:
            frame = getattr(coroutine, "cr_frame", None)
            part = part_of(frame.f_globals.get("__name__", "")) if frame is not None else OTHER
            return asyncio.Task(_alone(Steps(self, part, coroutine)), loop=of, **how)

        loop.set_task_factory(factory)


class Steps:
    """A coroutine whose steps are charged to a part, also those after it has waited."""

    def __init__(self, meter: Meter, part: str, coroutine: Any) -> None:
        """Await it to run it."""
        self._meter = meter
        self._part = part
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        """Step through the coroutine."""
        step, value = self._coroutine.send, None
        while True:
            before = self._meter.enter(self._part)
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value
            finally:
                self._meter.leave(before)
            try:
                step, value = self._coroutine.send, (yield waits_for)
            except BaseException as error:  # cancelled, for one: the coroutine's to deal with
                step, value = self._coroutine.throw, error


async def _alone(steps: Steps) -> Any:
    return await steps
