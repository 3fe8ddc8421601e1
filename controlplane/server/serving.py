"""The certificate that the server shows on its ports, exchanged before it ends; connections that stand go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog

from controlplane.server.pki import KeyPair
from controlplane.server.rest_listen import tls_context

CHECK_S = 3600.0
"""How often the certificate's time is looked at, in seconds: it is exchanged many days before its end."""

_LOG = structlog.get_logger(__name__)


class ServingCertificate:
    """What is shown now, to REST by a TLS context and to gRPC by a function that each handshake asks."""

    def __init__(self, issue: Callable[[], KeyPair], folder: Path) -> None:
        """`issue` gives the certificate that `folder` keeps as `server`, a new one if that is about to end."""
        self._issue = issue
        self._files = folder / "server.crt", folder / "server.key"
        self.pair = issue()
        self.tls = tls_context(*self._files, folder / "ca.crt")

    async def run(self) -> None:
        """Look after the certificate until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                self.renew()
            except OSError as error:
                _LOG.error("certificate_not_renewed", error=str(error), hint="the folder pki must be writable")

    def renew(self) -> bool:
        """Show a new certificate if there is one; whether there was. Raises OSError when it can't be written."""
        pair = self._issue()
        if pair.certificate == self.pair.certificate:
            return False
        self.tls.load_cert_chain(*self._files)
        self.pair = pair
        _LOG.info("certificate_renewed", ends=pair.certificate.not_valid_after_utc.isoformat())
        return True


def grpc_credentials(shown: Callable[[], KeyPair], client_ca_pem: bytes | None) -> grpc.ServerCredentials:
    """Credentials that show the certificate of the moment; with a CA, clients must show one of its certificates."""
    last = shown()

    def configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pair.key_pem, pair.certificate_pem)], client_ca_pem)

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        pair = shown()
        if pair is last:
            return None
        last = pair
        return configuration(pair)

    demanding = client_ca_pem is not None
    return grpc.dynamic_ssl_server_credentials(
        configuration(last),
        newer,  # type: ignore[arg-type]  # None says that nothing has changed
        require_client_authentication=demanding,
    )
