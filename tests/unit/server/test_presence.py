"""A control plane says that it serves, for as long as it does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.server import pki
from controlplane.server.presence import NAMESPACE, RENEW_S, ForeignAuthority, Presence, check_authority
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.api.types import coordination_v1
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import SeededIds


def stored(registry: Registry) -> coordination_v1.Lease | None:
    """The lease."""
    return registry.view.get(kinds.LEASE, NAMESPACE, "apiserver-10.0.0.10")


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_a_lease_is_renewed_and_given_back() -> None:
    store = MemoryStore(MemoryBackend())
    registry = Registry(store)
    await registry.start()
    presence = Presence(registry, "10.0.0.10", "abc", SystemClock(), SeededIds(1))
    serving = asyncio.create_task(presence.run())
    seen = set()
    for _ in range(3):
        await asyncio.sleep(RENEW_S)
        lease = stored(registry)
        assert lease is not None
        assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("10.0.0.10", 15)
        seen.add((lease.metadata.uid, lease.metadata.resource_version))
    assert len({uid for uid, _ in seen}) == 1
    assert len(seen) == 3
    serving.cancel()
    await asyncio.wait((serving,))
    assert stored(registry) is None
    await registry.close()
    await store.close()


@pytest.mark.asyncio
async def test_a_control_plane_with_another_authority_is_refused(tmp_path: Path) -> None:
    store, clock = MemoryStore(MemoryBackend()), SystemClock()
    registry = Registry(store)
    await registry.start()
    ours, theirs = (pki.Pki.open(tmp_path / name, clock.now()) for name in ("ours", "theirs"))
    await Presence(registry, "10.0.0.10", theirs.ca_hash, clock, SeededIds(1)).renew()
    check_authority(registry.view, "10.0.0.11", theirs, clock.now())
    check_authority(registry.view, "10.0.0.10", ours, clock.now())  # its own lease, from before it was made anew
    check_authority(registry.view, "10.0.0.11", ours, clock.now() + 20_000)  # that one is dead
    with pytest.raises(ForeignAuthority, match=r"not that of the control plane at 10\.0\.0\.10.* copy pki/ca\.crt"):
        check_authority(registry.view, "10.0.0.11", ours, clock.now())
    await registry.close()
    await store.close()
