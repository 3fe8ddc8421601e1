"""Evicting pods: a deletion that disruption budgets may refuse."""

from __future__ import annotations

import asyncio

from controlplane.admission import eviction
from controlplane.server.verbs_delete import DeleteOptions, check_preconditions
from controlplane.store.registry import Registry
from mizzen.api import errors, kinds
from mizzen.api.types import core_v1 as core
from mizzen.engine.entry import Entry
from mizzen.engine.values import Clock
from mizzen.engine.writes import Write, removal, replacement

TRIES = 20
"""Attempts; each fails only where the pod or its budget changed meanwhile."""


class Evictions:
    """The verb that evicts."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        """Evict from `registry`."""
        self._registry = registry
        self._clock = clock
        # Evictions of one budget would only get in each other's way.
        self._turn = asyncio.Lock()

    async def evict(self, namespace: str, name: str, options: DeleteOptions) -> None:
        """Let a pod go, if its budgets allow that. Raises NotFound, Conflict, TooManyRequests, Forbidden, ApiError."""
        async with self._turn:
            for _ in range(TRIES):
                await self._registry.fresh()
                writes, refusal = self._decide(namespace, name, options)
                try:
                    if writes and not options.dry_run:
                        await self._registry.commit(writes)
                except (errors.Conflict, errors.NotFound):
                    continue
                if refusal is not None:
                    raise refusal
                return
        raise errors.Conflict(kinds.POD, name)

    def _decide(
        self, namespace: str, name: str, options: DeleteOptions
    ) -> tuple[list[Write], errors.TooManyRequests | None]:
        """What to store, and what to answer in the end."""
        entry = self._registry.cache.entry(kinds.POD, namespace, name)
        if entry is None:
            raise errors.NotFound(kinds.POD, name)
        pod: core.Pod = entry.object()
        check_preconditions(kinds.POD, pod, options)
        evicted = eviction.asked(pod, self._registry.view, options.how, self._clock.now())
        writes = [] if evicted.pod == pod else [_left(entry, evicted.pod)]
        if evicted.budget is not None:
            writes.append(replacement(evicted.budget, int(evicted.budget.metadata.resource_version)))
        return writes, evicted.refusal


def _left(entry: Entry, pod: core.Pod | None) -> Write:
    if pod is None:
        return removal(entry.kind, entry.namespace, entry.name, entry.version)
    return replacement(pod, entry.version)
