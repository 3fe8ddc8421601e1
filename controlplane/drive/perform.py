"""Performs the effects of a decision: in order, in as few commits as possible, until one bounces.

Neighbouring effects on different objects go into one commit, which happens as a whole or not at all. When it bounces,
they are tried one by one, so that those before the one in the way still happen.
What it is not: it chooses nothing; what an effect means is in `controlplane.admission.effects`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog

from controlplane.admission.quotas import is_lost
from controlplane.admission.refusals import complaint, failure
from controlplane.store.registry import Registry
from controlplane.store.values import Require, StoreError, UnknownOutcome
from mizzen.api.errors import ApiError, Conflict, NotFound
from mizzen.api.kinds import Kind, Object
from mizzen.engine.effects import Bind, Create, Delete, Effect, Emit, Evict, Issue, Sign, Update, UpdateStatus
from mizzen.engine.values import Clock, Ids, Instant
from mizzen.engine.view import View
from mizzen.engine.writes import Write

Effectual: TypeAlias = Create | Update | UpdateStatus | Delete | Evict | Bind | Sign | Issue
"""The effects that write an object."""
WriteOf: TypeAlias = Callable[[Effectual, View, Instant, Ids], Write | None]
"""What an effect means for the store; raises ApiError. See `controlplane.admission.effects.write_of`."""
Outside: TypeAlias = Callable[[Effectual], Awaitable[Write | None] | None]
"""The same for effects that others are asked about first; None for those that concern nobody outside."""

_LOG = structlog.get_logger(__name__)

COMMIT_MAX = 64
"""Most writes in one commit; it stays below the store's limit, with room for the fence."""
CHARGE_TRIES = 32
"""How often a write is charged to quotas that others are charged to at the same time."""
DELETE_TRIES = 4
"""How often a deletion by identity is tried when others write the object at the same time."""
CATCH_UP_PAUSE_S = 0.5
"""Pause before the store is asked again what became of a commit, in seconds."""


@dataclass(slots=True)
class Performed:
    """What came of a decision's effects."""

    version: int = 0
    """The highest version written; 0 when nothing was."""
    error: Exception | None = None
    """Why it ended early: the ApiError of the first effect that bounced, or the store's error."""

    def wrote(self, objects: Iterable[Object]) -> None:
        """Note the versions of what was written."""
        self.version = max((int(obj.metadata.resource_version) for obj in objects), default=self.version)


class _Chunk:
    """Effects that are committed together, with the events in between."""

    def __init__(self) -> None:
        self.steps: list[tuple[Effectual, Write] | Emit] = []
        self.writes: dict[tuple[Kind[Any], str, str], Write] = {}

    def add(self, effect: Effectual, write: Write) -> bool:
        """Take a write in; False when it does not fit: one commit writes an object once."""
        place = (write.kind, write.namespace, write.name)
        if len(self.writes) == COMMIT_MAX or place in self.writes:
            return False
        self.writes[place] = write
        self.steps.append((effect, write))
        return True


class Performer:
    """Turns effects into commits."""

    def __init__(
        self,
        registry: Registry,
        write_of: WriteOf,
        record: Callable[[Emit], None],
        clock: Clock,
        ids: Ids,
        outside: Outside | None = None,
    ) -> None:
        """Write through `registry` what `write_of` says, or `outside` where it has a say; events go to `record`."""
        self._registry = registry
        self._write_of = write_of
        self._record = record
        self._clock = clock
        self._ids = ids
        self._outside = outside

    async def perform(self, effects: Sequence[Effect], fence: Require) -> Performed:
        """Perform effects in order until one bounces. Raises `NotLeader`; every other trouble is in the result.

        After an unknown outcome the cache has caught up with the store, so that the next decision sees what happened.
        """
        performed = Performed()
        try:
            await self._perform(effects, fence, performed)
        except UnknownOutcome as error:
            performed.error = error
            performed.version = max(performed.version, await self.caught_up())
        except (ApiError, StoreError) as error:
            performed.error = error
        return performed

    async def _perform(self, effects: Iterable[Effect], fence: Require, performed: Performed) -> None:
        chunk = _Chunk()
        for effect in effects:
            if isinstance(effect, Emit):
                chunk.steps.append(effect)
                continue
            try:
                write = await self._translate(effect)
            except ApiError as error:
                await self._flush(chunk, fence, performed)
                await self._refused(effect, error, fence, performed)
                raise
            if write is not None and write.beside:
                # Alone, because the next one is charged on what this one leaves; so do budgets pay for evictions.
                await self._flush(chunk, fence, performed)
                chunk = _Chunk()
                await self._charged(effect, write, fence, performed)
            elif write is not None and not chunk.add(effect, write):
                await self._flush(chunk, fence, performed)
                chunk = _Chunk()
                chunk.add(effect, write)
        await self._flush(chunk, fence, performed)

    async def _flush(self, chunk: _Chunk, fence: Require, performed: Performed) -> None:
        together = tuple(chunk.writes.values())
        if len(together) > 1:
            try:
                performed.wrote(await self._registry.commit(together, fence=fence))
            except ApiError:
                # Which one is in the way is found out below; those before it still happen.
                together = ()
        for step in chunk.steps:
            if isinstance(step, Emit):
                self._record(step)
            elif len(together) <= 1:
                await self._one(*step, fence, performed)

    async def _one(self, effect: Effectual, write: Write | None, fence: Require, performed: Performed) -> None:
        """Perform one effect; a deletion by identity does not care what others write to the object meanwhile."""
        tries = DELETE_TRIES if isinstance(effect, Delete) and not effect.resource_version else 1
        while write is not None:
            tries -= 1
            try:
                return performed.wrote(await self._registry.commit((write,), fence=fence))
            except Conflict:
                if not tries:
                    raise
            except NotFound:
                if isinstance(effect, Delete):
                    return None
                raise
            await self._registry.fresh()
            write = await self._translate(effect)
        return None

    async def _charged(self, effect: Effectual, write: Write | None, fence: Require, performed: Performed) -> None:
        """Perform one effect that is charged to quotas; again where others were charged meanwhile."""
        for tries_left in reversed(range(CHARGE_TRIES)):
            try:
                return await self._one(effect, write, fence, performed)
            except (Conflict, NotFound) as error:
                if not is_lost(error) or not tries_left:
                    raise
            await self._registry.fresh()
            try:
                write = await self._translate(effect)
            except ApiError as error:
                await self._refused(effect, error, fence, performed)
                raise
        return None

    async def _refused(self, effect: Effectual, error: ApiError, fence: Require, performed: Performed) -> None:
        """Tell the owner of an object that it may not be made."""
        if not isinstance(effect, Create):
            return
        said = complaint(effect, error, self._registry.view)
        if said is not None:
            self._record(said)
        noted = failure(effect, error, self._registry.view, self._clock.now())
        write = await self._translate(noted) if noted is not None else None
        if write is not None:
            # Whoever changes the owner meanwhile makes it be decided again.
            with suppress(Conflict, NotFound):
                performed.wrote(await self._registry.commit((write,), fence=fence))

    async def _translate(self, effect: Effectual) -> Write | None:
        asking = self._outside(effect) if self._outside is not None else None
        if asking is not None:
            return await asking
        return self._write_of(effect, self._registry.view, self._clock.now(), self._ids)

    async def caught_up(self) -> int:
        """Wait until the cache shows what became of a commit; without the store there is nothing else to do."""
        while True:
            try:
                return await self._registry.fresh()
            except (ApiError, StoreError) as error:
                _LOG.warning("outcome_unknown", error=str(error))
            await asyncio.sleep(CATCH_UP_PAUSE_S)
