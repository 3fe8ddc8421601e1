"""The raw limit beside `bench_api`: the same listeners and TLS, handlers that read the request and answer fixed bytes.

Run: python -m tests.benchmarks.plain_server PKI ANSWERS HTTPS_PORT GRPC_PORT, with the folder of a control plane's
certificates and a folder that holds what it answered: `REST-create`, `gRPC-list`, ...
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import uvloop
from aiohttp import web

from controlplane.server.grpc_server import OPTIONS
from controlplane.server.rest_listen import listen, tls_context

SERVICE = "mizzen.v1.Cluster"
PODS = "/api/v1/namespaces/default/pods"


def application(answers: Path) -> web.Application:
    """Three routes."""
    found = {name: (answers / f"REST-{name}").read_bytes() for name in ("create", "get", "list")}

    def answer(name: str, status: int) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(body=found[name], status=status, content_type="application/json")

        return handle

    app = web.Application()
    app.router.add_post(PODS, answer("create", 201))
    app.router.add_get(PODS, answer("list", 200))
    app.router.add_get(PODS + "/{name}", answer("get", 200))
    return app


def calls(answers: Path) -> Any:
    """Three calls."""

    def answer(name: str) -> Any:
        found = (answers / f"gRPC-{name}").read_bytes()

        async def handle(request: bytes, context: Any) -> bytes:
            return found

        return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out

    return grpc.method_handlers_generic_handler(
        SERVICE, {name.title(): answer(name) for name in ("create", "get", "list")}
    )


async def main(pki: Path, answers: Path, https_port: int, grpc_port: int) -> None:
    """Serve until killed."""
    certificate, key, authority = pki / "server.crt", pki / "server.key", pki / "ca.crt"
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((calls(answers),))
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.read_bytes(), require_client_auth=True)
    server.add_secure_port(f"127.0.0.1:{grpc_port}", credentials)
    await server.start()
    async with listen(application(answers), "127.0.0.1", https_port, tls_context(certificate, key, authority)):
        (answers / "ready").touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
