"""Clients of extension servers: each knows its authorities and shows the certificate of the front proxy.

An extension server believes what the headers of a request say about its user, because whoever sends it has proved to
be the front proxy. Its certificate must be for `NAME.NAMESPACE.svc`.
"""

from __future__ import annotations

import random
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from controlplane.server.aggregation.claims import Served
from controlplane.server.outward import targets
from controlplane.server.outward.client import session, unverified
from controlplane.server.outward.dial import Dialer
from controlplane.server.outward.targets import Target
from controlplane.store.registry import Registry
from mizzen.api.errors import ServiceUnavailable
from mizzen.api.types import apiregistration_v1 as apiregistration

AT_ONCE = 256
"""Most requests to one extension server at a time, watches included."""
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """The files of the certificate that this server shows to extension servers."""

    certificate: Path
    key: Path


class Backend:
    """One extension server."""

    def __init__(
        self, spec: apiregistration.APIServiceSpec, registry: Registry, dialer: Dialer, own: FrontProxy
    ) -> None:
        """Reach who serves `spec`. Raises ssl.SSLError or ValueError for authorities that cannot be read."""
        assert spec.service is not None, "served here"
        self.spec = spec
        self._service = spec.service
        self._registry = registry
        tls = _tls(spec)
        tls.load_cert_chain(own.certificate, own.key)
        self._name = f"{self._service.name}.{self._service.namespace}.svc"
        self.client: aiohttp.ClientSession = session(dialer, self._one, tls=tls, name=self._name, most=AT_ONCE)

    def targets(self) -> list[Target]:
        """Where it is. Raises ApiError where it is nowhere."""
        return targets.backend_targets(
            self._registry.view, self._service.namespace, self._service.name, self._service.port or _HTTPS
        )  # fmt: skip

    def url(self, path: str) -> URL:
        """The URL of a path, with its query, as it came."""
        return URL(f"https://{self._name}:{self._service.port or _HTTPS}{path}", encoded=True)

    def _one(self) -> Target:
        return random.choice(self.targets())


class Backends:
    """The extension servers that have been asked so far."""

    def __init__(self, registry: Registry, dialer: Dialer, own: FrontProxy) -> None:
        """Find them in `registry` and reach them through `dialer`, as `own`."""
        self._registry = registry
        self._dialer = dialer
        self._own = own
        self._backends: dict[str, Backend] = {}

    async def of(self, served: Served) -> Backend:
        """The server of a group and version. Raises ServiceUnavailable where its authorities cannot be read."""
        name = served.metadata.name
        found = self._backends.get(name)
        if found is not None and found.spec == served.spec:
            return found
        try:
            made = self._backends[name] = Backend(served.spec, self._registry, self._dialer, self._own)
        except (ssl.SSLError, ValueError) as error:
            raise ServiceUnavailable(f"spec.caBundle cannot be read: {error}") from error
        if found is not None:
            await found.client.close()
        return made

    async def keep(self, names: set[str]) -> None:
        """Close what is of no use any longer."""
        for name in self._backends.keys() - names:
            await self._backends.pop(name).client.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.keep(set())


def _tls(spec: apiregistration.APIServiceSpec) -> ssl.SSLContext:
    if spec.insecure_skip_tls_verify:
        return unverified()
    if spec.ca_bundle:
        return ssl.create_default_context(cadata=spec.ca_bundle.decode("ascii"))
    return ssl.create_default_context()
