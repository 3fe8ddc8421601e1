"""Admission as requests take it: the pure halves, with webhooks asked in between and afterwards where there are any."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

from controlplane import admission
from controlplane.access.values import AUTHENTICATED, UserInfo
from controlplane.admission import (
    Admitted,
    Operation,
    Request,
    Settings,
    cluster_ips,
    effects,
    lifecycle,
    noderestriction,
)
from controlplane.server.audit import annotate
from controlplane.server.webhooks import Concern, Webhooks
from controlplane.store.registry import Registry
from mizzen.api.errors import ApiError
from mizzen.engine.effects import Create, Delete, Update, UpdateStatus
from mizzen.engine.values import Clock, Ids
from mizzen.engine.writes import Write


class Admission:
    """Admits requests on the newest state that the cache shows."""

    def __init__(self, registry: Registry, clock: Clock, ids: Ids, settings: Settings, webhooks: Webhooks) -> None:
        """Read `registry`; ask `webhooks`."""
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._webhooks = webhooks

    def concerns_others(self, request: Request, old: Any = None) -> bool:
        """Whether somebody outside is asked about a request, who should be asked only about the newest state."""
        return self._webhooks.concerning(request, old) is not None

    async def admit(self, request: Request, old: Any) -> Admitted:
        """What to store; `old` is the stored object, None for CREATE. Raises ApiError."""
        view, now, ids, settings = self._registry.view, self._clock.now(), self._ids, self._settings
        concern = self._webhooks.concerning(request, old)
        try:
            if concern is None:
                return _noted(admission.admit(request, old, view, now, ids, settings))
            return await self._with_others(concern, request, old)
        except ApiError as error:
            _note(error.annotations)
            if concern is not None:
                error.warnings = (*error.warnings, *concern.warnings)
            raise

    async def _with_others(self, concern: Concern, request: Request, old: Any) -> Admitted:
        """The same where somebody outside has a say."""
        view, now, ids, settings = self._registry.view, self._clock.now(), self._ids, self._settings
        obj = admission.complete(request, old, view, now, ids, settings)
        if request.operation is Operation.DELETE:
            await self._webhooks.mutate(concern, None, _as_given)
            admitted = _noted(admission.finish(request, obj, old, self._registry.view, settings))
            await self._webhooks.validate(concern, None)
        else:

            def redo(changed: Any, before: Any) -> Any:
                return admission.redone(request, changed, before, old, now)

            obj = await self._webhooks.mutate(concern, obj, redo)
            admitted = _noted(admission.finish(request, obj, old, self._registry.view, settings))
            await self._webhooks.validate(concern, admitted.object)
        return replace(admitted, warnings=(*admitted.warnings, *concern.warnings))

    def addresses(self, admitted: Admitted) -> tuple[Write, ...]:
        """The writes of other objects without which what was admitted may not be stored."""
        if not admitted.addresses:
            return ()
        view, now = self._registry.view, self._clock.now()
        return cluster_ips.claims(admitted.object, admitted.addresses, view, now, self._ids)

    async def consult(self, request: Request) -> tuple[Any, tuple[str, ...]]:
        """What is sent to a path below an object, such as an eviction, as others want it, and their warnings.

        Nothing is stored of it. Raises ApiError.
        """
        lifecycle.check_below(request, self._registry.view)
        noderestriction.check(request, None, None, self._registry.view)
        concern = self._webhooks.concerning(request, None)
        if concern is None:
            return request.object, ()
        obj = await self._webhooks.mutate(concern, request.object, _as_given)
        await self._webhooks.validate(concern, obj)
        return obj, tuple(concern.warnings)

    def write_of(self, manager: str, effect: Any) -> Awaitable[Write | None] | None:
        """The write of a controller's effect that others are asked about; None for one that concerns nobody outside."""
        if not self._webhooks.configured or not isinstance(effect, Create | Update | UpdateStatus | Delete):
            return None
        found = effects.asked(effect, self._registry.view, manager)
        if found is None:
            return None
        request, old = replace(found[0], user=UserInfo(f"system:{manager}", (AUTHENTICATED,))), found[1]
        return self._written(effect, request, old) if self.concerns_others(request, old) else None

    async def _written(self, effect: Any, request: Request, old: Any) -> Write | None:
        admitted = await self.admit(request, old)
        if not isinstance(effect, Delete):
            return effects.written(request, admitted.object, old, self._registry.view, self._clock.now())
        return effects.write_of(effect, self._registry.view, self._clock.now(), self._ids, self._settings)


def _noted(admitted: Admitted) -> Admitted:
    """What was admitted, of which the audit log has been told: others may yet refuse it."""
    if admitted.annotations:
        _note(admitted.annotations)
    return admitted


def _note(annotations: Mapping[str, str]) -> None:
    for key, value in annotations.items():
        annotate(key, value)


def _as_given(changed: Any, before: Any) -> Any:
    del before
    return changed
