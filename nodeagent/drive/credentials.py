"""Who this node is: its name, its key and certificate, the authority it trusts, and where the control plane is.

Files below `pki` in the data folder, for root only. The key never leaves the machine. A renewed certificate replaces
the old one together with its key as one file, so that a crash in between leaves a pair that fits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mizzen.engine.values import Instant
from nodeagent.drive.checkpoint import write_file

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

    @property
    def certificate(self) -> x509.Certificate:
        """The node's certificate."""
        return x509.load_pem_x509_certificate(self.certificate_pem)

    def expires_ms(self) -> Instant:
        """When the certificate runs out."""
        return _ms(self.certificate.not_valid_after_utc)

    def renew_at_ms(self) -> Instant:
        """When it is time for a new certificate."""
        certificate = self.certificate
        start, end = _ms(certificate.not_valid_before_utc), _ms(certificate.not_valid_after_utc)
        return start + int((end - start) * RENEW_AT)


class _Place(msgspec.Struct, frozen=True):
    node: str
    server: str
    endpoint: str


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
        return Credentials(place.node, place.server, place.endpoint, key + marker, rest, ca)

    def save(self, credentials: Credentials) -> None:
        """Keep an identity. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(self._folder / "ca.crt", credentials.ca_pem, 0o644)
        write_file(self._folder / "node.pem", credentials.key_pem + credentials.certificate_pem)
        place = _Place(credentials.node, credentials.server, credentials.endpoint)
        write_file(self._folder / "cluster.json", msgspec.json.encode(place))


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(node: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate signing request in PEM for a node of this name."""
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
    certificate = x509.load_pem_x509_certificate(ca_pem)
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _ms(moment: datetime) -> Instant:
    return int(moment.astimezone(UTC).timestamp() * 1000)
