"""How the parts of the control plane feel, as `componentstatuses`: looked at when somebody asks, and not stored.

Kubernetes asks its scheduler and its controllers at their ports. Here both run in the control plane that leads, so they
are well when somebody leads; a leader that stops loses its lease within its time to live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controlplane.store.registry import Registry
from controlplane.store.values import StoreError
from mizzen.api import codec, errors, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.entry import Entry

LEADER = "controllers"
"""Under which name control planes campaign to run the controllers and the scheduler."""
CHECK_S = 2.0
"""How long a look may take, in seconds."""


class Components:
    """The parts of the control plane, by the names that they have in Kubernetes."""

    def __init__(self, registry: Registry) -> None:
        """As `registry` shows them: it knows the store, and through it who leads."""
        self._registry = registry
        self._looks: dict[str, Callable[[], Awaitable[str]]] = {
            "controller-manager": self._leading,
            "etcd-0": self._stored,
            "scheduler": self._leading,
        }

    async def get(self, name: str) -> Entry:
        """How one of them feels. Raises NotFound for others."""
        if name not in self._looks:
            raise errors.NotFound(kinds.COMPONENT_STATUS, name)
        return await self._look(name)

    async def every(self) -> list[Entry]:
        """How they all feel, by name."""
        return await asyncio.gather(*(self._look(name) for name in self._looks))

    async def _look(self, name: str) -> Entry:
        problem = await self._tried(self._looks[name])
        condition = core.ComponentCondition(
            type="Healthy", status="False" if problem else "True", message="" if problem else "ok", error=problem
        )
        found = core.ComponentStatus(metadata=meta.ObjectMeta(name=name), conditions=(condition,))
        raw = codec.encode_json(found)
        return Entry(kinds.COMPONENT_STATUS, "", name, self._registry.revision, raw, found)

    async def _tried(self, look: Callable[[], Awaitable[str]]) -> str:
        """What is wrong; empty when nothing is."""
        try:
            async with asyncio.timeout(CHECK_S):
                return await look()
        except TimeoutError:
            return f"no answer within {CHECK_S:g} s"
        except (StoreError, errors.ApiError) as error:
            return str(error)

    async def _leading(self) -> str:
        return "" if await self._registry.leader(LEADER) else "no control plane leads"

    async def _stored(self) -> str:
        await self._registry.fresh(CHECK_S)
        return ""
