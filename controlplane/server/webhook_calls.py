"""Calls of webhooks: one POST over verified TLS, within a deadline, of bounded size, and nowhere but where it is meant.

A service is reached at one of its ready endpoints, through the agent of its pod's node, because the control plane need
not be on the pods' network; its certificate must be for `NAME.NAMESPACE.svc`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from controlplane.admission.reviews import CallFailed
from controlplane.server.outward import client
from controlplane.server.outward.dial import Dialer
from controlplane.server.outward.targets import Target, backend_targets
from mizzen.api.errors import ApiError, NotFound, ServiceUnavailable, quoted
from mizzen.api.types import admissionregistration_v1 as registration
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.engine.view import View

ANSWER_MAX_BYTES = 6 * 1024 * 1024
"""Largest answer."""
AT_ONCE = 64
"""Most connections at a time; who gets none waits within their deadline."""
_HTTPS = 443
_OK, _MULTIPLE, _NOT_FOUND, _SERVER_ERROR = 200, 300, 404, 500
_SHOWN = 1024


Config = registration.WebhookClientConfig | apiextensions.WebhookClientConfig


class WebhookCalls:
    """Calls webhooks; one per process."""

    def __init__(self, view: Callable[[], View], dialer: Dialer) -> None:
        """Find services in what `view` gives, and reach them through `dialer`."""
        self._view = view
        self._dialer = dialer
        self._session: aiohttp.ClientSession | None = None

    async def call(self, config: Config, body: bytes, timeout_s: float) -> bytes:
        """The answer. Raises CallFailed."""
        url = _url(config, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, _trust(config.ca_bundle), body)
        except TimeoutError as error:
            raise CallFailed(f"Post {quoted(url)}: context deadline exceeded") from error
        except ApiError as error:
            raise CallFailed(f"Post {quoted(url)}: {error.message}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f"Post {quoted(url)}: {error}") from error

    async def _post(self, url: str, tls: ssl.SSLContext, body: bytes) -> bytes:
        if self._session is None:
            self._session = client.calls(self._dialer, self._targets, most=AT_ONCE)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        async with self._session.post(url, data=body, headers=headers, ssl=tls, allow_redirects=False) as answer:
            text = await answer.content.read(ANSWER_MAX_BYTES + 1)
            while len(text) <= ANSWER_MAX_BYTES and (
                more := await answer.content.read(ANSWER_MAX_BYTES + 1 - len(text))
            ):
                text += more
            if len(text) > ANSWER_MAX_BYTES:
                raise CallFailed(f"the answer has more than {ANSWER_MAX_BYTES} bytes")
            if not _OK <= answer.status < _MULTIPLE:
                raise CallFailed(_said(answer.status, text))
            return text

    def _targets(self, host: str, port: int) -> Sequence[Target]:
        """Where a name leads: that of a service to its endpoints, in any order. Raises ApiError."""
        name, _, rest = host.partition(".")
        namespace, _, suffix = rest.partition(".")
        if suffix != "svc":
            return (Target(host, port),)
        try:
            found = backend_targets(self._view(), namespace, name, port)
        except NotFound as error:
            raise ServiceUnavailable(f"service {quoted(name)} not found") from error
        return random.sample(found, len(found))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _url(config: Config, timeout_s: float) -> str:
    """Where to ask. Raises CallFailed where the configuration names nobody."""
    query = f"timeout={timeout_s:g}s"
    service = config.service
    if service is not None:
        host = f"{service.name}.{service.namespace}.svc:{service.port or _HTTPS}"
        return urlunsplit(("https", host, service.path or "/", query, ""))
    parts = urlsplit(config.url or "")
    if parts.scheme != "https" or not parts.hostname:
        raise CallFailed("the webhook has neither a service nor an https URL")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))


def _said(status: int, text: bytes) -> str:
    if status == _NOT_FOUND:
        return "the server could not find the requested resource"
    if status >= _SERVER_ERROR:
        shown = text[:_SHOWN].decode(errors="replace").strip()
        return f"an error on the server ({quoted(shown)}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more information"


@lru_cache(maxsize=256)
def _trust(bundle: bytes) -> ssl.SSLContext:
    """Trust in a bundle of certificates (PEM), or, without one, in what this machine trusts. Raises ValueError."""
    return ssl.create_default_context(cadata=bundle.decode("ascii")) if bundle else ssl.create_default_context()
