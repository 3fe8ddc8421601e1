"""The cluster's certificates: one authority, and what it signs.

The authority signs the control plane's own certificate, the administrator's, and one per node. A node proves who it
is with the common name `system:node:NAME` and the organisation `system:nodes`, the administrator with the
organisation `system:masters`; these are Kubernetes' own names, so that its tools and habits fit.

Keys are P-256, but those of people's certificates: some client libraries read RSA alone. Files are written once and
reused at every start; a certificate that runs out within a month, lacks a name that is wanted now, is not this
authority's, or does not fit its key, is issued again.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mizzen.engine.values import Instant

CA_VALID_DAYS = 3650
CERTIFICATE_VALID_DAYS = 365
RENEW_BEFORE_DAYS = 30
RSA_BITS = 2048
BACKDATE_MINUTES = 5
"""Certificates are valid a little before they are made, because clocks of machines differ."""

_KEY_USES = {
    "signing": "digital_signature", "digital signature": "digital_signature",
    "content commitment": "content_commitment", "key encipherment": "key_encipherment",
    "key agreement": "key_agreement", "data encipherment": "data_encipherment",
}  # fmt: skip
"""What a key may do, as requests call it. Nobody's request makes an authority: `cert sign` and its like are dropped."""
_KEY_FIELDS = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
_PURPOSES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION, "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING, "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}  # fmt: skip
"""What a certificate is for, as requests call it."""

NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
NODE_NAME_MAX = 64 - len(NODE_PREFIX)
"""X.509 allows a common name 64 characters."""
ADMIN_USER = "kubernetes-admin"
ADMIN_GROUP = "system:masters"


class BadRequest(ValueError):
    """A certificate signing request that can't be signed; says why."""


class Unreadable(OSError):
    """A file of the authority is damaged; says which and what to do."""


PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM, not encrypted: RSA as PKCS 1, which more programs read, others as PKCS 8."""
        return _key_pem(self.key)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate speaks for, and as what."""

    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Host names and addresses, for servers."""
    server: bool = False
    client: bool = True
    rsa: bool = False
    """Whether the key is RSA, for somebody whose client library is not known."""


class Pki:
    """The authority in one folder, and the certificates beside it."""

    def __init__(self, folder: Path, authority: KeyPair) -> None:
        self.folder = folder
        self.authority = authority

    @classmethod
    def open(cls, folder: Path, now: Instant, name: str = "mizzen-ca") -> Pki:
        """The authority in `folder`, made with a name on the first start. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (folder / "ca.key").exists():
            authority = _read(folder, "ca")
            if not _fits(authority):
                raise Unreadable(f"{folder}/ca.crt is not the certificate of ca.key; restore both from one backup")
            return cls(folder, authority)
        authority = _make_authority(name, now)
        _write(folder, "ca", authority)
        return cls(folder, authority)

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate in PEM."""
        return self.authority.certificate_pem

    @property
    def ca_hash(self) -> str:
        """SHA-256 over the authority's certificate in DER, in hex: what a join token carries."""
        return hashlib.sha256(self.authority.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def account_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs service accounts' tokens, made on the first start. Raises OSError."""
        file = self.folder / "sa.key"
        if not file.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            _write_file(self.folder, "sa.key", _key_pem(made), 0o600)
            return made
        key = _read_key(file)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Unreadable(f"{file} is not an elliptic-curve key; restore the one that was made here")
        return key

    def pair(self, name: str, subject: Subject, now: Instant) -> KeyPair:
        """The certificate kept as `name`; issued when there is none, or the one there is can't be used any longer.

        Raises OSError when it can't be written.
        """
        if (self.folder / f"{name}.key").exists():
            with suppress(Unreadable, FileNotFoundError):
                found = _read(self.folder, name)
                if self._is_good(found, subject, now):
                    return found
        key = rsa.generate_private_key(65537, RSA_BITS) if subject.rsa else ec.generate_private_key(ec.SECP256R1())
        made = KeyPair(self._sign(subject, key.public_key(), now), key)
        _write(self.folder, name, made)
        return made

    def _is_good(self, found: KeyPair, subject: Subject, now: Instant) -> bool:
        """Whether a certificate that was issued earlier does what is wanted now."""
        certificate = found.certificate
        soon = _moment(now) + timedelta(days=RENEW_BEFORE_DAYS)
        return (
            certificate.not_valid_after_utc > soon
            and certificate.subject == _name(subject.common_name, subject.organizations)
            and set(subject.names) <= _names_in(certificate)
            and isinstance(found.key, rsa.RSAPrivateKey) == subject.rsa
            and _fits(found)
            and _is_issued(certificate, self.authority.certificate)
        )

    def sign_node(self, csr_pem: bytes, node: str, now: Instant) -> bytes:
        """Signs a node's request; the name in the certificate is `node`, whatever the request says.

        Raises BadRequest when the request is not one, its signature is wrong, or the name is too long.
        """
        try:
            csr = x509.load_pem_x509_csr(csr_pem)
            public_key, signed = csr.public_key(), csr.is_signature_valid
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadRequest("csr: not a certificate signing request in PEM") from error
        if not signed or not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.key_size != 256:
            raise BadRequest("csr: needs a valid signature by an elliptic-curve key (P-256)")
        if len(node) > NODE_NAME_MAX:
            raise BadRequest(f"node name: at most {NODE_NAME_MAX} characters fit into a certificate")
        subject = Subject(NODE_PREFIX + node, (NODES_GROUP,))
        return self._sign(subject, public_key, now).public_bytes(serialization.Encoding.PEM)

    def sign_request(self, csr_pem: bytes, usages: Sequence[str], seconds: int, now: Instant) -> bytes:
        """Signs somebody's request for a certificate, with the subject and names that it says, for these usages.

        `usages` are in the words of `certificates.k8s.io`. Raises BadRequest when the request is not one, its
        signature is wrong, or nothing of the sort can be signed.
        """
        csr = _request(csr_pem)
        start = _moment(now)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - timedelta(minutes=BACKDATE_MINUTES))
            .not_valid_after(min(start + timedelta(seconds=seconds), self.authority.certificate.not_valid_after_utc))
            .issuer_name(self.authority.certificate.subject)
            .public_key(csr.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_issuer_id(self.authority.certificate), critical=False)
        )
        if any(usage in _KEY_USES for usage in usages):
            builder = builder.add_extension(_key_usage(usages), critical=True)
        purposes = [oid for usage, oid in _PURPOSES.items() if usage in usages]
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        with suppress(x509.ExtensionNotFound):
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, names.critical)
        return builder.sign(self.authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(self, subject: Subject, public_key: PublicKey, now: Instant) -> x509.Certificate:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] if subject.server else []
        usages += [ExtendedKeyUsageOID.CLIENT_AUTH] if subject.client else []
        builder = (
            _builder(_name(subject.common_name, subject.organizations), now, CERTIFICATE_VALID_DAYS)
            .issuer_name(self.authority.certificate.subject)
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_issuer_id(self.authority.certificate), critical=False)
        )
        if subject.names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in subject.names]), False)
        return builder.sign(self.authority.key, hashes.SHA256())


def _key_usage(usages: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{field: any(_KEY_USES.get(usage) == field for usage in usages) for field in _KEY_FIELDS})


def requested_groups(csr_pem: bytes) -> tuple[str, ...]:
    """The groups (organisations) that a request for a client certificate asks for. Raises BadRequest."""
    attributes = _request(csr_pem).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return tuple(str(attribute.value) for attribute in attributes)


def _request(csr_pem: bytes) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        signed = csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadRequest(f"not a certificate signing request in PEM: {error}") from error
    if not signed:
        raise BadRequest("the request is not signed by its key")
    if not csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        raise BadRequest("the request has no common name, which is the user's name")
    return csr


def _key_pem(key: PrivateKey) -> bytes:
    formats = serialization.PrivateFormat
    form = formats.TraditionalOpenSSL if isinstance(key, rsa.RSAPrivateKey) else formats.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _make_authority(common_name: str, now: Instant) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name, ())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, now, CA_VALID_DAYS)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate, key)


def _builder(subject: x509.Name, now: Instant, days: int) -> x509.CertificateBuilder:
    start = _moment(now)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(minutes=BACKDATE_MINUTES))
        .not_valid_after(start + timedelta(days=days))
    )


def _issuer_id(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_in(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _fits(pair: KeyPair) -> bool:
    """Whether key and certificate belong together; a crash between writing the two leaves some that do not."""
    return pair.certificate.public_key() == pair.key.public_key()


def _is_issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _moment(now: Instant) -> datetime:
    return datetime.fromtimestamp(now // 1000, UTC)


def _read(folder: Path, name: str) -> KeyPair:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
    except ValueError as error:
        raise Unreadable(f"{folder / name}.crt or .key is damaged ({error}); restore both from a backup") from error
    return KeyPair(certificate, _read_key(folder / f"{name}.key"))


def _read_key(file: Path) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        beside = f"{file.with_suffix('')}.crt or .key" if file.with_suffix(".crt").exists() else str(file)
        raise Unreadable(f"{beside} is damaged ({error}); restore both from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Unreadable(f"{file} is neither an elliptic-curve nor an RSA key; restore the one that was made here")
    return key


def _write(folder: Path, name: str, pair: KeyPair) -> None:
    """The key last: a pair counts as there when its key is."""
    _write_file(folder, f"{name}.crt", pair.certificate_pem, 0o644)
    _write_file(folder, f"{name}.key", pair.key_pem, 0o600)


def _write_file(folder: Path, name: str, data: bytes, mode: int) -> None:
    scratch = folder / f".{name}.new"
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / name)
