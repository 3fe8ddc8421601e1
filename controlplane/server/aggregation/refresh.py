"""Keeps what extension servers say of themselves, asked for in the background: no request waits for them.

Each is asked when its APIService changes and again after a while; one that does not answer now is shown as stale, with
what it said last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import structlog

from controlplane.server.aggregation import fetch
from controlplane.server.aggregation.backends import Backend, Backends
from controlplane.server.aggregation.claims import Claims, Served, is_available
from controlplane.server.aggregation.fetch import FetchFailed, Swagger
from controlplane.server.discovery import Extension
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.api.errors import ApiError
from mizzen.api.openapi_merge import Part
from mizzen.engine.entry import Change

_LOG = structlog.get_logger(__name__)

EVERY_S = 60.0
"""After how long an extension server is asked again, in seconds."""
AGAIN_S = 5.0
"""After how long one is asked again that has not answered."""
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Extended:
    """What extension servers add to discovery."""

    extensions: tuple[Extension, ...] = ()
    described: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The URLs of their descriptions, by the names that the index has for them."""
    swaggers: tuple[Part, ...] = ()
    """Their descriptions in OpenAPI v2."""


NOTHING = Extended()


@dataclass(frozen=True, slots=True)
class _Said:
    served: Served
    again_at: float
    resources: tuple[Mapping[str, Any], ...] = ()
    current: bool = False
    described: str = ""
    swagger: Swagger | None = None


class Refresh:
    """Asks extension servers, and has what they said."""

    def __init__(self, registry: Registry, claims: Claims, backends: Backends) -> None:
        """Nothing is known before `run`."""
        self._registry = registry
        self._claims = claims
        self._backends = backends
        self._said: dict[str, _Said] = {}
        self._woken = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)
        self.extended = NOTHING

    async def run(self) -> None:
        """Ask until cancelled."""
        self._registry.subscribe(self._changed)
        try:
            while True:
                self._woken.clear()
                await self._round()
                await self._wait()
        finally:
            self._registry.unsubscribe(self._changed)

    def _changed(self, changes: Sequence[Change], revision: int) -> None:
        if any(change.entry.kind is kinds.API_SERVICE for change in changes):
            self._woken.set()

    async def _wait(self) -> None:
        until = min((said.again_at for said in self._said.values()), default=None)
        try:
            async with asyncio.timeout(None if until is None else max(until - time.monotonic(), 0)):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _round(self) -> None:
        """Ask all whose time has come, and tell what is known before and after it."""
        claims = {one.metadata.name: one for one in self._claims.all().values()}
        await self._backends.keep(set(claims))
        self._said = {name: self._said.get(name, _Said(one, 0)) for name, one in claims.items()}
        self._tell(claims)
        now = time.monotonic()
        due = [
            one
            for name, one in claims.items()
            if self._said[name].served is not one or self._said[name].again_at <= now
        ]
        if due:
            await asyncio.gather(*(self._ask(one) for one in due))
            self._tell(claims)

    async def _ask(self, served: Served) -> None:
        name = served.metadata.name
        before = self._said[name]
        if not is_available(served):
            # It is asked when its condition changes.
            self._said[name] = replace(before, served=served, again_at=time.monotonic() + EVERY_S, current=False)
            return
        try:
            async with self._room:
                backend = await self._backends.of(served)
                resources = tuple(await fetch.resources(backend))
                described = await fetch.described(backend)
                swagger = await self._swagger(backend, before)
        except (FetchFailed, ApiError) as error:
            _LOG.warning("extension_not_discovered", name=name, error=str(error))
            self._said[name] = replace(before, served=served, again_at=time.monotonic() + AGAIN_S, current=False)
            return
        again_at = time.monotonic() + EVERY_S
        self._said[name] = _Said(served, again_at, resources, current=True, described=described, swagger=swagger)

    async def _swagger(self, backend: Backend, before: _Said) -> Swagger | None:
        """Its description in OpenAPI v2; one that nobody understands keeps nothing else from being shown."""
        try:
            return await fetch.described_in_v2(backend, before.swagger)
        except FetchFailed as error:
            _LOG.warning("extension_not_described", name=before.served.metadata.name, error=str(error))
            return None

    def _tell(self, claims: Mapping[str, Served]) -> None:
        extensions, described, swaggers = [], {}, []
        for name, served in claims.items():
            spec, said = served.spec, self._said[name]
            extensions.append(
                Extension(
                    spec.group,
                    spec.version,
                    spec.group_priority_minimum,
                    spec.version_priority,
                    said.resources,
                    said.current,
                )
            )
            if said.described:
                described[f"apis/{spec.group}/{spec.version}"] = said.described
            if said.swagger is not None:
                swaggers.append(said.swagger.part)
        self.extended = Extended(tuple(extensions), described, tuple(swaggers))
