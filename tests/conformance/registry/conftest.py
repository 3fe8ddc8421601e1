"""Registries over each store in turn; the objects of earlier tests are removed first."""

from __future__ import annotations

import pytest

from controlplane.store.keys import REGISTRY
from controlplane.store.port import Store
from controlplane.store.values import MAX_COMMIT_OPS, Remove
from tests.conformance.registry.harness import Registries
from tests.conformance.store.conftest import backend, etcd_member, short_folder  # noqa: F401  # used as fixtures
from tests.conformance.store.harness import Backend


@pytest.fixture
async def store(backend: Backend) -> Store:  # noqa: F811  # pytest passes the fixture
    """A store with no objects in it."""
    opened = await backend.open()
    records = (await opened.range(REGISTRY)).records
    for start in range(0, len(records), MAX_COMMIT_OPS):
        portion = records[start : start + MAX_COMMIT_OPS]
        await opened.commit(tuple(Remove(record.key, record.version) for record in portion))
    return opened


@pytest.fixture
async def registries(backend: Backend, store: Store):  # type: ignore[no-untyped-def]  # noqa: F811
    """Opens registries that are closed after the test."""
    opened = Registries(backend, store)
    yield opened
    await opened.close()
