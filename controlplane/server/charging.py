"""Commits that are charged to quotas: one after the other within a namespace, again where others were faster.

Those of one server wait for their turn, because of all that are charged on the same state of a quota only one can be
stored; other servers and the controllers are met in the store. Where a namespace has no quota nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from controlplane.admission import Request, quotas
from controlplane.store.registry import Registry
from controlplane.store.values import Op
from mizzen.api import errors, kinds
from mizzen.engine.values import Clock
from mizzen.engine.writes import Write

TRIES = 32
"""Attempts; each fails only where the quota changed meanwhile."""
TURN_S = 20.0
"""How long a write waits for its turn, in seconds."""


class Charging:
    """Commits one server's writes."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        """Commit to `registry`."""
        self._registry = registry
        self._clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def check(self, request: Request, new: Any, old: Any) -> None:
        """Refuse what a quota does not allow, without charging it. Raises Forbidden."""
        try:
            self._charges(request, new, old)
        except errors.Forbidden:
            # A moment ago another server may have given something back.
            await self._registry.fresh()
            self._charges(request, new, old)

    async def commit(self, write: Write, request: Request | None, old: Any, extra: Sequence[Op]) -> Any:
        """Do a write, charged to the quotas that there are; return the object with its version.

        Raises Forbidden for what a quota does not allow, ServerTimeout after too many attempts or too long a wait, and
        what the registry raises.
        """
        if request is None or not self._is_bounded(request.namespace):
            return (await self._registry.commit((write,), extra=extra))[0]
        turn = self._turns.setdefault(request.namespace, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_S):
                await turn.acquire()
        except TimeoutError as error:
            raise errors.ServerTimeout(request.kind, request.operation.value.lower()) from error
        try:
            return await self._charged(write, request, old, extra)
        finally:
            turn.release()

    async def _charged(self, write: Write, request: Request, old: Any, extra: Sequence[Op]) -> Any:
        fresh = False
        for _ in range(TRIES):
            charges: tuple[Write, ...] = ()
            try:
                charges = self._charges(request, write.object, old)
                charged = replace(write, beside=(*write.beside, *charges))
                return (await self._registry.commit((charged,), extra=extra))[0]
            except errors.Forbidden:
                if fresh:
                    raise
            except (errors.Conflict, errors.NotFound) as error:
                if not charges or not quotas.is_lost(error):
                    raise
            await self._registry.fresh()
            fresh = True
        raise errors.ServerTimeout(request.kind, request.operation.value.lower())

    def _is_bounded(self, namespace: str) -> bool:
        return bool(namespace) and bool(self._registry.cache.entries(kinds.RESOURCE_QUOTA, namespace))

    def _charges(self, request: Request, new: Any, old: Any) -> tuple[Write, ...]:
        return quotas.charges(request, new, old, self._registry.view, self._clock.now())
