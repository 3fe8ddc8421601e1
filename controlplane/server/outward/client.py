"""HTTP to a target: aiohttp's client over connections that the dialer makes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from controlplane.server.outward.dial import CONNECT_S, Dialer
from controlplane.server.outward.targets import Target
from mizzen.api.errors import ApiError, ServiceUnavailable

_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that the client would add of its own; what is passed on is what came."""
_BUFFER_BYTES = 64 * 1024
_HTTPS = 443

Find = Callable[[], Target]
"""Says where the next connection goes; raises ApiError where there is nobody."""
FindHost = Callable[[str, int], Sequence[Target]]
"""Says where connections to a host and port of a URL may go, the best first; raises ApiError where there is nobody."""


class _Way(NamedTuple):
    """How a request gets where it goes."""

    targets: Sequence[Target]
    tls: ssl.SSLContext | None
    name: str
    """Whom the other side's certificate must be for."""


class _Connector(aiohttp.BaseConnector):
    """Connections to wherever `way` says, whatever host the URL names."""

    def __init__(self, dialer: Dialer, way: Callable[[ClientRequest], _Way], *, most: int) -> None:
        super().__init__(limit=most, force_close=most == 1)
        self._dialer = dialer
        self._way = way

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        way = self._way(req)
        sock = await self._first(way.targets)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, protocol = await self._loop.create_connection(
                    self._factory, sock=sock, ssl=way.tls, server_hostname=way.name if way.tls else None
                )
        except TimeoutError as error:
            sock.close()
            raise ServiceUnavailable("net/http: TLS handshake timeout") from error
        except ssl.SSLCertVerificationError as error:
            sock.close()
            raise ServiceUnavailable(f"tls: failed to verify certificate: {error.verify_message or error}") from error
        except OSError as error:
            sock.close()
            raise ServiceUnavailable(str(error)) from error
        except BaseException:
            sock.close()
            raise
        return protocol

    async def _first(self, targets: Sequence[Target]) -> socket.socket:
        """A connection to the first target that can be reached. Raises ApiError."""
        for target in targets[:-1]:
            with suppress(ApiError):
                return await self._dialer.connect(target)
        return await self._dialer.connect(targets[-1])


def session(
    dialer: Dialer, find: Find, *, tls: ssl.SSLContext | None = None, name: str = "", most: int = 1
) -> aiohttp.ClientSession:
    """A client whose every request goes where `find` says.

    `name`: whom the other side's certificate must be for; `most`: connections at a time, of which 1 is closed after
    its request. Requests raise ApiError where no connection can be made, and aiohttp.ClientError.
    """
    return _session(_Connector(dialer, lambda _: _Way((find(),), tls, name), most=most))


def calls(dialer: Dialer, find: FindHost, *, most: int) -> aiohttp.ClientSession:
    """A client for https URLs of any hosts; each request brings its TLS, and the certificate is for the URL's host.

    `most`: connections at a time. Requests raise as those of `session` do.
    """

    def way(req: ClientRequest) -> _Way:
        host, tls = req.url.host or "", req.ssl
        return _Way(find(host, req.url.port or _HTTPS), tls if isinstance(tls, ssl.SSLContext) else None, host)

    return _session(_Connector(dialer, way, most=most))


def _session(connector: _Connector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
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
