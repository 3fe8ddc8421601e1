"""Join tokens, and the two HTTP paths by which a machine joins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from controlplane.server import join, pki
from controlplane.server.join_api import BODY_MAX_BYTES, JoinApi
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from controlplane.store.values import Unavailable
from mizzen.api import times
from mizzen.api.types import core_v1 as core
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import SeededIds
from tests.fixtures.cluster_objects import NOW, at, view

CA_HASH = "c" * 64


def token(seed: int = 0) -> join.Token:
    """A fresh token."""
    return join.new_token(CA_HASH, SeededIds(seed))


def test_a_token_is_read_back() -> None:
    made = token()
    assert join.Token.parse(f" {made}\n") == made
    assert str(made).split(".")[:2] == ["mz1", CA_HASH]
    assert token(1) != made


@pytest.mark.parametrize(
    "text", ["", "mz1", "mz2.a.b.c", "mz1.a.b", "mz1.a.b.c.d", "mz1..b.c", "mz1.a.b.", "mz1.a.b.\xff"]
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(join.TokenRefused, match="must look like mz1"):
        join.check_token(text, view(), NOW)


def test_a_good_token() -> None:
    made = token()
    kept = join.token_secret(made, at(60))
    assert (kept.type, kept.metadata.namespace) == ("bootstrap.kubernetes.io/token", "kube-system")
    assert join.check_token(str(made), view(kept), NOW) == made
    assert join.check_token(str(made), view(join.token_secret(made, "")), NOW + 10**12) == made


def altered(made: join.Token, **data: bytes) -> core.Secret:
    """The token's Secret with other data."""
    kept = join.token_secret(made, at(60))
    return replace(kept, data={**kept.data, **data})


def test_tokens_that_open_nothing() -> None:
    made = token()
    kept = join.token_secret(made, at(60))
    wrong = join.Token(made.ca_hash, made.id, "wrong")
    for text, there, words in (
        (made, (), "is not known"),
        (wrong, (kept,), "is not known"),
        (made, (replace(kept, type="Opaque"),), "is not known"),
        (made, (altered(made, **{"token-secret": b""}),), "is not known"),
        (made, (altered(made, **{join.USAGE: b"false"}),), "is not known"),
        (made, (join.token_secret(made, at(0)),), f"expired at {at(0)}"),
        (made, (join.token_secret(made, at(-1)),), "expired at"),
        (made, (altered(made, expiration=b"tomorrow"),), "expired at tomorrow"),
        (made, (altered(made, expiration=b"\xff"),), "expired at"),
    ):
        with pytest.raises(join.TokenRefused, match=words):
            join.check_token(str(text), view(*there), NOW)


# ------------------------------------------------------------------------------------------------------ over HTTP


class Site:
    """The two paths, served."""

    def __init__(
        self, client: TestClient[Any, Any], authority: pki.Pki, registry: Registry, backend: MemoryBackend
    ) -> None:
        self.client = client
        self.authority = authority
        self.registry = registry
        self.backend = backend
        self.connected: list[str] = []

    async def token(self, *, lives_s: int = 60) -> str:
        """A token that the cluster knows."""
        made = join.new_token(self.authority.ca_hash, SeededIds(lives_s))
        await self.registry.create(join.token_secret(made, times.render(SystemClock().now() + lives_s * 1000)))
        return str(made)

    async def join(self, bearer: str, body: Any, *, scheme: str = "Bearer ") -> tuple[int, dict[str, Any]]:
        """Code and answer."""
        options = {"data": body} if isinstance(body, bytes) or hasattr(body, "__aiter__") else {"json": body}
        headers = {"Authorization": scheme + bearer} if bearer else {}
        answer = await self.client.post("/mizzen.dev/v1/join", headers=headers, **options)
        return answer.status, await answer.json()


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the paths while the context is open."""
    backend = MemoryBackend()
    store = MemoryStore(backend)
    registry = Registry(store)
    await registry.start()
    authority = pki.Pki.open(tmp_path, SystemClock().now())
    connected: list[str] = []
    app = web.Application()
    for (method, path), page in JoinApi(registry, authority, SystemClock(), 6440, lambda: connected).routes().items():
        app.router.add_route(method, path, page)
    try:
        async with TestClient(TestServer(app)) as client:
            site = Site(client, authority, registry, backend)
            site.connected = connected
            yield site
    finally:
        await registry.close()
        await store.close()


def csr() -> tuple[ec.EllipticCurvePrivateKey, str]:
    """A key and its request."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return key, built.public_bytes(serialization.Encoding.PEM).decode()


async def test_a_machine_joins(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        answer = await site.client.get("/mizzen.dev/v1/ca")
        assert (answer.status, await answer.read()) == (200, site.authority.ca_pem)
        key, request = csr()
        code, joined = await site.join(await site.token(), {"node": "worker-1.example", "csr": request})
        assert (code, joined["grpcPort"], joined["ca"]) == (200, 6440, site.authority.ca_pem.decode())
        certificate = x509.load_pem_x509_certificate(joined["certificate"].encode())
        assert certificate.public_key() == key.public_key()
        assert "system:node:worker-1.example" in certificate.subject.rfc4514_string()
        again, _ = await site.join(
            await site.token(lives_s=70), {"node": "worker-1.example", "csr": csr()[1]}, scheme="bearer "
        )
        assert again == 200, "a machine that lost its certificate may join again"


async def test_joins_that_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        good, (_, request) = await site.token(), csr()
        site.connected.append("taken")
        for bearer, body, code, words in (
            ("", {}, 401, "needs the header"),
            ("nonsense", {}, 401, "must look like mz1"),
            (good + "x", {}, 401, "is not known"),
            (await site.token(lives_s=-5), {}, 401, "expired at"),
            (good, b"{", 400, "is not understood"),
            (good, b'{"node": "\xff", "csr": ""}', 400, "is not understood"),
            (good, [], 400, "is not understood"),
            (good, {"node": "n1"}, 400, "csr"),
            (good, {"node": "No_Name", "csr": request}, 400, "node name 'No_Name'"),
            (good, {"node": "", "csr": request}, 400, "node name ''"),
            (good, {"node": "n" * 60, "csr": request}, 400, "at most 52 characters"),
            (good, {"node": "n1", "csr": "nonsense"}, 400, "not a certificate signing request"),
            (good, {"node": "taken", "csr": request}, 409, "a node of this name is connected"),
            (good, b" " * (BODY_MAX_BYTES + 1), 413, "at most"),
        ):
            answered, status = await site.join(bearer, body)
            assert (answered, status["kind"], status["code"]) == (code, "Status", code), status
            assert words in status["message"]
        answered, status = await site.join(good, {}, scheme="Basic ")
        assert (answered, status["reason"]) == (401, "Unauthorized")


async def test_a_body_without_a_length_is_bounded_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(BODY_MAX_BYTES // 1000 + 2):
                yield b" " * 1000

        code, _ = await site.join(await site.token(), endless())
        assert code == 413


async def test_a_store_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as site:
        good = await site.token()
        monkeypatch.setattr(site.registry, "fresh", _fails)
        code, status = await site.join(good, {"node": "n1", "csr": csr()[1]})
        assert (code, status["reason"]) == (503, "ServiceUnavailable")


async def _fails() -> int:
    raise Unavailable("etcd is away")
