"""Calls of webhooks: one POST over verified TLS, within a deadline, of bounded size, and nowhere but where it is meant.

A service is reached at one of its ready endpoints, whose certificate must be for `NAME.NAMESPACE.svc`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from controlplane.admission.reviews import CallFailed
from mizzen.api import kinds
from mizzen.api.errors import quoted
from mizzen.api.types import admissionregistration_v1 as registration
from mizzen.api.types import core_v1 as core
from mizzen.engine.view import View

ANSWER_MAX_BYTES = 6 * 1024 * 1024
"""Largest answer."""
AT_ONCE = 64
"""Most connections at a time; who gets none waits within their deadline."""
_OF_SERVICE = "kubernetes.io/service-name"
_HTTPS = 443
_OK, _MULTIPLE, _NOT_FOUND, _SERVER_ERROR = 200, 300, 404, 500
_SHOWN = 1024


class WebhookCalls:
    """Calls webhooks; one per process."""

    def __init__(self, view: Callable[[], View]) -> None:
        """Find services in what `view` gives."""
        self._resolver = _Resolver(view)
        self._session: aiohttp.ClientSession | None = None

    async def call(self, config: registration.WebhookClientConfig, body: bytes, timeout_s: float) -> bytes:
        """The answer. Raises CallFailed."""
        url = _url(config, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, _trust(config.ca_bundle), body)
        except TimeoutError as error:
            raise CallFailed(f"Post {quoted(url)}: context deadline exceeded") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise CallFailed(
                f"Post {quoted(url)}: tls: failed to verify certificate: {error.certificate_error}"
            ) from error
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or str(error.os_error)
            raise CallFailed(f"Post {quoted(url)}: {why}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f"Post {quoted(url)}: {error}") from error

    async def _post(self, url: str, tls: ssl.SSLContext, body: bytes) -> bytes:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=AT_ONCE, resolver=self._resolver, use_dns_cache=False)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
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

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _url(config: registration.WebhookClientConfig, timeout_s: float) -> str:
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


class _Resolver(AbstractResolver):
    """Names of services become the addresses of their ready endpoints, other names are looked up as usual."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view
        self._usual: aiohttp.ThreadedResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name, _, rest = host.partition(".")
        namespace, _, suffix = rest.partition(".")
        if suffix != "svc":
            if self._usual is None:
                self._usual = aiohttp.ThreadedResolver()
            return await self._usual.resolve(host, port, family)
        found = _endpoints(self._view(), namespace, name, port)
        return [
            ResolveResult(hostname=host, host=address, port=number, family=socket.AF_INET, proto=0, flags=0)
            for address, number in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _endpoints(view: View, namespace: str, name: str, port: int) -> list[tuple[str, int]]:
    """The ready endpoints of a service's port. Raises OSError where there are none."""
    service = view.get(kinds.SERVICE, namespace, name)
    if service is None:
        raise OSError(errno.EHOSTUNREACH, f"service {quoted(name)} not found")
    wanted = next((one for one in service.spec.ports if one.port == port), None)
    if wanted is None:
        raise OSError(errno.EHOSTUNREACH, f"no service port {port} found for service {quoted(name)}")
    found = [one for piece in _slices(view, service) for one in _ready(piece, wanted)]
    if not found:
        raise OSError(errno.EHOSTUNREACH, f"no endpoints available for service {quoted(name)}")
    return found


def _slices(view: View, service: core.Service) -> list[Any]:
    pieces = view.list(kinds.ENDPOINT_SLICE, service.metadata.namespace)
    return [one for one in pieces if one.metadata.labels.get(_OF_SERVICE) == service.metadata.name]


def _ready(piece: Any, wanted: core.ServicePort) -> list[tuple[str, int]]:
    number = next((one.port for one in piece.ports if (one.name or "") == wanted.name), None)
    return [
        (endpoint.addresses[0], number)
        for endpoint in piece.endpoints
        if number and endpoint.addresses and endpoint.conditions.ready is not False
    ]
