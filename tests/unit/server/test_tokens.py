"""Tokens of service accounts: made, read, and good only as long as what they are bound to is there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.access.values import UserInfo
from controlplane.server import pki
from controlplane.server.tokens import PodToken, Tokens
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import errors, kinds
from mizzen.api.references import TokenWish
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.ids import SeededIds

ISSUER = "https://kubernetes.default.svc.cluster.local"
KEY = ec.generate_private_key(ec.SECP256R1())
START_MS = 1_767_225_600_000


@dataclass
class StillClock:
    """A clock that is moved by hand."""

    now_ms: int = START_MS

    def now(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


@dataclass
class Place:
    """Tokens over a registry with an account and a pod."""

    tokens: Tokens
    registry: Registry
    clock: StillClock

    def issue(self, **spec: Any) -> str:
        request = authentication.TokenRequest(spec=authentication.TokenRequestSpec(**spec))
        return self.tokens.issue("shop", "robot", request).status.token

    async def remove(self, kind: kinds.Kind[Any], namespace: str, name: str) -> None:
        found = self.registry.view.get(kind, namespace, name)
        assert found is not None
        await self.registry.delete(kind, namespace, name, int(found.metadata.resource_version))


def projected(audience: str = "", seconds: int = 3607) -> core.Volume:
    source = core.ServiceAccountTokenProjection(path="token", audience=audience, expiration_seconds=seconds)
    projection = core.VolumeProjection(service_account_token=source)
    return core.Volume(name="v", projected=core.ProjectedVolumeSource(sources=(projection,)))


def named(name: str, namespace: str = "shop", **more: Any) -> meta.ObjectMeta:
    return meta.ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}", **more)


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    store = MemoryStore(MemoryBackend())
    registry = Registry(store)
    await registry.start()
    try:
        clock = StillClock()
        await registry.create(core.ServiceAccount(metadata=named("robot")))
        await registry.create(core.Node(metadata=named("n1", "")))
        spec = core.PodSpec(service_account_name="robot", node_name="n1", volumes=(projected(),))
        await registry.create(core.Pod(metadata=named("p"), spec=spec))
        other = core.PodSpec(service_account_name="other", node_name="n2", volumes=(projected("vault", 600),))
        await registry.create(core.Pod(metadata=named("q"), spec=other))
        yield Place(Tokens(KEY, ISSUER, registry, clock, SeededIds(1)), registry, clock)
    finally:
        await registry.close()
        await store.close()


async def test_a_token_says_who_it_is() -> None:
    async with place() as here:
        token = here.issue()
        assert here.tokens.user_of(token) == UserInfo(
            "system:serviceaccount:shop:robot",
            ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
            "uid-robot",
            here.tokens.user_of(token).extra,  # type: ignore[union-attr]
        )
        claims = jwt.decode(token, KEY.public_key(), ["ES256"], options={"verify_exp": False}, audience=ISSUER)
        assert (claims["exp"] - claims["iat"], claims["sub"]) == (3600, "system:serviceaccount:shop:robot")
        assert claims["kubernetes.io"] == {
            "namespace": "shop", "serviceaccount": {"name": "robot", "uid": "uid-robot"},
        }  # fmt: skip


async def test_a_token_ends() -> None:
    async with place() as here:
        token = here.issue(expiration_seconds=600)
        here.clock.now_ms += 600_000
        assert here.tokens.user_of(token) is not None, "clocks may differ a little"
        here.clock.now_ms += 6_000
        assert here.tokens.user_of(token) is None
        with pytest.raises(errors.Invalid, match="may not specify a duration less than 10 minutes"):
            here.issue(expiration_seconds=599)


async def test_a_token_ends_with_its_account_its_pod_and_its_secret() -> None:
    async with place() as here:
        await here.registry.create(core.Secret(metadata=named("s")))
        tokens = {
            kind: here.issue(
                bound_object_ref=authentication.BoundObjectReference(kind=kind, api_version="v1", name=name)
            )
            for kind, name in (("Pod", "p"), ("Secret", "s"), ("Node", "n1"))
        }
        plain = here.issue()
        assert all(here.tokens.user_of(token) for token in (*tokens.values(), plain))
        user = here.tokens.user_of(tokens["Pod"])
        assert user is not None
        assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)
        for kind, resource, name in (
            ("Node", kinds.NODE, "n1"), ("Secret", kinds.SECRET, "s"), ("Pod", kinds.POD, "p"),
        ):  # fmt: skip
            await here.remove(resource, "shop" if resource.namespaced else "", name)
            assert here.tokens.user_of(tokens[kind]) is None, kind
        assert here.tokens.user_of(plain) is not None
        await here.remove(kinds.SERVICE_ACCOUNT, "shop", "robot")
        await here.registry.create(
            core.ServiceAccount(metadata=meta.ObjectMeta(name="robot", namespace="shop", uid="x"))
        )
        assert here.tokens.user_of(plain) is None, "another account of the same name is another account"


async def test_what_it_cannot_be_bound_to() -> None:
    async with place() as here:
        reference = authentication.BoundObjectReference(kind="Pod", api_version="v1", name="q")
        with pytest.raises(errors.BadRequest, match="pod running with different serviceaccount name"):
            here.issue(bound_object_ref=reference)
        with pytest.raises(errors.BadRequest, match="cannot bind token"):
            here.issue(bound_object_ref=authentication.BoundObjectReference(kind="ConfigMap", name="c"))
        with pytest.raises(errors.NotFound, match='serviceaccounts "nobody" not found'):
            here.tokens.issue("shop", "nobody", authentication.TokenRequest())


async def test_foreign_and_broken_tokens() -> None:
    async with place() as here:
        claims = {"iss": ISSUER, "aud": [ISSUER], "sub": "x", "exp": 9e9, "nbf": 0}
        other = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256")
        no_account = jwt.encode(claims, KEY, "ES256")
        elsewhere = jwt.encode({**claims, "iss": "https://else"}, KEY, "ES256")
        unsigned = jwt.encode(claims, None, "none")
        for token in (other, no_account, elsewhere, unsigned, "", "a.b.c", here.issue()[:-4] + "AAAA"):
            assert here.tokens.user_of(token) is None
        assert here.tokens.reviewed("a.b.c", ()).error == "invalid bearer token"


async def test_a_node_gets_tokens_for_its_own_pods_only() -> None:
    async with place() as here:
        wish = TokenWish("", 3607)
        token, lifetime_ms = here.tokens.for_pod("n1", PodToken("shop", "p", "uid-p", wish))
        assert lifetime_ms == 3_607_000
        assert here.tokens.user_of(token) is not None
        for node, wanted in (
            ("n2", PodToken("shop", "p", "uid-p", wish)),
            ("n1", PodToken("shop", "p", "another", wish)),
            ("n1", PodToken("shop", "none", "uid-p", wish)),
            ("n1", PodToken("shop", "p", "uid-p", TokenWish("vault", 3607))),
            ("n1", PodToken("shop", "p", "uid-p", TokenWish("", 7200))),
        ):
            with pytest.raises(errors.Forbidden):
                here.tokens.for_pod(node, wanted)


async def test_others_can_check_tokens_by_the_published_keys() -> None:
    async with place() as here:
        documents = here.tokens.documents("192.0.2.1:6443")
        discovery = json.loads(documents["/.well-known/openid-configuration"][1])
        assert discovery["jwks_uri"] == "https://192.0.2.1:6443/openid/v1/jwks"
        (key,) = jwt.PyJWKSet.from_json(documents["/openid/v1/jwks"][1].decode()).keys
        token = here.issue()
        assert jwt.get_unverified_header(token)["kid"] == key.key_id
        jwt.decode(token, key.key, ["ES256"], audience=ISSUER, options={"verify_exp": False, "verify_nbf": False})


def test_the_key_is_made_once(tmp_path: Path) -> None:
    authority = pki.Pki.open(tmp_path, START_MS)
    first = authority.account_key()
    assert pki.Pki.open(tmp_path, START_MS).account_key().private_numbers() == first.private_numbers()
    assert (tmp_path / "sa.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "sa.key").write_text("broken")
    with pytest.raises(pki.Unreadable, match=r"sa\.key"):
        authority.account_key()
