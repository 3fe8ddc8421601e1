"""The control planes beside the one that the session is with: a session each, for streams alone.

Whoever asks a control plane for logs or exec is to be served by it, and nobody dials a node; so the agent is there at
every one. Which there are it knows from the endpoints of the service `kubernetes`, which it is told like all others;
they share one port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.cache import Cache
from nodeagent.drive.checkpoint import ClusterFacts
from nodeagent.drive.objects import Told
from nodeagent.drive.session import Place, Session

SERVICE = ("default", "kubernetes")


def control_planes(cache: Cache, port: str) -> list[str]:
    """The gRPC endpoints of the control planes that serve, as far as the agent was told."""
    found = cache.get(kinds.ENDPOINT_SLICE, *SERVICE)
    endpoints = found.endpoints if found is not None else ()
    return sorted({f"{address}:{port}" for endpoint in endpoints for address in endpoint.addresses})


class Nobody:
    """Who is told what comes over a session for streams alone: nobody, for nothing does."""

    def __init__(self, node: str) -> None:
        self._node = core.Node(metadata=meta.ObjectMeta(name=node))

    def hello(self) -> tuple[core.Node, Place]:
        """See `session.Receiver`."""
        return self._node, Place("", 0)

    def welcomed(self, facts: ClusterFacts, epoch: str, *, resumed: bool) -> None:
        """See `session.Receiver`."""

    def told(self, items: list[Told], version: int, *, synced: bool) -> None:
        """See `session.Receiver`."""

    def wanted(self, metrics: Mapping[str, frozenset[str]]) -> None:
        """See `session.Receiver`."""

    def parted(self) -> None:
        """See `session.Receiver`."""


class Attendance:
    """Keeps a session with each of the others."""

    def __init__(self, others: Callable[[], Sequence[str]], session_with: Callable[[str], Session]) -> None:
        """`others` are the endpoints to attend now; `session_with` makes a session with one."""
        self._others = others
        self._session_with = session_with
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Control planes have come or gone, or the node's own session has."""
        self._changed.set()

    async def run(self) -> None:
        """Attend until cancelled."""
        going: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                others = self._others()
                for endpoint in [endpoint for endpoint in going if endpoint not in others]:
                    going.pop(endpoint).cancel()
                for endpoint in others:
                    if endpoint not in going:
                        going[endpoint] = group.create_task(self._session_with(endpoint).run(), name=f"at {endpoint}")
                await self._changed.wait()
                self._changed.clear()
