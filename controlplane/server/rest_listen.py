"""Listening: the application behind TLS that asks for client certificates but does not insist on them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

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


@asynccontextmanager
async def listen(app: web.Application, host: str, port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Serve the application while the context is open; gives the port, also when 0 asked for any.

    Raises OSError when the address cannot be had.
    """
    # Cancelling on disconnect is what ends the watches of clients that are gone.
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S,
        max_line_size=LINE_MAX_BYTES, max_field_size=LINE_MAX_BYTES,
    )  # fmt: skip
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=_BACKLOG)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
