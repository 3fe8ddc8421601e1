"""Probes against real sockets: what they find, and the words for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mizzen.api.types import core_v1 as core
from nodeagent.drive.prober import grpc_check, http_get, tcp_connect
from nodeagent.lifecycle.probes import Outcome

HOST = "127.0.0.1"
APP = core.Container(name="app", ports=())


@asynccontextmanager
async def site() -> AsyncIterator[int]:
    """A web server with an answer for every case."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        if request.path == "/slow":
            await asyncio.sleep(30)
        if request.path == "/away":
            raise web.HTTPFound("http://192.0.2.1/")
        wanted = request.headers.get("X-Wanted", "")
        assert request.headers["User-Agent"].startswith("kube-probe/1.36")
        return web.Response(status=int(wanted or 200))

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def get(port: int | str, path: str = "/", **headers: str) -> core.HTTPGetAction:
    """A probe's request."""
    wanted = tuple(core.HTTPHeader(name=name.replace("_", "-"), value=value) for name, value in headers.items())
    return core.HTTPGetAction(port=port, path=path, http_headers=wanted)


@pytest.mark.parametrize(
    ("status", "outcome", "message"),
    [
        ("200", Outcome.SUCCESS, ""),
        ("399", Outcome.SUCCESS, ""),
        ("404", Outcome.FAILURE, "HTTP probe failed with statuscode: 404"),
        ("500", Outcome.FAILURE, "HTTP probe failed with statuscode: 500"),
    ],
)
async def test_http(status: str, outcome: Outcome, message: str) -> None:
    async with site() as port:
        assert await http_get(get(port, X_Wanted=status), APP, HOST, 1) == (outcome, message)


async def test_http_does_not_wait_for_ever_nor_wander_off() -> None:
    async with site() as port:
        outcome, message = await http_get(get(port, "/slow"), APP, HOST, 0.1)
        assert outcome is Outcome.FAILURE
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        assert message == f'Get "http://{HOST}:{port}/slow": {why}'
        assert (await http_get(get(port, "/away"), APP, HOST, 1))[0] is Outcome.SUCCESS


async def test_ports_by_name_and_by_a_name_that_is_not_there() -> None:
    async with site() as port:
        app = core.Container(name="app", ports=(core.ContainerPort(name="web", container_port=port),))
        assert (await http_get(get("web"), app, HOST, 1))[0] is Outcome.SUCCESS
        assert await http_get(get("none"), app, HOST, 1) == (
            Outcome.ERROR,
            "unable to find port 'none' of container app",
        )


async def test_nobody_there() -> None:
    server = await asyncio.start_server(lambda _, w: w.close(), HOST, 0)
    port = server.sockets[0].getsockname()[1]
    assert await tcp_connect(HOST, port, 1) == (Outcome.SUCCESS, "")
    server.close()
    await server.wait_closed()
    refused = f"dial tcp {HOST}:{port}: connect: connection refused"
    assert await tcp_connect(HOST, port, 1) == (Outcome.FAILURE, refused)
    assert await http_get(get(port), APP, HOST, 1) == (Outcome.FAILURE, f'Get "http://{HOST}:{port}/": {refused}')
    outcome, message = await grpc_check(core.GRPCAction(port=port), HOST, 1)
    assert (outcome, "health rpc" in message) == (Outcome.FAILURE, True)


async def test_grpc_health() -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("db", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert await grpc_check(core.GRPCAction(port=port), HOST, 2) == (Outcome.SUCCESS, "")
    assert await grpc_check(core.GRPCAction(port=port, service="db"), HOST, 2) == (
        Outcome.FAILURE,
        'service unhealthy (responded with "NOT_SERVING")',
    )
    await server.stop(0)
