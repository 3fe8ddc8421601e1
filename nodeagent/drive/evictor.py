"""Looks at what the node has left, and lets pods go before everything on it suffers.

Images that nobody needs go before any pod does. One pod goes at a time, and the next one not before the first has
ended: its end may be enough. Who goes is decided in `nodeagent.lifecycle.eviction`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock
from nodeagent.drive.context import NodeContext
from nodeagent.drive.disk_use import DiskUse
from nodeagent.drive.image_care import ImageCare
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.pods import Pods
from nodeagent.drive.usage import Meter
from nodeagent.lifecycle.actions import Record
from nodeagent.lifecycle.eviction import RESOURCES, Use, evicted, has_limits, over_limit
from nodeagent.lifecycle.pressure import DISK, MEMORY, PIDS, Readings, held
from nodeagent.lifecycle.thresholds import Crossed, Threshold, crossed, worn_out
from nodeagent.runtime.errors import RuntimeFailure

LOOK_S = 10.0
GONE_MS = 30_000
"""How long the end of a pod is waited for before another one has to go."""

_LOG = structlog.get_logger(__name__)


class Evictor:
    """The loop."""

    def __init__(
        self,
        *,
        node: NodeContext,
        pods: Pods,
        meter: Meter,
        disk: DiskUse,
        images: ImageCare,
        readings: Callable[[], Readings],
        outbox: Outbox,
        clock: Clock,
        thresholds: tuple[Threshold, ...],
        hold_ms: int,
        soft_grace_s: int,
    ) -> None:
        """`hold_ms`: for how long a pressure counts after it was felt last; `soft_grace_s`: see `evicted`."""
        self._node = node
        self._pods = pods
        self._meter = meter
        self._disk = disk
        self._images = images
        self._readings = readings
        self._outbox = outbox
        self._clock = clock
        self._thresholds = thresholds
        self._hold_ms = hold_ms
        self._soft_grace_s = soft_grace_s
        self._since: dict[Threshold, int] = {}
        """When each threshold that is crossed was crossed."""
        self._going = ""
        self._going_since_ms = 0
        self.changed: Callable[[], None] = lambda: None
        """Called when the node feels another pressure, or none any more."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except RuntimeFailure as error:
                _LOG.debug("pressure_not_looked_at", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once, and let at most one pod go for what the node lacks. Raises RuntimeFailure."""
        found = self._feel()
        if found and not self._is_going():
            await self._relieve(found[0])
        else:
            await self._keep_limits()

    def _feel(self) -> list[Crossed]:
        """The thresholds for which pods have to go."""
        found = crossed(self._thresholds, self._readings())
        before, now_ms = self._node.pressures, self._clock.monotonic_ms()
        under = {one.threshold.condition for one in found}
        self._node.pressures = held(before, under, now_ms, self._hold_ms)
        if self._node.pressures.keys() != before.keys():
            self.changed()
        self._since = {one.threshold: self._since.get(one.threshold, now_ms) for one in found}
        return worn_out(found, self._since, now_ms)

    def _is_going(self) -> bool:
        """Whether somebody who has to go is still on the way."""
        if not self._going or self._clock.monotonic_ms() - self._going_since_ms > GONE_MS:
            return False
        return self._pods.is_running(self._going)

    async def _relieve(self, lacking: Crossed) -> None:
        condition = lacking.threshold.condition
        message = f"Attempting to reclaim {RESOURCES[condition]}"
        self._outbox.node_event(Record("Warning", "EvictionThresholdMet", message), self._clock.now())
        if condition == DISK:
            await self._images.look(pressed=True)
            if lacking.threshold not in [one.threshold for one in crossed(self._thresholds, self._readings())]:
                return
        pods = self._pods.active()
        victim = evicted(await self._uses(condition, pods), lacking, self._soft_grace_s)
        if victim is None:
            _LOG.warning("nobody_to_evict", condition=condition, available=lacking.available, least=lacking.least)
            return
        pod, failure = victim
        _LOG.warning("pod_evicted", pod=f"{pod.metadata.namespace}/{pod.metadata.name}", message=failure.message)
        self._going, self._going_since_ms = pod.metadata.uid, self._clock.monotonic_ms()
        self._pods.fail(pod.metadata.uid, failure)

    async def _uses(self, condition: str, pods: Sequence[core.Pod]) -> list[Use]:
        if condition == MEMORY:
            return self._memory_of(pods)
        if condition == PIDS:
            counted = await self._meter.processes()
            return [Use(pod, counted.get(pod.metadata.uid, {})) for pod in pods]
        return await self._disk.of(pods)

    def _memory_of(self, pods: Sequence[core.Pod]) -> list[Use]:
        measured = self._meter.last
        used = {ref.uid: containers for ref, containers in measured.pods.items()} if measured is not None else {}
        return [
            Use(pod, {name: one.memory_bytes for name, one in used.get(pod.metadata.uid, {}).items()}) for pod in pods
        ]

    async def _keep_limits(self) -> None:
        """Let those go that have more on the disk than they may."""
        for use in await self._disk.of([pod for pod in self._pods.active() if has_limits(pod)]):
            failure = over_limit(use)
            if failure is not None:
                self._pods.fail(use.pod.metadata.uid, failure)
