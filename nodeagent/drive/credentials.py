"""Who this node is: its name, its key and certificate, the authority it trusts, and where the control plane is.

Files below `pki` in the data folder, for root only. The key never leaves the machine. A renewed certificate replaces
the old one together with its key as one file, so that a crash in between leaves a pair that fits.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mizzen.engine.values import Instant
from nodeagent.drive.checkpoint import write_file

RENEW_AT = 0.7
"""The part of its life after which a certificate is renewed."""


class CredentialsError(Exception):
    """The node has no usable certificate; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A node's identity and where it is used."""

    node: str
    server: str
    """`host:port` of the HTTPS API."""
    endpoint: str
    """`host:port` of the gRPC API."""
    key_pem: bytes
    certificate_pem: bytes
    ca_pem: bytes

    valid_from_ms: Instant
    valid_until_ms: Instant
    """The certificate's own dates."""

    def renew_at_ms(self) -> Instant:
        """When it is time for a new certificate."""
        return self.valid_from_ms + int((self.valid_until_ms - self.valid_from_ms) * RENEW_AT)


class _Place(msgspec.Struct, frozen=True):
    node: str
    server: str
    endpoint: str
    valid_from_ms: Instant
    valid_until_ms: Instant
    """The certificate's dates, so that it need not be taken apart at every start."""


class CredentialsStore:
    """The files."""

    def __init__(self, data_dir: Path) -> None:
        """Below the agent's data folder."""
        self._folder = data_dir / "pki"

    def load(self) -> Credentials | None:
        """The identity; None when the node has not joined. Raises CredentialsError for files that don't fit."""
        try:
            place = msgspec.json.decode((self._folder / "cluster.json").read_bytes(), type=_Place)
            pair = (self._folder / "node.pem").read_bytes()
            ca = (self._folder / "ca.crt").read_bytes()
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise CredentialsError(f"{self._folder / 'cluster.json'}: {error}; remove it and join again") from error
        key, marker, rest = pair.partition(b"-----END PRIVATE KEY-----\n")
        if not marker:
            raise CredentialsError(f"{self._folder / 'node.pem'}: no key in it; remove the folder and join again")
        dates = (place.valid_from_ms, place.valid_until_ms)
        return Credentials(place.node, place.server, place.endpoint, key + marker, rest, ca, *dates)

    def save(self, credentials: Credentials) -> None:
        """Keep an identity. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(self._folder / "ca.crt", credentials.ca_pem, 0o644)
        write_file(self._folder / "node.pem", credentials.key_pem + credentials.certificate_pem)
        place = _Place(
            credentials.node,
            credentials.server,
            credentials.endpoint,
            credentials.valid_from_ms,
            credentials.valid_until_ms,
        )
        write_file(self._folder / "cluster.json", msgspec.json.encode(place))


def ca_hash(ca_pem: bytes) -> str:
    """SHA-256 over a certificate's DER, in hex: what a join token carries. Raises ValueError."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca_pem.decode())).hexdigest()
