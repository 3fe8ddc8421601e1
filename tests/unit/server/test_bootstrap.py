"""What a cluster has from the first moment is made once, however often and by however many it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from controlplane import bootstrap
from controlplane.access import policy
from controlplane.admission import Settings
from controlplane.bootstrap_roles import ensure_roles
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


async def test_the_default_roles_are_made_once_and_mended(planes: tuple[Verbs, Verbs]) -> None:
    await asyncio.gather(*(ensure_roles(plane) for plane in planes))
    first = planes[0]
    await first.registry.fresh()
    made = first.registry.view.list(kinds.CLUSTER_ROLE)
    assert [role.metadata.name for role in made] == sorted(role.metadata.name for role in policy.cluster_roles())
    await ensure_roles(first)
    assert first.registry.view.list(kinds.CLUSTER_ROLE) == made, "nothing is written where nothing is missing"
    broken = first.registry.view.get(kinds.CLUSTER_ROLE, "", "system:discovery")
    assert broken is not None
    await first.registry.update(replace(broken, rules=()), int(broken.metadata.resource_version))
    await ensure_roles(first)
    mended = first.registry.view.get(kinds.CLUSTER_ROLE, "", "system:discovery")
    assert mended is not None
    assert mended.rules == broken.rules


async def test_another_key_for_tokens_is_complained_of(planes: tuple[Verbs, Verbs]) -> None:
    first, second = planes
    await bootstrap.ensure_basics(first, SETTINGS)
    await bootstrap.note_account_key(first, "one")
    await second.registry.fresh()
    for key, complaints in (("one", 0), ("two", 1)):
        with capture_logs() as said:
            await bootstrap.note_account_key(second, key)
        assert [entry["event"] for entry in said] == ["account_key_differs"] * complaints
