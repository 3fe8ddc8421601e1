"""Commands over WebSocket, where the client goes without a word."""

from __future__ import annotations

import asyncio

from aiohttp import ClientSession, web

from controlplane.server.rest_websocket import PROTOCOLS, serve_command
from tests.fixtures.scripted_streams import ScriptedSession


def _name(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__name__", "")


async def test_a_client_that_is_cut_off_leaves_nothing_running() -> None:
    session = ScriptedSession()

    async def opened() -> ScriptedSession:
        return session

    async def handler(request: web.Request) -> web.StreamResponse:
        return await serve_command(request, opened)

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with asyncio.timeout(10), ClientSession() as client:
            socket = await client.ws_connect(f"http://{host}:{port}/", protocols=PROTOCOLS)
            session.say(b"hello")
            assert await socket.receive_bytes() == b"\x01hello"
            carriers = [task for task in asyncio.all_tasks() if _name(task) in ("_send", "_receive")]
            assert len(carriers) == 2
            connection = socket._response.connection  # aiohttp has no way of being rude
            assert connection is not None
            assert connection.transport is not None
            connection.transport.abort()
            await session.closed.wait()
            await asyncio.wait(carriers)
    finally:
        await runner.cleanup()
