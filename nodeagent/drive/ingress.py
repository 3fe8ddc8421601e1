"""Brings the Ingresses of the cluster to this node's HAProxy, where the node's label says that it serves them.

Changes are collected for a moment, because each new configuration costs a worker. A certificate that can't be read is
left out, and told as an event of the node, so that one bad Secret spoils nothing but itself.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from mizzen.api import kinds
from mizzen.api.ingress import serves
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import networking_v1 as networking
from mizzen.engine.values import Key
from nodeagent.drive.objects import SLICES_OF_SERVICE, Objects
from nodeagent.ingress.haproxy import Place, files
from nodeagent.ingress.proxy import Proxy, ProxyFailure, unprivileged
from nodeagent.ingress.site import Certificate, Site, site
from nodeagent.lifecycle.actions import Record

FOLDER = "ingress"
GATHER_S, RETRY_S, LOOK_S = 0.3, 10.0, 30.0
"""How long changes are collected; after what time it is tried again; how often the proxy is looked after."""
_KINDS = frozenset(
    kind.resource for kind in (kinds.INGRESS, kinds.INGRESS_CLASS, kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.SECRET)
)
_LOG = structlog.get_logger(__name__)


class IngressSync:
    """What the proxy was told last, and what has changed since."""

    def __init__(self, node: str, objects: Objects, data_dir: Path, tell: Callable[[Record], None]) -> None:
        """`node` is the own node's name; files go below `data_dir`; `tell` says what people should know of the node."""
        self._tell = tell
        self._node = node
        self._objects = objects
        self._place = Place(data_dir / FOLDER, user=unprivileged())
        self._proxy = Proxy(data_dir / FOLDER)
        self._wake = asyncio.Event()
        self._wake.set()
        self._served = False
        self._checked: dict[bytes, bool] = {}
        """Whether a certificate can be read; asked once for each."""

    def changed(self, keys: Iterable[Key]) -> None:
        """Objects have changed; those of other kinds are passed over."""
        own = Key(kinds.NODE.resource, "", self._node)
        if any(key == own or (self._served and key.resource in _KINDS) for key in keys):
            self._wake.set()

    async def run(self) -> None:
        """Bring changes to the proxy until cancelled; it goes on serving then."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S if self._served else None):
                    await self._wake.wait()
            except TimeoutError:
                pass  # Somebody may have ended it.
            self._wake.clear()
            try:
                await self._sync()
            except (ProxyFailure, OSError) as error:
                _LOG.error("ingress_not_served", error=str(error), retry_s=RETRY_S)
                self._tell(Record("Warning", "IngressNotServed", str(error)))
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            await asyncio.sleep(GATHER_S)

    async def _sync(self) -> None:
        own = self._objects.cache.get(kinds.NODE, "", self._node)
        if own is None:
            return
        if not serves(own):
            if self._served or self._place_is_used():
                await self._proxy.stop()
                self._served = False
                _LOG.info("ingress_ended")
            return
        self._served = True
        wanted = site(self._objects.cache.list(kinds.INGRESS), self._classes(), self)
        await self._proxy.apply(files(await self._readable(wanted), self._place))

    def _place_is_used(self) -> bool:
        return (Path(self._place.folder) / "haproxy.pid").exists()

    def _classes(self) -> dict[str, networking.IngressClass]:
        return {one.metadata.name: one for one in self._objects.cache.list(kinds.INGRESS_CLASS)}

    async def _readable(self, wanted: Site) -> Site:
        known = {one.pem: self._checked.get(one.pem) for one in wanted.certificates}
        for certificate in wanted.certificates:
            if known[certificate.pem] is None:
                known[certificate.pem] = await asyncio.to_thread(_is_readable, certificate)
                if not known[certificate.pem]:
                    _LOG.error("certificate_unreadable", secret=certificate.name)
                    message = f"the Secret {certificate.name} holds no pair of tls.crt and tls.key"
                    self._tell(Record("Warning", "CertificateUnreadable", message))
        self._checked = {pem: bool(good) for pem, good in known.items()}
        return replace(wanted, certificates=tuple(one for one in wanted.certificates if known[one.pem]))

    # What a site is made of; see `site.Cluster`.

    def service(self, namespace: str, name: str) -> core.Service | None:
        """A Service."""
        return self._objects.cache.get(kinds.SERVICE, namespace, name)

    def slices(self, namespace: str, name: str) -> Sequence[discovery.EndpointSlice]:
        """The IPv4 slices of a Service."""
        found = self._objects.cache.select(SLICES_OF_SERVICE, f"{namespace}/{name}")
        return [item for item in found if item.address_type == "IPv4"]

    def secret(self, namespace: str, name: str) -> core.Secret | None:
        """A Secret."""
        return self._objects.cache.get(kinds.SECRET, namespace, name)


def _is_readable(certificate: Certificate) -> bool:
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.pem)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name)
        except (ssl.SSLError, ValueError):
            return False
    return True
