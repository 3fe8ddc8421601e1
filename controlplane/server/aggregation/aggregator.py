"""Passes requests on to extension servers, in the name of whoever sent them and after our own roles have allowed it."""

from __future__ import annotations

from collections import Counter

import structlog
from aiohttp import web

from controlplane.access.values import UserInfo
from controlplane.server.aggregation import fetch
from controlplane.server.aggregation.backends import AT_ONCE, Backends, FrontProxy
from controlplane.server.aggregation.claims import Claims, Served, is_available
from controlplane.server.aggregation.refresh import Extended, Refresh
from controlplane.server.outward.dial import Dialer
from controlplane.server.outward.headers import identity_headers, request_headers
from controlplane.server.outward.passing import Passed, pass_on
from controlplane.store.registry import Registry
from mizzen.api.errors import ApiError, ServiceUnavailable, TooManyRequests

_LOG = structlog.get_logger(__name__)

BEGINS_S = 60.0
"""How long an answer may take to begin, in seconds."""


class Aggregator:
    """The extension servers of one process."""

    def __init__(self, registry: Registry, dialer: Dialer, own: FrontProxy) -> None:
        """Find them in `registry`, reach them through `dialer`, and prove to be the front proxy by `own`."""
        self.claims = Claims(registry.cache)
        self._backends = Backends(registry, dialer, own)
        self._refresh = Refresh(registry, self.claims, self._backends)
        self._taken: Counter[str] = Counter()

    def extended(self) -> Extended:
        """What they add to discovery."""
        return self._refresh.extended

    async def run(self) -> None:
        """Keep that up to date until cancelled."""
        await self._refresh.run()

    async def close(self) -> None:
        """Close all connections."""
        await self._backends.close()

    async def probe(self, served: Served) -> str:
        """What is wrong with the server of a group and version; empty when it answers."""
        try:
            return await fetch.probe(await self._backends.of(served))
        except ApiError as error:
            return error.message

    async def ask(self, served: Served, path: str, user: UserInfo) -> tuple[int, bytes]:
        """Status and body of what an extension server answers to one of our own. Raises FetchFailed or ApiError."""
        return await fetch.ask(await self._backends.of(served), path, user)

    async def answer(self, request: web.Request, served: Served, user: UserInfo) -> web.StreamResponse:
        """What the extension server answers. Raises TooManyRequests where it is asked too much already."""
        if not is_available(served):
            return _unavailable("service unavailable")
        try:
            backend = await self._backends.of(served)
            backend.targets()
        except ApiError as error:
            _LOG.info("extension_not_reached", name=served.metadata.name, error=error.message)
            return _unavailable("service unavailable")
        headers = request_headers(request.headers, request.remote or "")
        headers.popall("Host", None)
        headers.extend(identity_headers(user))
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        how = Passed(backend.url(f"{request.rel_url.raw_path}{query}"), headers, redirects=False, begins_s=BEGINS_S)
        name = served.metadata.name
        if self._taken[name] >= AT_ONCE:
            raise TooManyRequests("too many requests are being served, please try again later")
        self._taken[name] += 1
        try:
            return await pass_on(request, backend.client, how)
        except ServiceUnavailable as error:
            return _unavailable(error.message)
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]


def _unavailable(why: str) -> web.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=f"{why}\n".encode(), status=ServiceUnavailable.code, headers=headers)
