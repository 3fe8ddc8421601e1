"""What every watch promises, under load: each change once, in order, none missing, and one can go on after a break.

Twenty clients watch twenty thousand changes while the store forgets its past. Some are cut and go on from the last
version they saw; one is so slow that the server lets it fall behind, and lists again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from controlplane.server import rest_watch
from controlplane.store import history
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.api_server import api_server
from tests.integration.rest.conftest import tls_of

EVENTS = 20_000
OBJECTS = 50
WATCHERS = 20
CUT_EVERY = 4
"""One in so many watchers is cut again and again."""
CUT_AFTER = 3000
"""Events that such a watcher reads before it goes away."""
WINDOW = 2048
MORE = "x" * 400
"""So that the changes that a slow client misses do not all fit into the buffers of its connection."""
END = "the-end"
"""The name of what is written last, after which nobody waits for more."""
PATH = "/api/v1/namespaces/default/configmaps"
WAIT_S = 100.0
"""Far more than it takes, also on a busy machine."""


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    code: int = 0


class _Event(msgspec.Struct):
    type: str
    object: _Object


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[_Object]


_EVENT = msgspec.json.Decoder(_Event)
_LISTED = msgspec.json.Decoder(_List)


class Progress:
    """How many changes have been written, and read by each of those who keep up."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.moved = asyncio.Event()

    def wrote(self, versions: list[int]) -> None:
        """Note further changes, in their order."""
        self.written += versions
        self.tell()

    def tell(self) -> None:
        """Let everybody look who waits for somebody else."""
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()


@dataclass
class Reader:
    """A client that watches, and begins again where it ended."""

    session: aiohttp.ClientSession
    url: str
    number: int
    progress: Progress
    version: str = ""
    seen: list[int] = field(default_factory=list)
    state: dict[str, int] = field(default_factory=dict)
    relisted: int = 0
    cuts: int = 0

    @property
    def slow(self) -> bool:
        """The first one is."""
        return self.number == 0

    async def read_all(self) -> None:
        """Until the end has been seen."""
        while END not in self.state:
            if await self._some():
                self.relisted += 1
                await self.list()

    async def list(self) -> None:
        """What there is now."""
        async with self.session.get(f"{self.url}{PATH}") as answer:
            listed = _LISTED.decode(await answer.read())
        self.version = listed.metadata.resource_version
        self.state = {item.metadata.name: int(item.metadata.resource_version) for item in listed.items}

    async def _some(self) -> bool:
        """Reads until the end, or until enough; whether the version was forgotten."""
        query = f"?watch=1&resourceVersion={self.version}&allowWatchBookmarks=true"
        read = 0
        async with self.session.get(f"{self.url}{PATH}{query}") as answer:
            assert answer.status == 200
            async for line in self._lines(answer.content):
                event = _EVENT.decode(line)
                if event.type == "ERROR":
                    assert event.object.code == 410
                    return True
                self._note(event)
                read += 1
                if END in self.state:
                    break
                if self.number % CUT_EVERY == 1 and read >= CUT_AFTER:
                    self.cuts += 1
                    break
        return False

    async def _lines(self, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
        rest = b""
        while data := await content.readany():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line
            self.progress.tell()
            while self.slow and not self.relisted and len(self.progress.written) < EVENTS * 3 // 4:
                await self.progress.moved.wait()

    def _note(self, event: _Event) -> None:
        metadata = event.object.metadata
        self.version = metadata.resource_version
        if event.type == "BOOKMARK":
            return
        self.seen.append(int(metadata.resource_version))
        self.state[metadata.name] = int(metadata.resource_version)


async def _write(registry: Registry, store: MemoryStore, made: list[Any], readers: list[Reader]) -> None:
    """Changes every object again and again, many at the same time; now and then the past is forgotten."""
    progress = readers[0].progress
    for turn in range(EVENTS // OBJECTS):
        data = {"turn": str(turn), "more": MORE}
        changed = [registry.update(replace(obj, data=data), int(obj.metadata.resource_version)) for obj in made]
        made[:] = await asyncio.gather(*changed)
        progress.wrote(sorted(int(obj.metadata.resource_version) for obj in made))
        if turn % 20 == 19:
            await store.compact(progress.written[-1])
        while min(len(reader.seen) for reader in readers[1:]) < len(progress.written) - WINDOW // 2:
            await progress.moved.wait()
    end = await registry.create(_config_map(END))
    made.append(end)
    progress.wrote([int(end.metadata.resource_version)])


def _config_map(name: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default", uid=name))


def _narrow(address: Any) -> socket.socket:
    """A socket that takes little before its owner reads."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


@pytest.mark.timeout(150)
async def test_watches_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_CHANGES", WINDOW)
    monkeypatch.setattr(rest_watch, "PORTION_BYTES", 16 * 1024)
    store = MemoryStore(MemoryBackend())
    progress = Progress()
    async with api_server(tmp_path, store=store) as server:
        made = [await server.registry.create(_config_map(f"c{number:02}")) for number in range(OBJECTS)]
        tls = tls_of(server, server.client_certificate, server.client_key)
        wide = aiohttp.TCPConnector(ssl=tls, limit=0)
        narrow = aiohttp.TCPConnector(ssl=tls, limit=0, socket_factory=_narrow)
        async with (
            aiohttp.ClientSession(connector=wide) as session,
            aiohttp.ClientSession(connector=narrow) as tight,
            asyncio.timeout(WAIT_S),
        ):
            readers = [Reader(session if number else tight, server.url, number, progress) for number in range(WATCHERS)]
            await asyncio.gather(*(reader.list() for reader in readers))
            reading = (reader.read_all() for reader in readers)
            await asyncio.gather(_write(server.registry, store, made, readers), *reading)
    await store.close()
    present = {obj.metadata.name: int(obj.metadata.resource_version) for obj in made}
    assert len(progress.written) == EVENTS + 1
    slow, *others = readers
    for reader in others:
        assert (reader.relisted, reader.state) == (0, present)
        assert reader.seen == progress.written, "everything, once, in order, also over breaks"
    assert all(reader.cuts >= EVENTS // CUT_AFTER for reader in others if reader.number % CUT_EVERY == 1)
    assert slow.relisted == 1, "it was let go, and told so"
    assert slow.state == present
    assert slow.seen == sorted(set(slow.seen))
    assert set(slow.seen) < set(progress.written)
