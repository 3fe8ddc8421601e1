"""Talking to an etcd that demands TLS in both directions."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import EtcdClient, TlsFiles
from controlplane.store.port import Committed, Put, Refused, Unavailable

pytestmark = pytest.mark.etcd


def make_certificates(folder: Path) -> None:
    """Write an authority and one certificate for server and client: ca.crt, peer.crt, peer.key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd test")])
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    for path, public, issuer_ca in (("ca.crt", ca_key.public_key(), True), ("peer.crt", key.public_key(), False)):
        builder = x509.CertificateBuilder().issuer_name(name).public_key(public).serial_number(1 + issuer_ca)
        builder = builder.subject_name(name if issuer_ca else x509.Name([]))
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(ca=issuer_ca, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = builder.add_extension(names, critical=not issuer_ca).sign(ca_key, hashes.SHA256())
        (folder / path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "peer.key").write_bytes(pem)


@pytest.fixture
def endpoint(short_folder: Path) -> Iterator[str]:
    """An etcd on a free port that demands client certificates."""
    make_certificates(short_folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{probe.getsockname()[1]}"
    with (short_folder / "log").open("wb") as log:
        process = subprocess.Popen(
            (
                *("setpriv", "--pdeathsig", "KILL", "--", "etcd", "--data-dir", "data"),
                *("--listen-client-urls", url, "--advertise-client-urls", url),
                *("--listen-peer-urls", "unix://peer:1", "--initial-advertise-peer-urls", "unix://peer:1"),
                *("--initial-cluster", "default=unix://peer:1", "--logger", "zap", "--log-outputs", "stderr"),
                *("--cert-file", "peer.crt", "--key-file", "peer.key"),
                *("--client-cert-auth", "--trusted-ca-file", "ca.crt"),
            ),
            cwd=short_folder,
            stdout=log,
            stderr=log,
        )
    yield url
    process.kill()
    process.wait()


async def test_both_sides_show_their_certificates(endpoint: str, short_folder: Path) -> None:
    files = TlsFiles(short_folder / "ca.crt", short_folder / "peer.crt", short_folder / "peer.key")
    store = await EtcdStore.open([endpoint], tls=files, deadline_s=30)
    assert isinstance(await store.commit((Put("/mizzen/a", b"x", 0),)), Committed)
    await store.close()
    with pytest.raises(Unavailable):
        await EtcdStore.open([endpoint], tls=TlsFiles(short_folder / "ca.crt"), deadline_s=1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no-such\.crt"):
        EtcdClient(["https://127.0.0.1:2379"], TlsFiles(tmp_path / "no-such.crt"))


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:2379", "ftp://a:1", "https://a"])
def test_an_endpoint_that_is_none_is_named(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"etcd endpoint .* is not https"):
        EtcdClient([endpoint])
