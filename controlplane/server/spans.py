"""A bound on how long requests take, by one timer for all of them.

Why: a timer of its own for each request (`asyncio.timeout`) costs a tenth of a short request. All have the same bound,
so who began first is due first, and one timer for the first of them is enough.
"""

from __future__ import annotations

import asyncio


class Spans:
    """The tasks that have the same time to end in."""

    def __init__(self, seconds: float) -> None:
        """Give each of them `seconds`."""
        self._seconds = seconds
        self._open: dict[Span, float] = {}
        """When each is due, by the loop's clock, in the order in which they began."""
        self._timer: asyncio.TimerHandle | None = None

    def span(self) -> Span:
        """What the running task must end in, as a context, which raises TimeoutError where it took longer."""
        return Span(self)

    def begin(self, span: Span, loop: asyncio.AbstractEventLoop) -> None:
        """Its time runs."""
        due = self._open[span] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._end_late)

    def end(self, span: Span) -> None:
        """It has ended; the timer stays for the others."""
        del self._open[span]

    def _end_late(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for span, due in self._open.items():
            if due > now:
                self._timer = loop.call_at(due, self._end_late)
                return
            span.cancel()


class Span:
    """The time that one task has."""

    __slots__ = ("_cancelled", "_spans", "_task")

    def __init__(self, spans: Spans) -> None:
        """Bound it as `spans` does."""
        self._spans = spans
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False

    def __enter__(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._spans.begin(self, loop)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End. Raises TimeoutError in place of the cancellation that was for the time; others pass."""
        self._spans.end(self)
        if not self._cancelled or self._task is None:
            return
        # Who else cancelled the task meanwhile must not be forgotten (as in `asyncio.timeout`).
        if self._task.uncancel() <= 0 and kind is asyncio.CancelledError:
            raise TimeoutError

    def cancel(self) -> None:
        """The time is over."""
        if not self._cancelled and self._task is not None:
            self._cancelled = True
            self._task.cancel()
