"""HTTP to a target: aiohttp's client over connections that the dialer makes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from controlplane.server.outward.dial import CONNECT_S, Dialer
from controlplane.server.outward.targets import Target
from mizzen.api.errors import ServiceUnavailable

_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that the client would add of its own; what is passed on is what came."""
_BUFFER_BYTES = 64 * 1024

Find = Callable[[], Target]
"""Says where the next connection goes; raises ApiError where there is nobody."""


class _Connector(aiohttp.BaseConnector):
    """Connections to wherever `find` says, whatever host the URL names."""

    def __init__(self, dialer: Dialer, find: Find, tls: ssl.SSLContext | None, name: str, *, most: int) -> None:
        super().__init__(limit=most, force_close=most == 1)
        self._dialer = dialer
        self._find = find
        self._tls = tls
        self._name = name

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        sock = await self._dialer.connect(self._find())
        try:
            async with asyncio.timeout(CONNECT_S):
                _, protocol = await self._loop.create_connection(
                    self._factory, sock=sock, ssl=self._tls, server_hostname=self._name if self._tls else None
                )
        except TimeoutError as error:
            sock.close()
            raise ServiceUnavailable("net/http: TLS handshake timeout") from error
        except OSError as error:
            sock.close()
            raise ServiceUnavailable(str(error)) from error
        except BaseException:
            sock.close()
            raise
        return protocol


def session(
    dialer: Dialer, find: Find, *, tls: ssl.SSLContext | None = None, name: str = "", most: int = 1
) -> aiohttp.ClientSession:
    """A client whose every request goes where `find` says.

    `name`: whom the other side's certificate must be for; `most`: connections at a time, of which 1 is closed after
    its request. Requests raise ApiError where no connection can be made, and aiohttp.ClientError.
    """
    return aiohttp.ClientSession(
        connector=_Connector(dialer, find, tls, name, most=most),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_ADDED,
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=_BUFFER_BYTES,
        requote_redirect_url=False,
    )


def unverified() -> ssl.SSLContext:
    """TLS to whoever answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
