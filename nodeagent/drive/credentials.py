"""Who this node is: its name, its key and certificate, the authority it trusts, and where the control plane is.

Files below `pki` in the data folder, for root only. The key never leaves the machine. A renewed certificate replaces
the old one together with its key as one file, so that a crash in between leaves a pair that fits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mizzen.engine.values import Instant
from nodeagent.drive.checkpoint import write_file

# The library for certificates takes 8 MB of memory, and an agent that has joined needs it once in months: it is
# imported where it is used.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
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
    valid_from_ms: Instant = 0
    valid_until_ms: Instant = 0
    """The certificate's dates, so that it need not be taken apart at every start; 0: not noted."""


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
        try:
            dates = (place.valid_from_ms, place.valid_until_ms) if place.valid_until_ms else validity(rest)
        except ValueError as error:
            raise CredentialsError(f"{self._folder / 'node.pem'}: {error}; remove the folder and join again") from error
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


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key in PEM."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(node: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate signing request in PEM for a node of this name."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODES_GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, NODE_PREFIX + node),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def ca_hash(ca_pem: bytes) -> str:
    """SHA-256 over a certificate's DER, in hex: what a join token carries. Raises ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    certificate = x509.load_pem_x509_certificate(ca_pem)
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def validity(certificate_pem: bytes) -> tuple[Instant, Instant]:
    """From when until when a certificate is valid. Raises ValueError for what is none."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate_pem)
    return int(found.not_valid_before_utc.timestamp() * 1000), int(found.not_valid_after_utc.timestamp() * 1000)
