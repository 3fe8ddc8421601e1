"""The proxies of the API: `pods/NAME/proxy`, `services/NAME/proxy`, `nodes/NAME/proxy`, and all paths below them.

Where a request goes is decided in `outward.targets`, how it is passed on in `outward.passing`.
"""

from __future__ import annotations

import random

from aiohttp import web
from yarl import URL

from controlplane.server.outward import targets
from controlplane.server.outward.client import session, unverified
from controlplane.server.outward.dial import Dialer
from controlplane.server.outward.headers import request_headers, upgrade_of
from controlplane.server.outward.links import Mount
from controlplane.server.outward.passing import Passed, pass_on
from controlplane.server.outward.targets import Target
from controlplane.server.paths import PROXY, Place
from controlplane.server.rest_call import Call
from controlplane.server.rest_objects import Handler
from controlplane.store.registry import Registry
from mizzen.api import kinds

_READING = ("GET", "HEAD")


class ProxyHandlers:
    """Answers with what pods, services and nodes answer."""

    def __init__(self, registry: Registry, dialer: Dialer) -> None:
        """Find them in `registry` and reach them through `dialer`."""
        self._registry = registry
        self._dialer = dialer
        # Pods have certificates that nobody here knows; who wants to be sure of them forwards a port and looks.
        self._tls = unverified()

    def find(self, place: Place) -> Handler | None:
        """The handler of a place, if it is a proxy."""
        return self._proxy if place.subresource == PROXY else None

    async def _proxy(self, call: Call) -> web.StreamResponse:
        request, place = call.request, call.place
        wanted = targets.split(place.name, place.kind.singular)
        target = self._target(place, wanted)
        own, rest = _parted(request.rel_url.raw_path, place)
        if not rest and request.method in _READING and not upgrade_of(request.headers):
            # Relative links lead to the right places only from a path with a slash at its end.
            query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
            return web.Response(status=301, headers={"Location": f"{own}/{query}"})
        headers = request_headers(request.headers, request.remote or "")
        headers["X-Forwarded-Uri"] = own + rest
        headers["X-Forwarded-Host"] = request.host
        headers["X-Forwarded-Proto"] = "https"
        scheme = wanted.scheme or "http"
        site = target.address if target.host else wanted.name
        url = URL(f"{scheme}://{site}{rest or '/'}", encoded=True)
        if request.rel_url.raw_query_string:
            url = URL(f"{url}?{request.rel_url.raw_query_string}", encoded=True)
        mount = Mount("https", request.host, own, site)
        tls = self._tls if scheme == "https" and target.host else None
        async with session(self._dialer, lambda: target, tls=tls) as client:
            return await pass_on(request, client, Passed(url, headers, mount))

    def _target(self, place: Place, wanted: targets.Named) -> Target:
        view = self._registry.view
        if place.kind is kinds.NODE:
            return targets.node_target(view, wanted)
        if place.kind is kinds.POD:
            return targets.pod_target(view, place.namespace, wanted)
        return random.choice(targets.service_targets(view, place.namespace, wanted))


def _parted(raw_path: str, place: Place) -> tuple[str, str]:
    """The proxy's own path, and what is below it with its first slash, both as they came."""
    segments = raw_path.split("/")
    own = 8 if place.namespace else 6
    return "/".join(segments[:own]), "".join(f"/{segment}" for segment in segments[own:])
