"""A server over each store, and the stock clients that this machine has."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.fake_streams import FakeStreams

COMMAND_S = 30.0
_OLDEST = 29


@pytest.fixture
def streams() -> FakeStreams:
    """The containers that can be read and entered."""
    return FakeStreams()


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.etcd)])
async def any_server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server, once over each store."""
    if request.param == "memory":
        async with api_server(tmp_path) as server:
            yield server
        return
    async with EmbeddedEtcd(tmp_path / "etcd") as etcd:
        store = await EtcdStore.open(etcd.endpoints)
        try:
            async with api_server(tmp_path, store=store) as server:
                yield server
        finally:
            await store.close()


@pytest.fixture
async def server(tmp_path: Path, streams: FakeStreams) -> AsyncIterator[ApiServer]:
    """A server over the store in memory."""
    async with api_server(tmp_path, streams=streams) as running:
        yield running


@dataclass
class Client:
    """Plain HTTP with an administrator's certificate."""

    server: ApiServer
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """The code and the decoded answer of a request; `options` are those of aiohttp."""
        data = json.dumps(body) if isinstance(body, dict | list) else body
        headers = {"Content-Type": "application/json"} if body is not None else {}
        headers |= options.pop("headers", {})
        url = self.server.url + path
        async with self.session.request(method, url, data=data, headers=headers, **options) as answer:
            text = await answer.text()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, json.loads(text) if kind.startswith("application/json") else text

    async def made(self, path: str, body: Any) -> Any:
        """The created object; the creation must succeed."""
        code, answer = await self.ask("POST", path, body)
        assert code == 201, answer
        return answer


def tls_of(server: ApiServer, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS that trusts the server and shows a certificate, if there is one."""
    context = ssl.create_default_context(cafile=str(server.ca))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    """An administrator."""
    tls = tls_of(server, server.client_certificate, server.client_key)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        yield Client(server, session)


def kubectls() -> list[Path]:
    """Every kubectl on this machine that is new enough, oldest first."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    folder = Path(found).resolve().parent
    versions = {int(path.name.rpartition(".")[2]): path for path in folder.glob("kubectl.1.*")}
    return [versions[minor] for minor in sorted(versions) if minor >= _OLDEST] or [Path(found)]


@dataclass
class Kubectl:
    """One kubectl, for one server."""

    binary: Path
    server: ApiServer
    home: Path
    said: str = field(default="", init=False)
    """What the last command wrote to stderr."""

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        """A running kubectl whose output can be read."""
        environment = {**os.environ, "KUBECONFIG": str(self.server.kubeconfig), "HOME": str(self.home)}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            str(self.binary), *args, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )

    async def ends(self, *args: str, stdin: str = "") -> tuple[int, str]:
        """The exit code and output of a command."""
        process = await self.start(*args)
        try:
            async with asyncio.timeout(COMMAND_S):
                out, said = await process.communicate(stdin.encode())
        except TimeoutError:
            process.kill()
            raise
        self.said = said.decode()
        return process.returncode or 0, out.decode()

    async def __call__(self, *args: str, stdin: str = "") -> str:
        """The output of a command that must succeed."""
        code, out = await self.ends(*args, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(args)}: {out}{self.said}"
        return out

    async def fails(self, *args: str, stdin: str = "") -> str:
        """What a command that must fail says."""
        code, out = await self.ends(*args, stdin=stdin)
        assert code != 0, f"kubectl {' '.join(args)} should fail: {out}"
        return self.said


@pytest.fixture(params=kubectls() or [None], ids=lambda path: path.name if path else "none")
def every_kubectl(request: pytest.FixtureRequest, server: ApiServer, tmp_path: Path) -> Kubectl:
    """Each kubectl of this machine in turn."""
    if request.param is None:
        pytest.skip("no kubectl on this machine")
    return Kubectl(request.param, server, tmp_path)


@pytest.fixture
def kubectl(server: ApiServer, tmp_path: Path) -> Kubectl:
    """The newest kubectl of this machine."""
    found = kubectls()
    if not found:
        pytest.skip("no kubectl on this machine")
    return Kubectl(found[-1], server, tmp_path)
