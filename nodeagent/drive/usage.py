"""What containers, pods and the node use: measured every so often, told by whoever has a session.

Processor time is counted by the kernel from a container's beginning; what is told is the mean since the measurement
before. A pod is told of once all of its running containers have been measured twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from mizzen.engine.values import Clock, Instant
from nodeagent.drive.cgroups import Cgroups, Counted, Traffic, Unreadable
from nodeagent.drive.observe import Watcher
from nodeagent.drive.scrape import Scraped
from nodeagent.runtime.values import ContainerState, PodRef, SandboxState, Status

INTERVAL_S = 10.0
"""Tools that scale by usage look every 15 seconds."""

COUNTS_MS = 1000
"""Asked again within this time, the meter tells the same: whoever asks often must not cost more."""

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Used:
    """What something used: billionths of a processor, and bytes of memory."""

    cpu_nano: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the node and its pods used in one window."""

    window_ms: int
    node: Used
    pods: Mapping[PodRef, Mapping[str, Used]]
    """By the names of the pods' containers."""
    scraped: Sequence[Scraped] = ()
    """What pods say of themselves."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was counted at one moment."""

    at_ms: int
    node: Counted
    containers: Mapping[str, Counted]
    """By container id; without those that could not be read."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What everything has used until one moment, for whoever computes means himself."""

    at_ms: Instant
    node: Counted
    containers: Sequence[tuple[ContainerState, Counted]]
    """Those that run."""
    pods_ns: Mapping[PodRef, int]
    """Processor time of the pods that run, with their containers that have ended since the agent's start."""
    networks: Sequence[tuple[SandboxState, Mapping[str, Traffic]]]
    """Of pods with a network of their own, by interface."""


class Ended:
    """Processor time of containers that are gone: a pod's time must not fall when one of its containers restarts."""

    def __init__(self) -> None:
        self._seen: dict[PodRef, dict[str, int]] = {}
        self._gone_ns: dict[PodRef, int] = {}

    def take(self, containers: Sequence[tuple[ContainerState, Counted]], uids: Container[str]) -> dict[PodRef, int]:
        """The pods' times after a look at `containers`; pods that are not among `uids` are forgotten."""
        now: dict[PodRef, dict[str, int]] = {}
        for state, counted in containers:
            now.setdefault(state.pod, {})[state.id] = counted.cpu_ns
        for pod, before in self._seen.items():
            gone = sum(used for container, used in before.items() if container not in now.get(pod, {}))
            self._gone_ns[pod] = self._gone_ns.get(pod, 0) + gone
        self._seen = now
        self._gone_ns = {pod: used for pod, used in self._gone_ns.items() if pod.uid in uids}
        return {pod: self._gone_ns.get(pod, 0) + sum(used.values()) for pod, used in now.items()}


def measured(before: Looked, after: Looked, running: Sequence[ContainerState]) -> Measurement:
    """What was used between two looks; `running` are the containers that run at the second."""
    window_ms = max(1, after.at_ms - before.at_ms)
    pods: dict[PodRef, dict[str, Used]] = {}
    incomplete: set[PodRef] = set()
    for state in running:
        first, last = before.containers.get(state.id), after.containers.get(state.id)
        if first is None or last is None:
            incomplete.add(state.pod)
        else:
            pods.setdefault(state.pod, {})[state.name] = _used(first, last, window_ms)
    whole = {pod: containers for pod, containers in pods.items() if pod not in incomplete}
    return Measurement(window_ms, _used(before.node, after.node, window_ms), whole)


def _used(first: Counted, last: Counted, window_ms: int) -> Used:
    return Used(max(0, last.cpu_ns - first.cpu_ns) * 1000 // window_ms, last.memory_bytes)


class Meter:
    """Measures, and keeps the last measurement for all who tell it."""

    def __init__(
        self,
        watcher: Watcher,
        clock: Clock,
        cgroups: Cgroups,
        scraped: Callable[[], Sequence[Scraped]] = tuple,
    ) -> None:
        """Of the containers that `watcher` sees; what pods say of themselves comes from `scraped`."""
        self._watcher = watcher
        self._clock = clock
        self._cgroups = cgroups
        self._scraped = scraped
        self._before: Looked | None = None
        self._last: Measurement | None = None
        self._fresh = asyncio.Event()
        self._looking = asyncio.Lock()
        self._ended = Ended()
        self.shown: Callable[[str], str] = lambda uid: uid
        """By which uid the control plane knows a pod."""
        self._counts: Counts | None = None
        self._counts_ms = 0

    async def run(self) -> None:
        """Measure until cancelled."""
        await self._watcher.ready.wait()
        while True:
            await self.measure()
            await asyncio.sleep(INTERVAL_S)

    @property
    def last(self) -> Measurement | None:
        """The last measurement; None before the first."""
        return self._last

    async def processes(self) -> Mapping[str, Mapping[str, int]]:
        """How many processes the containers have now, by the uids of their pods and by name."""
        running = self._running()
        return await asyncio.to_thread(self._count, running)

    def _count(self, running: Sequence[ContainerState]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for state in running:
            try:
                found.setdefault(state.pod.uid, {})[state.name] = self._cgroups.processes(state.id, state.pid)
            except Unreadable:
                continue  # it has just ended
        return found

    async def measure(self) -> None:
        """Look once; from the second time on there is a measurement."""
        async with self._looking:
            running, now_ms = self._running(), self._clock.monotonic_ms()
            try:
                looked = await asyncio.to_thread(self._look, running, now_ms)
            except Unreadable as error:
                _LOG.warning("usage_unknown", error=str(error))
                return
        before, self._before = self._before, looked
        if before is not None:
            self._last = replace(measured(before, looked, running), scraped=self._scraped())
            told, self._fresh = self._fresh, asyncio.Event()
            told.set()

    async def counts(self) -> Counts:
        """What has been used until now, or until a moment ago if somebody else has just asked. Raises Unreadable."""
        async with self._looking:
            now_ms = self._clock.monotonic_ms()
            if self._counts is None or now_ms - self._counts_ms >= COUNTS_MS:
                running, sandboxes, at_ms = self._running(), self._sandboxes(), self._clock.now()
                looked = await asyncio.to_thread(self._look, running, now_ms)
                networks = await asyncio.to_thread(self._networks, sandboxes)
                found = [(state, looked.containers[state.id]) for state in running if state.id in looked.containers]
                times = self._ended.take(found, self._watcher.uids())
                self._counts, self._counts_ms = Counts(at_ms, looked.node, found, times, networks), now_ms
            return self._counts

    async def after(self, seen: Measurement | None) -> Measurement:
        """The last measurement, once it is another than `seen`."""
        while self._last is None or self._last is seen:
            await self._fresh.wait()
        return self._last

    def _running(self) -> list[ContainerState]:
        return [
            state
            for seen in self._watcher.everything()
            for state in seen.containers
            if state.status is Status.RUNNING and state.pid
        ]

    def _sandboxes(self) -> list[SandboxState]:
        return [
            state
            for seen in self._watcher.everything()
            for state in seen.sandboxes
            if state.status is Status.RUNNING and state.pid and state.network != "host"
        ]

    def _networks(self, sandboxes: Sequence[SandboxState]) -> list[tuple[SandboxState, Mapping[str, Traffic]]]:
        found = []
        for state in sandboxes:
            try:
                found.append((state, self._cgroups.network(state.pid)))
            except Unreadable:
                continue  # it has just ended
        return found

    def _look(self, running: Sequence[ContainerState], now_ms: int) -> Looked:
        found: dict[str, Counted] = {}
        for state in running:
            try:
                found[state.id] = self._cgroups.container(state.id, state.pid)
            except Unreadable:
                continue  # it has just ended
        self._cgroups.keep((state.id, state.pid) for state in running)
        return Looked(now_ms, self._cgroups.machine(), found)
