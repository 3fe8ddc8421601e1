"""Records events without making anybody wait: what is emitted is gathered, counted and written in the background.

Events are best effort, as in Kubernetes: when too many come at once, or the store does not answer, some are lost, and
that is counted. No decision ever depends on one.
"""

from __future__ import annotations

import asyncio
from itertools import islice

import structlog
from prometheus_client import Counter

from controlplane.store.registry import Registry
from controlplane.store.values import Require, StoreError
from mizzen.api.errors import ApiError
from mizzen.engine.effects import Emit
from mizzen.engine.happenings import Happening, writes_of
from mizzen.engine.values import Clock, Ids

_LOG = structlog.get_logger(__name__)
_DROPPED = Counter("mizzen_events_dropped_total", "Events that were not recorded", ["why"])

PENDING_MAX = 2000
"""Most different happenings that wait to be written."""
GATHER_S = 0.25
"""How long events are gathered before they are written, in seconds: one transaction of many is cheaper than many."""
BATCH = 50
"""Most objects whose events are written at the same time."""

_What = tuple[str, str, str, str]


class Recorder:
    """Gathers `Emit`s and writes Event objects."""

    def __init__(self, registry: Registry, clock: Clock, ids: Ids) -> None:
        """Write to `registry`; nothing is written before `run`."""
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._pending: dict[str, dict[_What, Happening]] = {}  # by the uid of the object
        self._count = 0
        self._some = asyncio.Event()

    def record(self, emit: Emit) -> None:
        """Take an event in; it never waits and never raises."""
        now = self._clock.now()
        about = self._pending.setdefault(emit.regarding.metadata.uid, {})
        what = (emit.component, emit.type, emit.reason, emit.message)
        before = about.get(what)
        if before is not None:
            about[what] = Happening(emit, before.count + 1, now)
        elif self._count < PENDING_MAX:
            about[what] = Happening(emit, 1, now)
            self._count += 1
            self._some.set()
        else:
            _DROPPED.labels("too_many").inc()

    async def run(self, fence: Require) -> None:
        """Write what is recorded until cancelled. Raises `NotLeader`."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_S)
            self._some.clear()
            while self._pending:
                uids = list(islice(self._pending, BATCH))
                about = [tuple(self._pending.pop(uid).values()) for uid in uids]
                self._count -= sum(len(happenings) for happenings in about)
                async with asyncio.TaskGroup() as group:
                    for happenings in about:
                        group.create_task(self._write(happenings, fence))

    async def _write(self, happenings: tuple[Happening, ...], fence: Require) -> None:
        try:
            await self._registry.commit(writes_of(happenings, self._registry.view, self._ids), fence=fence)
        except (ApiError, StoreError) as error:
            _DROPPED.labels("not_written").inc(len(happenings))
            _LOG.info("event_not_recorded", error=str(error), regarding=happenings[0].emit.regarding.metadata.name)
