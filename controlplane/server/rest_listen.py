"""Listening behind TLS that asks for client certificates but does not insist on them.

The API is one handler for all paths: an aiohttp application around it would look each path up in vain, for a twentieth
of what a short request costs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

BODY_MAX_BYTES = 3 * 1024 * 1024
"""Largest request body."""
SHUTDOWN_S = 2.0
"""How long open requests may take to end when the server stops, in seconds."""
LINE_MAX_BYTES = 64 * 1024
"""Longest request line, and longest header: selectors can be long."""
_BACKLOG = 1024
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""


def tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS for the server; a client certificate must be signed by `client_ca`, if there is one at all.

    There need not be: a join has a token and no certificate yet, and anybody may ask for the server's health. Whether
    it is in its time is asked later (`authn`): TLS would end the connection, and nobody would learn why.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    context.load_cert_chain(certificate, key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= _NO_CHECK_TIME
    return context


class Handler(Protocol):
    """What answers all requests."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one."""

    def end(self) -> None:
        """End what would not end by itself: the server stops."""


class _Runner(web.ServerRunner):
    """Runs a handler as `web.AppRunner` runs an application."""

    def __init__(self, handler: Handler, **options: Any) -> None:
        request = partial(web.Request, loop=asyncio.get_running_loop(), client_max_size=BODY_MAX_BYTES)

        # What it is called with are such requests.
        server = web.Server(handler.handle, request_factory=request, **options)  # type: ignore[arg-type]
        super().__init__(server, shutdown_timeout=SHUTDOWN_S)
        self._handler = handler

    async def shutdown(self) -> None:
        self._handler.end()


@asynccontextmanager
async def listen(app: Handler | web.Application, host: str, port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Serve while the context is open; gives the port, also when 0 asked for any.

    Raises OSError when the address cannot be had.
    """
    options: dict[str, Any] = {
        # Cancelling on disconnect is what ends the watches of clients that are gone.
        "handler_cancellation": True,
        "access_log": None,
        "max_line_size": LINE_MAX_BYTES,
        "max_field_size": LINE_MAX_BYTES,
    }
    runner: web.BaseRunner
    if isinstance(app, web.Application):
        runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S, **options)
    else:
        runner = _Runner(app, **options)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=_BACKLOG)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
