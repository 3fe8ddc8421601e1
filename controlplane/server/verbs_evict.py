"""Evicting pods: a deletion that disruption budgets may refuse."""

from __future__ import annotations

import asyncio

from controlplane.admission import eviction, surging
from controlplane.server.verbs_delete import DeleteOptions, check_preconditions
from controlplane.store.registry import Registry
from mizzen.api import errors, kinds, selectors
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types.policy_v1 import PodDisruptionBudget
from mizzen.engine import indexes
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
        owner, replica_set = self._owners(pod)
        siblings = (
            self._registry.view.select(indexes.PODS_BY_CONTROLLER, replica_set.metadata.uid) if replica_set else ()
        )
        if surging.is_held(pod, owner, replica_set, siblings):
            noted = surging.wanted_away(pod, self._clock.now())
            return [] if noted is pod else [_left(entry, noted)], surging.refusal(owner.metadata.name if owner else "")
        evicted = eviction.evict(pod, self._budgets(pod), options.how, self._clock.now())
        writes = [] if evicted.pod == pod else [_left(entry, evicted.pod)]
        if evicted.budget is not None:
            writes.append(replacement(evicted.budget, int(evicted.budget.metadata.resource_version)))
        return writes, None

    def _owners(self, pod: core.Pod) -> tuple[apps.Deployment | None, apps.ReplicaSet | None]:
        """The Deployment that a pod comes from, with the ReplicaSet between them."""
        view, namespace = self._registry.view, pod.metadata.namespace
        above = _controller(pod, "ReplicaSet")
        replica_set = view.get(kinds.REPLICA_SET, namespace, above) if above else None
        above = _controller(replica_set, "Deployment") if replica_set is not None else ""
        return view.get(kinds.DEPLOYMENT, namespace, above) if above else None, replica_set

    def _budgets(self, pod: core.Pod) -> list[PodDisruptionBudget]:
        found = self._registry.view.list(kinds.POD_DISRUPTION_BUDGET, pod.metadata.namespace)
        return [one for one in found if selectors.from_field(one.spec.selector).matches(pod.metadata.labels)]


def _controller(obj: Object, kind: str) -> str:
    """The name of the controlling owner, if it is of a kind."""
    return next((one.name for one in obj.metadata.owner_references if one.controller and one.kind == kind), "")


def _left(entry: Entry, pod: core.Pod | None) -> Write:
    if pod is None:
        return removal(entry.kind, entry.namespace, entry.name, entry.version)
    return replacement(pod, entry.version)
