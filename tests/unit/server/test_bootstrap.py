"""What a cluster has from the first moment is made once, however often and by however many it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from controlplane import bootstrap
from controlplane.admission import Settings
from controlplane.server.verbs import Verbs
from controlplane.settings import parse
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds

SETTINGS = parse(["--advertise-address", "10.0.0.10"])


@pytest.fixture
async def planes() -> AsyncIterator[tuple[Verbs, Verbs]]:
    """Two control planes over one store."""
    backend = MemoryBackend()
    async with AsyncExitStack() as stack:

        async def plane() -> Verbs:
            store = MemoryStore(backend)
            stack.push_async_callback(store.close)
            registry = Registry(store)
            await registry.start()
            stack.push_async_callback(registry.close)
            return Verbs.over(registry, SystemClock(), RandomIds(), Settings(service_cidr=SETTINGS.service_cidr))

        yield await plane(), await plane()


async def test_a_restart_finds_what_the_first_start_made(planes: tuple[Verbs, Verbs]) -> None:
    first, second = planes
    await bootstrap.ensure_basics(first, SETTINGS)
    await first.registry.fresh()
    made = first.registry.view.list(kinds.SERVICE)
    await bootstrap.ensure_basics(first, SETTINGS)
    await second.registry.fresh()
    await bootstrap.ensure_basics(second, SETTINGS)
    assert second.registry.view.list(kinds.SERVICE) == made
    assert bootstrap.epoch(first) == bootstrap.epoch(second)


async def test_control_planes_that_start_together_make_it_once(planes: tuple[Verbs, Verbs]) -> None:
    await asyncio.gather(*(bootstrap.ensure_basics(plane, SETTINGS) for plane in planes))
    for plane in planes:
        await plane.registry.fresh()
        (service,) = plane.registry.view.list(kinds.SERVICE)
        assert service.spec.cluster_ip == bootstrap.api_address(SETTINGS.service_cidr)
        assert len(plane.registry.view.list(kinds.ENDPOINT_SLICE)) == 1
