"""What the store's conformance suite runs against: the memory twin, and real etcd behind a proxy that can be cut.

A `Backend` opens stores and causes faults. Nothing here uses a port: etcd and the proxy listen on sockets in a folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.crypt import Sealer
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.keys import leader_key
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.port import Store
from tests.conformance.store.watching import collecting


class EtcdMember:
    """One etcd process in a folder; the members of a cluster share the folder."""

    def __init__(self, folder: Path, name: str = "m0", members: tuple[str, ...] = ("m0",)) -> None:
        self.folder = folder
        self.name = name
        self._members = members
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return self.folder / f"{self.name}:1"

    @property
    def endpoint(self) -> str:
        """The same as an endpoint of the store."""
        return f"unix:{self.socket}"

    def start(self) -> None:
        """Start the process; it dies with this one."""
        for name in (f"{self.name}:1", f"{self.name}:2"):
            (self.folder / name).unlink(missing_ok=True)
        cluster = ",".join(f"{member}=unix://{member}:2" for member in self._members)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                (
                    *("setpriv", "--pdeathsig", "KILL", "--", "etcd", "--name", self.name),
                    *("--data-dir", f"{self.name}.data", "--initial-cluster", cluster),
                    *("--listen-client-urls", f"unix://{self.name}:1"),
                    *("--advertise-client-urls", f"unix://{self.name}:1"),
                    *("--listen-peer-urls", f"unix://{self.name}:2"),
                    *("--initial-advertise-peer-urls", f"unix://{self.name}:2"),
                    *("--heartbeat-interval", "50", "--election-timeout", "500"),
                    *("--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"),
                ),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Freeze the process, as a hanging disk would."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


class Proxy:
    """Forwards a socket to another one until told otherwise."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pass = asyncio.Event()
        self._pass.set()
        self._mute = False

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._connected, self.path)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        assert self._server is not None
        self._server.close()
        self.release()
        while self._tasks:
            self.cut()
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await self._server.wait_closed()

    def cut(self) -> None:
        """End all connections; new ones are accepted, and answered."""
        self._mute = False
        for writer in list(self._writers):
            writer.transport.abort()

    def hold(self) -> None:
        """Keep everything back, in both directions."""
        self._pass.clear()

    def release(self) -> None:
        """Forward again what was kept back."""
        self._pass.set()

    def mute(self) -> None:
        """Lose whatever the server says, until the connections are cut."""
        self._mute = True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()  # the server is not up (yet), and that is what its client sees
            return
        pair = {writer, there_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(reader, there_writer, answers=False))
                tasks.create_task(self._forward(there_reader, writer, answers=True))
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._pass.wait()
                if answers and self._mute:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class Backend(Protocol):
    """A place for stores, with faults. `name` is that of the implementation."""

    name: str

    async def open(self) -> Store:
        """Another store over the same data; closed at the end of the test."""

    async def reset(self) -> None:
        """Break every connection."""

    async def freeze(self) -> None:
        """Answer nothing until `thaw`."""

    async def thaw(self) -> None:
        """Answer again."""

    async def lose_answer(self) -> None:
        """Carry out the next commit, but lose the answer to it."""

    async def expire(self, name: str) -> None:
        """Let the lease of the leader of `name` run out."""

    async def close(self) -> None:
        """Close everything that was opened."""


class MemoryTwin:
    """The in-memory store. It has no connections, so resetting them does nothing."""

    name = "memory"

    def __init__(self) -> None:
        self._backend = MemoryBackend()
        self._stores: list[MemoryStore] = []

    async def open(self) -> Store:
        self._stores.append(MemoryStore(self._backend))
        return self._stores[-1]

    async def reset(self) -> None:
        """Nothing to reset."""

    async def freeze(self) -> None:
        self._backend.freeze()

    async def thaw(self) -> None:
        self._backend.thaw()

    async def lose_answer(self) -> None:
        self._backend.lose_answers = 1

    async def expire(self, name: str) -> None:
        self._backend.expire(name)

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


class RealEtcd:
    """Stores in a running etcd, all through one proxy."""

    name = "etcd"

    def __init__(self, member: EtcdMember, folder: Path) -> None:
        self.proxy = Proxy(folder / "proxy", member.socket)
        self._direct = member.endpoint
        self._stores: list[EtcdStore] = []
        self._losing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to forward."""
        await self.proxy.start()

    async def open(self) -> EtcdStore:
        store = await EtcdStore.open([f"unix:{self.proxy.path}"])
        self._stores.append(store)
        return store

    async def open_direct(self, sealer: Sealer | None = None) -> EtcdStore:
        """Another store, past the proxy."""
        store = await EtcdStore.open([self._direct], sealer=sealer)
        self._stores.append(store)
        return store

    async def reset(self) -> None:
        self.proxy.cut()

    async def freeze(self) -> None:
        self.proxy.hold()

    async def thaw(self) -> None:
        self.proxy.release()

    async def lose_answer(self) -> None:
        witness = await self.open_direct()
        self.proxy.mute()
        self._losing = asyncio.create_task(self._cut_after_commit(witness, await witness.current()))

    async def _cut_after_commit(self, witness: EtcdStore, since: int) -> None:
        """What the server says first may be about the connection itself: only etcd tells when the commit is made."""
        async with collecting(witness, "/mizzen/", since) as collector:
            await collector.received(1)
        self.proxy.cut()

    async def expire(self, name: str) -> None:
        client = EtcdClient([self._direct])
        answer = await client.range(pb.RangeRequest(key=leader_key(name).encode()), 5)
        await client.revoke_lease(answer.kvs[0].lease, 5)
        await client.close()

    async def close(self) -> None:
        self.proxy.release()
        if self._losing is not None:
            await self._losing
        for store in self._stores:
            await store.close()
        await self.proxy.close()
