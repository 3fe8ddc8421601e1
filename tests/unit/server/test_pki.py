"""The cluster's certificates: who they speak for, how long, and when they are made anew."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.server import pki
from controlplane.server.authn import from_certificate
from tests.fixtures.signing_requests import signing_request

NOW = 1_767_225_600_000
DAY = 86_400_000
SERVER = pki.Subject("mizzen-server", (), ("127.0.0.1", "localhost"), server=True, client=False)


def test_the_authority_is_made_once_and_kept(tmp_path: Path) -> None:
    first = pki.Pki.open(tmp_path / "pki", NOW)
    again = pki.Pki.open(tmp_path / "pki", NOW + DAY)
    assert again.ca_pem == first.ca_pem
    der = first.authority.certificate.public_bytes(serialization.Encoding.DER)
    assert first.ca_hash == again.ca_hash == hashlib.sha256(der).hexdigest()
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600
    constraints = first.authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert not list((tmp_path / "pki").glob(".*.new"))


def test_what_a_certificate_says(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    made = authority.pair("server", SERVER, NOW).certificate
    made.verify_directly_issued_by(authority.authority.certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1", "localhost"]
    usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    began = datetime.fromtimestamp(NOW // 1000, UTC)
    assert made.not_valid_before_utc == began - timedelta(minutes=5), "clocks of machines differ"
    assert made.not_valid_after_utc == began + timedelta(days=365)
    admin = authority.pair("admin", pki.Subject(pki.ADMIN_USER, (pki.ADMIN_GROUP,)), NOW).certificate
    user = from_certificate(admin.public_bytes(serialization.Encoding.DER))
    assert (user.name, user.groups[0]) == ("kubernetes-admin", "system:masters")


def test_a_key_of_people_is_rsa_as_every_library_reads_it(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    old = authority.pair("admin", pki.Subject(pki.ADMIN_USER), NOW)
    subject = pki.Subject(pki.ADMIN_USER, rsa=True)
    made = authority.pair("admin", subject, NOW)
    assert made.certificate != old.certificate, "one of the other kind is made anew"
    assert authority.pair("admin", subject, NOW).certificate == made.certificate
    assert made.key_pem.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert made.key.key_size == 2048


def test_a_certificate_is_used_again_until_it_runs_out(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    first = authority.pair("server", SERVER, NOW)
    assert authority.pair("server", SERVER, NOW + 334 * DAY).certificate == first.certificate
    later = authority.pair("server", SERVER, NOW + 336 * DAY)
    assert later.certificate != first.certificate
    assert later.certificate.not_valid_after_utc > first.certificate.not_valid_after_utc
    assert authority.pair("server", SERVER, NOW + 336 * DAY).certificate == later.certificate


def test_a_certificate_gets_the_names_that_are_wanted_now(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    first = authority.pair("server", SERVER, NOW)
    fewer = pki.Subject("mizzen-server", (), ("localhost",), server=True, client=False)
    assert authority.pair("server", fewer, NOW).certificate == first.certificate
    more = pki.Subject("mizzen-server", (), ("localhost", "10.0.0.7"), server=True, client=False)
    second = authority.pair("server", more, NOW)
    assert second.certificate != first.certificate
    other = pki.Subject("somebody-else", (), ("localhost",), server=True, client=False)
    assert authority.pair("server", other, NOW).certificate != second.certificate


def test_what_a_crash_or_a_hand_has_spoilt_is_made_anew(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    first = authority.pair("server", SERVER, NOW)
    # A crash between the new certificate and its key.
    other = authority.pair("other", SERVER, NOW)
    (tmp_path / "server.crt").write_bytes(other.certificate_pem)
    second = authority.pair("server", SERVER, NOW)
    assert second.certificate not in (first.certificate, other.certificate)
    assert second.certificate.public_key() == second.key.public_key()
    for spoil in ("server.crt", "server.key"):
        (tmp_path / spoil).write_bytes(b"nonsense")
        assert authority.pair("server", SERVER, NOW).certificate != second.certificate
    (tmp_path / "server.crt").unlink()
    assert authority.pair("server", SERVER, NOW).key_pem == (tmp_path / "server.key").read_bytes()


def test_a_certificate_of_another_authority_is_not_used(tmp_path: Path) -> None:
    old = pki.Pki.open(tmp_path / "old", NOW)
    foreign = old.pair("server", SERVER, NOW)
    authority = pki.Pki.open(tmp_path / "new", NOW)
    (tmp_path / "new" / "server.crt").write_bytes(foreign.certificate_pem)
    (tmp_path / "new" / "server.key").write_bytes(foreign.key_pem)
    made = authority.pair("server", SERVER, NOW)
    made.certificate.verify_directly_issued_by(authority.authority.certificate)


def test_a_damaged_authority_is_not_replaced_silently(tmp_path: Path) -> None:
    pki.Pki.open(tmp_path / "a", NOW)
    authority, certificate = ((tmp_path / "a" / name).read_bytes() for name in ("ca.key", "ca.crt"))
    pki.Pki.open(tmp_path / "b", NOW)
    (tmp_path / "a" / "ca.crt").write_bytes((tmp_path / "b" / "ca.crt").read_bytes())
    with pytest.raises(pki.Unreadable, match=r"ca\.crt is not the certificate of ca\.key"):
        pki.Pki.open(tmp_path / "a", NOW)
    (tmp_path / "b" / "ca.crt").write_bytes(b"nonsense")
    with pytest.raises(pki.Unreadable, match="is damaged"):
        pki.Pki.open(tmp_path / "b", NOW)
    (tmp_path / "b" / "ca.crt").unlink()
    with pytest.raises(FileNotFoundError):
        pki.Pki.open(tmp_path / "b", NOW)
    key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "a" / "ca.key").write_bytes(_pem(key))
    with pytest.raises(pki.Unreadable, match="neither an elliptic-curve nor an RSA key"):
        pki.Pki.open(tmp_path / "a", NOW)
    (tmp_path / "a" / "sa.key").write_bytes(_pem(rsa.generate_private_key(65537, 2048)))
    (tmp_path / "a" / "ca.key").write_bytes(authority)
    (tmp_path / "a" / "ca.crt").write_bytes(certificate)
    with pytest.raises(pki.Unreadable, match="not an elliptic-curve key"):
        pki.Pki.open(tmp_path / "a", NOW).account_key()


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "whatever"
) -> x509.CertificateSigningRequest:
    """A signing request."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def pem(csr: x509.CertificateSigningRequest) -> bytes:
    """It in PEM."""
    return csr.public_bytes(serialization.Encoding.PEM)


def test_a_node_gets_its_name_and_nothing_else(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.load_pem_x509_certificate(authority.sign_node(pem(request(key, "system:masters")), "n1", NOW))
    user = from_certificate(made.public_bytes(serialization.Encoding.DER))
    assert (user.name, user.groups[0]) == ("system:node:n1", "system:nodes")
    assert made.public_key() == key.public_key()
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_requests_that_are_not_signed(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    good = request(ec.generate_private_key(ec.SECP256R1()))
    spoilt = bytearray(good.public_bytes(serialization.Encoding.DER))
    spoilt[-1] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(spoilt)).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    for csr, words in (
        (b"", "not a certificate signing request"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "not a certificate"),
        (forged, "needs a valid signature"),
        (pem(request(rsa.generate_private_key(65537, 2048))), "elliptic-curve key"),
        (pem(request(ec.generate_private_key(ec.SECP521R1()))), "P-256"),
    ):
        with pytest.raises(pki.BadRequest, match=words):
            authority.sign_node(csr, "n1", NOW)
    authority.sign_node(pem(good), "n" * pki.NODE_NAME_MAX, NOW)
    with pytest.raises(pki.BadRequest, match="at most 52 characters"):
        authority.sign_node(pem(good), "n" * (pki.NODE_NAME_MAX + 1), NOW)


def test_a_certificate_is_for_what_was_asked(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, NOW)
    names = [x509.DNSName("n1")]
    asked = signing_request("system:node:n1", ("system:nodes",), names)
    made = x509.load_pem_x509_certificate(authority.sign_request(asked, ("key encipherment", "server auth"), 900, NOW))
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_encipherment, usage.digital_signature, usage.key_cert_sign) == (True, False, False)
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert list(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names
    with pytest.raises(x509.ExtensionNotFound):
        plain = authority.sign_request(signing_request("ann"), ("cert sign",), 900, NOW)
        x509.load_pem_x509_certificate(plain).extensions.get_extension_for_class(x509.KeyUsage)
