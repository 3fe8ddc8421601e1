"""Ingresses served by a real HAProxy: hosts, paths, certificates, and reloads that nobody notices."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import NameOID

from mizzen.api.types import core_v1 as core
from nodeagent.ingress.haproxy import Place, files
from nodeagent.ingress.proxy import Proxy, ProxyFailure
from nodeagent.ingress.site import Site
from tests.fixtures.certificates import pair
from tests.integration.agent.plane import until
from tests.unit.ingress.things import Known, backend, ingress, rule, served, service, tls

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")

HOST = "127.0.0.1"


@dataclass
class Served:
    """A running proxy over two programs, `web` and `api`."""

    proxy: Proxy
    place: Place
    known: Known

    async def apply(self, site: Site) -> None:
        """Have the proxy serve this."""
        await self.proxy.apply(files(site, self.place))

    async def answer(self, host: str, path: str) -> str:
        """Who answers a request over a new connection, as `name` or a status; raises OSError."""
        reader, writer = await asyncio.open_connection(HOST, self.place.http_port)
        return await talk(reader, writer, host, path)

    async def shown(self, host: str) -> tuple[str, str]:
        """Whose certificate is shown to a client that asks for a host, and who answers it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(HOST, self.place.https_port, ssl=context, server_hostname=host)
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        (name,) = x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(name.value), await talk(reader, writer, host, "/")

    def master(self) -> int:
        """The proxy's first process."""
        return int((Path(self.place.folder) / "haproxy.pid").read_text())

    def workers(self) -> list[str]:
        """Its children."""
        pid = self.master()
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str) -> str:
    """One request."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split()[1].decode() if head else "nothing"
    return body.decode() if status == "200" else status


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Served]:
    """A proxy that serves nothing yet; its end is waited for."""
    runners: list[web.AppRunner] = []

    async def program(name: str) -> int:
        async def say(request: web.Request) -> web.Response:
            return web.Response(text=f"{name} {request.headers['X-Forwarded-Proto']}")

        app = web.Application()
        app.router.add_get("/{path:.*}", say)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, HOST, 0).start()
        return int(runner.addresses[0][1])

    known = Known({name: service(name, HOST, await program(name), "http") for name in ("web", "api")})
    folder = tmp_path / "ingress"
    made = Served(Proxy(folder), Place(folder, free_port(), free_port()), known)
    yield made
    pid = made.master() if (folder / "haproxy.pid").exists() else 0
    await made.proxy.stop()
    await until(lambda: not pid or not Path(f"/proc/{pid}").exists() or _is_zombie(pid))
    for runner in runners:
        await runner.cleanup()


def _is_zombie(pid: int) -> bool:
    with suppress(OSError):
        return b") Z" in Path(f"/proc/{pid}/stat").read_bytes()
    return True


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


async def test_hosts_and_paths(running: Served) -> None:
    def to(name: str, path: str, kind: str) -> tuple[str, str, str]:
        return path, kind, name

    paths = [to("api", "/v1", "Prefix"), to("web", "/v1/exact", "Exact"), to("web", "/", "Prefix")]
    every = [rule("shop.example.org", *paths), rule("*.example.org", to("api", "/", "Prefix"))]
    for entry in every:
        for one in entry["http"]["paths"]:
            one["backend"]["service"]["port"] = {"name": "http"}
    site = served(running.known, ingress("web", *every))
    await running.apply(site)
    await until(running.workers)
    wanted = {
        ("shop.example.org", "/"): "web http",
        ("SHOP.example.org:80", "/other"): "web http",
        ("shop.example.org", "/v1"): "api http",
        ("shop.example.org", "/v1/"): "api http",
        ("shop.example.org", "/v1/deep?x=1"): "api http",
        ("shop.example.org", "/v1/exact"): "web http",
        ("shop.example.org", "/v1/exact/"): "api http",
        ("shop.example.org", "/v11"): "web http",
        ("other.example.org", "/"): "api http",
        ("a.b.example.org", "/"): "404",
        ("example.org", "/"): "404",
    }
    assert {key: await running.answer(*key) for key in wanted} == wanted
    await running.apply(served(running.known, ingress("web", defaultBackend=backend("web", "http"))))
    await until_answers(running, "anything", "web http")
    await running.apply(served(running.known, ingress("web", defaultBackend=backend("gone"))))
    await until_answers(running, "anything", "503")


async def until_answers(running: Served, host: str, wanted: str) -> None:
    """Wait for a new worker to have taken over."""
    async with asyncio.timeout(10):
        answer = ""
        while answer != wanted:
            with suppress(OSError):  # one that was killed resets its connections
                answer = await running.answer(host, "/")
            await asyncio.sleep(0.02)


async def test_certificates_by_name(running: Served) -> None:
    running.known.secrets = {
        name: core.Secret(type="kubernetes.io/tls", data=pair(name)) for name in ("first", "second", "star")
    }
    asked = ingress(
        "web",
        defaultBackend=backend("web", "http"),
        tls=[tls("first", "a.example.org"), tls("second", "b.example.org"), tls("star", "*.star.example.org")],
    )
    await running.apply(served(running.known, asked))
    await until(running.workers)
    for host, name in (
        ("b.example.org", "second"), ("a.example.org", "first"), ("x.star.example.org", "star"), ("unknown", "first"),
    ):  # fmt: skip
        assert await running.shown(host) == (name, "web https")
    running.known.secrets["second"] = core.Secret(type="kubernetes.io/tls", data=pair("renewed"))
    await running.apply(served(running.known, asked))
    async with asyncio.timeout(10):
        while (await running.shown("b.example.org"))[0] != "renewed":  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.02)
    await running.apply(served(running.known, ingress("web", defaultBackend=backend("web", "http"))))
    assert list((Path(running.place.folder) / "certificates").iterdir()) == []


async def test_nobody_notices_a_reload(running: Served) -> None:
    await running.apply(served(running.known, ingress("web", defaultBackend=backend("web", "http"))))
    await until(running.workers)
    answers: list[str] = []
    ended = asyncio.Event()

    async def ask() -> None:
        while not ended.is_set():
            answers.append(await running.answer("h", "/"))

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    master = running.master()
    for number in range(10):
        before = len(answers)
        await running.apply(
            served(running.known, ingress("web", rule(f"h{number}.example.org"), defaultBackend=backend("web", "http")))
        )
        await until(lambda enough=before + 100: len(answers) >= enough)
    ended.set()
    await asyncio.gather(*asking)
    assert set(answers) == {"web http"}
    assert len(answers) >= 1000
    assert running.master() == master


async def test_a_new_agent_takes_over_what_runs_and_what_is_bad_changes_nothing(running: Served) -> None:
    good = files(served(running.known, ingress("web", defaultBackend=backend("web", "http"))), running.place)
    await running.proxy.apply(good)
    await until(running.workers)
    master, workers = running.master(), running.workers()
    running.proxy = Proxy(Path(running.place.folder))
    await running.proxy.apply(good)
    assert (running.master(), running.workers()) == (master, workers)
    with pytest.raises(ProxyFailure, match="haproxy refuses its files: "):
        await running.proxy.apply({**good, "haproxy.cfg": good["haproxy.cfg"] + b"nonsense\n"})
    assert await running.answer("h", "/") == "web http"
    for pid in (master, *map(int, workers)):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{master}").exists() or _is_zombie(master))
    await running.proxy.apply(good)
    await until_answers(running, "h", "web http")
    assert running.master() != master
