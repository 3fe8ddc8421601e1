"""The raw limit beside `bench_api` and `bench_lists`: the same listeners and TLS, handlers that answer fixed bytes.

Run: python -m tests.benchmarks.plain_server PKI ANSWERS HTTPS_PORT GRPC_PORT, with the folder of a control plane's
certificates and a folder with what it answered, as `Recorded` writes it. A watch gets the recorded line for every
PATCH, with the time of that PATCH in it.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import uvloop
from aiohttp import web

from controlplane.server.grpc_server import OPTIONS
from controlplane.server.rest_listen import listen, tls_context
from tests.benchmarks.servers import free_ports, running

SERVICE = "mizzen.v1.Cluster"
SENT = re.compile(rb'"sent":"([0-9.]{20})"')
"""When a change was asked for, on the machine's monotonic clock, in an annotation of always the same length."""
STAMP_BYTES = len(b'"sent":""') + 20
BODY_MAX_BYTES = 3 * 1024 * 1024


class Answer(msgspec.Struct, array_like=True):
    """What a server answered to one REST request."""

    status: int
    content_type: str
    body: bytes


class Recorded(msgspec.Struct):
    """What a server answered."""

    rest: dict[str, Answer] = {}
    """By `question`."""
    grpc: dict[str, bytes] = {}
    """By the name of the call."""
    event: bytes = b""
    """A line of a watch."""

    @contextmanager
    def served(self, folder: Path) -> Iterator[tuple[int, tuple[int, int]]]:
        """A plain server of these answers; gives its pid and its ports for HTTPS and gRPC."""
        answers, ports = folder / "answers", free_ports(2)
        answers.mkdir()
        (answers / "recorded").write_bytes(msgspec.msgpack.encode(self))
        argv = ["tests.benchmarks.plain_server", folder / "pki", answers, *ports]
        with running(argv, folder / "plain.log", answers / "ready") as pid:
            yield pid, (ports[0], ports[1])


def question(method: str, path_qs: str, accept: str, encoding: str) -> str:
    """What a REST request asks for."""
    return f"{method} {path_qs} {accept} {encoding}"


class Plain:
    """The one handler of all REST requests."""

    def __init__(self, recorded: Recorded) -> None:
        self._answers: Mapping[str, Answer] = recorded.rest
        self._event = recorded.event
        self._watching: list[web.StreamResponse] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Read the request and answer what is known to be the answer."""
        body = await request.read()
        if request.query.get("watch"):
            return await self._watch(request)
        headers = request.headers
        found = self._answers[question(request.method, request.path_qs, headers["Accept"], headers["Accept-Encoding"])]
        if self._watching and (sent := SENT.search(body)):
            line = SENT.sub(sent[0], self._event)
            for watch in self._watching:
                await watch.write(line)
        return web.Response(body=found.body, status=found.status, headers={"Content-Type": found.content_type})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        self._watching.append(answer)
        try:
            await asyncio.Event().wait()
        finally:
            self._watching.remove(answer)
        return answer


def calls(recorded: Recorded) -> Any:
    """The gRPC calls."""

    def answer(found: bytes) -> Any:
        async def handle(request: bytes, context: Any) -> bytes:
            return found

        return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out

    return grpc.method_handlers_generic_handler(SERVICE, {name: answer(found) for name, found in recorded.grpc.items()})


@asynccontextmanager
async def over_grpc(recorded: Recorded, pki: Path, port: int) -> AsyncIterator[None]:
    """Serve gRPC while the context is open."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((calls(recorded),))
    pair = ((pki / "server.key").read_bytes(), (pki / "server.crt").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], (pki / "ca.crt").read_bytes(), require_client_auth=True)
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    yield
    await server.stop(0)


async def main(pki: Path, answers: Path, https_port: int, grpc_port: int) -> None:
    """Serve until killed."""
    recorded = msgspec.msgpack.decode((answers / "recorded").read_bytes(), type=Recorded)
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    app.router.add_route("*", "/{path:.*}", Plain(recorded).handle)
    tls = tls_context(pki / "server.crt", pki / "server.key", pki / "ca.crt")
    async with over_grpc(recorded, pki, grpc_port), listen(app, "127.0.0.1", https_port, tls):
        (answers / "ready").touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
