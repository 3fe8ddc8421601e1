"""Asks extension servers whether they are there, and lets the objects of their groups and versions say so.

One is asked when its object, its service or its endpoints change, and again after a while: sooner while it is away.
What a finding means is decided in `controlplane.reconcilers.apiservices`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from controlplane.drive.perform import Performer
from controlplane.reconcilers.apiservices import Served, checked, stated, unreachable
from controlplane.store.registry import Registry
from controlplane.store.values import Require
from mizzen.api import kinds
from mizzen.engine.entry import Change
from mizzen.engine.values import Clock

_LOG = structlog.get_logger(__name__)

EVERY_MS = 30_000
"""After how long one that is there is asked again."""
AGAIN_MS = 3_000
"""After how long one that is away, or whose status could not be written, is asked again."""
AT_ONCE = 16
_OF_SERVICE = "kubernetes.io/service-name"

Probe = Callable[[Served], Awaitable[str]]
"""What is wrong with an extension server; empty for nothing. It has its own deadline, and raises nothing."""


@dataclass(frozen=True, slots=True)
class _Seen:
    uid: str
    generation: int
    again_at: int


class Availability:
    """The extension servers of a cluster, as its leader sees them."""

    def __init__(self, registry: Registry, performer: Performer, probe: Probe, clock: Clock) -> None:
        """Nothing is asked before `run`."""
        self._registry = registry
        self._performer = performer
        self._probe = probe
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._behind: dict[tuple[str, str], list[str]] = {}
        self._woken = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self, fence: Require) -> None:
        """Ask until cancelled. Raises NotLeader (in a group)."""
        self._seen = {}
        self._registry.subscribe(self._changed)
        try:
            while True:
                self._woken.clear()
                await self._round(fence)
                await self._wait()
        finally:
            self._registry.unsubscribe(self._changed)

    def _changed(self, changes: Sequence[Change], revision: int) -> None:
        for change in changes:
            if change.entry.kind is kinds.API_SERVICE:
                self._woken.set()
            elif self._behind and (service := _service(change)) is not None:
                for name in self._behind.get(service, ()):
                    self._seen.pop(name, None)
                    self._woken.set()

    async def _wait(self) -> None:
        until = min((seen.again_at for seen in self._seen.values()), default=None)
        left_s = None if until is None else max(until - self._clock.monotonic_ms(), 0) / 1000
        try:
            async with asyncio.timeout(left_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _round(self, fence: Require) -> None:
        """Ask all whose time has come, each beside the others."""
        remote = [one for one in self._registry.view.list(kinds.API_SERVICE) if one.spec.service is not None]
        self._behind = {}
        for one in remote:
            if one.spec.service is not None:
                service = (one.spec.service.namespace, one.spec.service.name)
                self._behind.setdefault(service, []).append(one.metadata.name)
        names = {one.metadata.name for one in remote}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        now = self._clock.monotonic_ms()
        due = [one for one in remote if self._is_due(one, now)]
        if due:
            async with asyncio.TaskGroup() as group:
                for one in due:
                    group.create_task(self._check(one, fence), name=f"availability-{one.metadata.name}")

    def _is_due(self, served: Served, now: int) -> bool:
        seen = self._seen.get(served.metadata.name)
        facts = (served.metadata.uid, served.metadata.generation)
        return seen is None or (seen.uid, seen.generation) != facts or seen.again_at <= now

    async def _check(self, served: Served, fence: Require) -> None:
        metadata, again_ms = served.metadata, AGAIN_MS
        # Noted before asking: what changes meanwhile is forgotten again, and looked at in the next round.
        self._note(served, AGAIN_MS)
        noted = self._seen[metadata.name]
        async with self._room:
            condition = unreachable(served, self._registry.view)
            if condition is None:
                condition = checked(await self._probe(served))
        newest = self._registry.view.get(kinds.API_SERVICE, "", metadata.name)
        if newest is None or (newest.metadata.uid, newest.metadata.generation) != (noted.uid, noted.generation):
            return
        effects = tuple(stated(newest, condition, self._clock.now()))
        if effects:
            _LOG.info("extension_checked", name=metadata.name, reason=condition.reason, message=condition.message)
        performed = await self._performer.perform(effects, fence)
        if performed.error is None and condition.status == "True":
            again_ms = EVERY_MS
        if self._seen.get(metadata.name) is noted:
            self._note(served, again_ms)

    def _note(self, served: Served, again_ms: int) -> None:
        metadata = served.metadata
        again_at = self._clock.monotonic_ms() + again_ms
        self._seen[metadata.name] = _Seen(metadata.uid, metadata.generation or 0, again_at)


def _service(change: Change) -> tuple[str, str] | None:
    """The service that a change is about."""
    entry = change.entry
    if entry.kind is kinds.SERVICE:
        return (entry.key.namespace, entry.key.name)
    if entry.kind is kinds.ENDPOINT_SLICE:
        return (entry.key.namespace, entry.object().metadata.labels.get(_OF_SERVICE, ""))
    return None
