"""The embedded etcd: starts, answers, comes back, refuses with advice, and never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.port import Committed, Put, Refused

pytestmark = pytest.mark.etcd

ORPHAN = """
import asyncio, os, sys
from pathlib import Path
from controlplane.store.embedded import EmbeddedEtcd

async def main():
    async with EmbeddedEtcd(Path(sys.argv[1])) as etcd:
        print("pid", etcd.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_keeps_its_data_over_a_restart(short_folder: Path) -> None:
    for expect in (0, 256):
        async with EmbeddedEtcd(short_folder / "etcd") as etcd:
            store = await EtcdStore.open(etcd.endpoints)
            outcome = await store.commit((Put("/mizzen/a", b"x", expect),))
            assert isinstance(outcome, Committed)
            await store.close()
        assert etcd.pid == 0


async def test_it_is_started_again_when_it_dies(short_folder: Path) -> None:
    async with EmbeddedEtcd(short_folder) as etcd:
        store = await EtcdStore.open(etcd.endpoints)
        first = etcd.pid
        os.kill(first, signal.SIGKILL)
        outcome = await store.commit((Put("/mizzen/a", b"x", 0),), deadline_s=30)
        assert isinstance(outcome, Committed)
        assert etcd.pid not in (0, first)
        await store.close()


async def test_it_opens_no_port_and_lets_nobody_else_in(short_folder: Path) -> None:
    async with EmbeddedEtcd(short_folder / "etcd") as etcd:
        assert stat.S_IMODE((short_folder / "etcd").stat().st_mode) == 0o700
        assert _listening(etcd.pid) == []


async def test_a_folder_in_use_is_refused(short_folder: Path) -> None:
    async with EmbeddedEtcd(short_folder):
        with pytest.raises(Refused, match="another server uses"):
            await EmbeddedEtcd(short_folder).__aenter__()
    async with EmbeddedEtcd(short_folder) as again:
        assert again.pid


async def test_a_missing_binary_says_what_to_install(short_folder: Path) -> None:
    with pytest.raises(Refused, match="apt-get install etcd-server"):
        await EmbeddedEtcd(short_folder, binary="no-such-etcd").__aenter__()


async def test_a_path_too_long_for_a_socket_is_refused(short_folder: Path) -> None:
    with pytest.raises(Refused, match="shorter data folder"):
        await EmbeddedEtcd(short_folder / ("long" * 30)).__aenter__()


async def test_an_etcd_that_cannot_start_shows_its_last_words(short_folder: Path) -> None:
    (short_folder / "data").write_text("not a folder")
    with pytest.raises(Refused, match=r"ended with code 1 while starting.*not a directory"):
        await EmbeddedEtcd(short_folder).__aenter__()


async def test_it_dies_with_its_parent(short_folder: Path) -> None:
    parent, pid = await asyncio.to_thread(_start_parent, short_folder)
    assert parent.stdout is not None
    child = os.pidfd_open(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(child, ended.set)
    async with asyncio.timeout(10):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(child)
    os.close(child)
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(short_folder / "client:1"))


def _listening(pid: int) -> list[str]:
    """Return the TCP addresses that a process listens on."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    rows = [line.split() for line in lines]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links]


def _start_parent(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that holds an embedded etcd; return it and the pid of etcd."""
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.startswith("pid "):
            return parent, int(line.split()[1])
    raise AssertionError("the parent ended early")
