"""The server's certificate is exchanged before it ends, on every port, and nobody loses a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from controlplane.server import pki
from controlplane.server.rest_listen import listen
from controlplane.server.serving import ServingCertificate, grpc_credentials

DAY_MS = 86_400_000
NOW = 1_790_000_000_000
SUBJECT = pki.Subject("mizzen-server", names=("127.0.0.1",), server=True, client=False)


class Served:
    """A certificate, and a clock that can be set."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.authority = pki.Pki.open(folder, NOW)
        person = self.authority.pair("person", pki.Subject("person"), NOW)
        assert person.key_pem
        self.serving = ServingCertificate(lambda: self.authority.pair("server", SUBJECT, self.now), folder)
        self.client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self.client.load_cert_chain(folder / "person.crt", folder / "person.key")
        self.client.verify_flags |= 0x200000  # whatever the time is here
        self.client.set_alpn_protocols(["h2"])

    async def shown(self, port: int) -> bytes | None:
        """The certificate that a new connection is shown."""
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.client)
        try:
            found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return found
        finally:
            writer.close()


@asynccontextmanager
async def over_grpc(shown: Callable[[], pki.KeyPair], client_ca_pem: bytes | None) -> AsyncIterator[int]:
    """A gRPC server without services."""
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc_credentials(shown, client_ca_pem))
    await server.start()
    yield port
    await server.stop(0)


async def test_every_port_shows_the_new_certificate(tmp_path: Path) -> None:
    served = Served(tmp_path)
    first = served.serving.pair.certificate_pem
    async with (
        listen(web.Application(), "127.0.0.1", 0, served.serving.tls) as https,
        over_grpc(lambda: served.serving.pair, served.authority.ca_pem) as demanding,
        over_grpc(lambda: served.serving.pair, None) as open_port,
    ):
        ports = (https, demanding, open_port)
        assert not served.serving.renew(), "it is good for long"
        before = [await served.shown(port) for port in ports]
        assert before == [ssl.PEM_cert_to_DER_cert(first.decode())] * 3
        reader, writer = await asyncio.open_connection("127.0.0.1", https, ssl=served.client)
        served.now = NOW + (pki.CERTIFICATE_VALID_DAYS - pki.RENEW_BEFORE_DAYS + 1) * DAY_MS
        assert served.serving.renew()
        after = [await served.shown(port) for port in ports]
        assert after == [ssl.PEM_cert_to_DER_cert(served.serving.pair.certificate_pem.decode())] * 3
        assert after != before
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 404 " in await reader.readline(), "who was connected still is"
        writer.close()


async def test_what_can_not_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(tmp_path)
    before = served.serving.pair

    def failing(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pki, "_write", failing)
    served.now = NOW + pki.CERTIFICATE_VALID_DAYS * DAY_MS
    with pytest.raises(OSError, match="no space left"):
        served.serving.renew()
    assert served.serving.pair is before
