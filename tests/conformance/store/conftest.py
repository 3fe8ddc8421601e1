"""One etcd for the whole run, a backend for each test, and a key space that no other test uses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from controlplane.store.port import Store
from tests.conformance.store.harness import Backend, EtcdMember, MemoryTwin, RealEtcd

_spaces = count(1)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="mizzen-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def etcd_member() -> Iterator[EtcdMember]:
    """An etcd that runs until the end of the session."""
    if shutil.which("etcd") is None:
        pytest.skip("no etcd: apt-get install etcd-server")
    with tempfile.TemporaryDirectory(prefix="mizzen-") as folder:
        member = EtcdMember(Path(folder))
        member.start()
        yield member
        member.kill()


@pytest.fixture
def own_member(short_folder: Path) -> Iterator[EtcdMember]:
    """An etcd of this test's own, to be killed."""
    member = EtcdMember(short_folder)
    member.start()
    yield member
    member.kill()


@pytest.fixture
def cluster(short_folder: Path) -> Iterator[list[EtcdMember]]:
    """Three etcd members of this test's own."""
    names = ("m0", "m1", "m2")
    members = [EtcdMember(short_folder, name, names) for name in names]
    for member in members:
        member.start()
    yield members
    for member in members:
        member.kill()


@pytest.fixture
async def real_etcd(etcd_member: EtcdMember, short_folder: Path) -> AsyncIterator[RealEtcd]:
    """Real etcd behind a proxy of this test's own."""
    backend = RealEtcd(etcd_member, short_folder)
    await backend.start()
    yield backend
    await backend.close()


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.etcd)])
async def backend(request: pytest.FixtureRequest, short_folder: Path) -> AsyncIterator[Backend]:
    """Each implementation in turn."""
    backend: Backend
    if request.param == "etcd":
        backend = real = RealEtcd(request.getfixturevalue("etcd_member"), short_folder)
        await real.start()
    else:
        backend = MemoryTwin()
    yield backend
    await backend.close()


@pytest.fixture
async def store(backend: Backend) -> Store:
    """A store of the backend under test."""
    return await backend.open()


@pytest.fixture
def space() -> str:
    """A key prefix of this test's own."""
    return f"/mizzen/test-{next(_spaces)}/"
