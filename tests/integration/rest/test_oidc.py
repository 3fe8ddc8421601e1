"""Logins by OpenID Connect: an issuer with TLS on loopback, its keys as they change, and what its tokens open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from controlplane.access.authentication import Login
from controlplane.access.authentication_config import read_configuration
from controlplane.access.oidc import Rules, Source
from controlplane.server import pki
from controlplane.server.logins import Logins
from controlplane.server.oidc import DISCOVERY, OidcLogin
from controlplane.server.rest_listen import listen, tls_context
from mizzen.api import codec, errors, kinds
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from mizzen.base.clocks import SystemClock
from mizzen.client import Client
from mizzen.client.rest import RestClient
from tests.fixtures.control_plane import Plane, control_plane

WAIT_S = 10.0
PAUSE_S = 0.02


@dataclass
class Issuer:
    """Somebody else who says who people are."""

    url: str = ""
    ca: Path = Path()
    keys: dict[str, Any] = field(default_factory=dict)
    """Private keys by name; their other halves are published."""
    answers: dict[str, Callable[[], Awaitable[web.Response]]] = field(default_factory=dict)
    """What is answered at a path instead of the truth."""
    asked: int = 0

    def sign(self, kid: str, key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        """A token of Ann's."""
        now_s = int(time.time())
        whole = {"iss": self.url, "aud": "mizzen", "sub": "ann", "exp": now_s + 600, "groups": ["devs"]} | claims
        return jwt.encode(whole, key or self.keys[kid], algorithm, {"kid": kid})

    async def serve(self, request: web.Request) -> web.Response:
        """The documents."""
        self.asked += 1
        if request.path in self.answers:
            return await self.answers[request.path]()
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        published: list[dict[str, Any]] = []
        for kid, key in self.keys.items():
            kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            published.append({**json.loads(kind.to_jwk(key.public_key())), "kid": kid})
        strange = {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}
        return web.json_response({"keys": [strange, {"kty": "none"}, *published]})


@asynccontextmanager
async def issuing(folder: Path) -> AsyncIterator[Issuer]:
    """An issuer that runs."""
    issuer = Issuer(keys={"one": rsa.generate_private_key(65537, 2048)})
    authority = pki.Pki.open(folder, SystemClock().now())
    subject = pki.Subject("issuer", names=("127.0.0.1",), server=True, client=False)
    authority.pair("issuer", subject, SystemClock().now())
    issuer.ca = folder / "ca.crt"
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", issuer.serve)
    tls = tls_context(folder / "issuer.crt", folder / "issuer.key", issuer.ca)
    async with listen(app, "127.0.0.1", 0, tls) as port:
        issuer.url = f"https://127.0.0.1:{port}"
        yield issuer


@asynccontextmanager
async def believing(issuer: Issuer, **rules: Any) -> AsyncIterator[OidcLogin]:
    """A login that follows the issuer's keys."""
    whole = Rules(issuer.url, ("mizzen",), Source("sub", f"{issuer.url}#"), Source("groups"), **rules)
    login = OidcLogin(Login(whole, ca_pem=issuer.ca.read_text()), SystemClock(), pause_s=PAUSE_S)
    running = asyncio.create_task(login.run())
    try:
        yield login
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def eventually(is_so: Callable[[], Any]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.01)


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with issuing(tmp_path / "issuer") as running:
        yield running


async def test_a_login_opens_what_roles_give(issuer: Issuer, tmp_path: Path) -> None:
    async with (
        believing(issuer, algorithms=("RS256",)) as login,
        control_plane(tmp_path / "plane", login=login.user_of) as plane,
    ):
        token = issuer.sign("one")
        await eventually(lambda: login.user_of(token))
        await give_view(plane, f"{issuer.url}#ann")
        config = plane.config_with(token)
        async with Client(config) as ann, RestClient(config) as over_rest:
            me = (await ann.create(authentication.SelfSubjectReview())).status.user_info
            assert (me.username, me.groups) == (f"{issuer.url}#ann", ("devs", "system:authenticated"))
            assert (await ann.list(kinds.POD, "default")).items == ()
            assert (await over_rest.get("/api/v1/namespaces/default/pods"))["items"] == []
            with pytest.raises(errors.Forbidden):
                await ann.list(kinds.SECRET, "default")
            with pytest.raises(errors.Forbidden):
                await over_rest.get("/api/v1/namespaces/default/secrets")
        wrong = (
            issuer.sign("one", aud="other"), issuer.sign("one", exp=int(time.time()) - 1), token[:-4] + "AAAA",
            issuer.sign("one", rsa.generate_private_key(65537, 2048)), issuer.sign("shared", b"secret" * 8, "HS256"),
            issuer.sign("one", algorithm="RS512"),
        )  # fmt: skip
        for shown in wrong:
            async with Client(plane.config_with(shown)) as nobody, RestClient(plane.config_with(shown)) as neither:
                with pytest.raises(errors.Unauthorized):
                    await nobody.list(kinds.POD, "default")
                with pytest.raises(errors.Unauthorized):
                    await neither.get("/api/v1/namespaces/default/pods")
        await reviewed(plane, token, wrong[0])


async def give_view(plane: Plane, user: str) -> None:
    """Let a user see the namespace `default`."""
    group = kinds.ROLE.group
    binding = rbac.RoleBinding(
        metadata=meta.ObjectMeta(name="ann", namespace="default"),
        role_ref=rbac.RoleRef(api_group=group, kind="ClusterRole", name="view"),
        subjects=(rbac.Subject(kind="User", api_group=group, name=user),),
    )
    async with plane.client() as client:
        await client.create(binding)


async def reviewed(plane: Plane, good: str, bad: str) -> None:
    """Reviews say the same."""
    async with plane.client() as client:

        async def review(token: str, *audiences: str) -> authentication.TokenReviewStatus:
            spec = authentication.TokenReviewSpec(token=token, audiences=audiences)
            return (await client.create(authentication.TokenReview(spec=spec))).status

        status = await review(good)
        assert (status.authenticated, status.user.groups) == (True, ("devs", "system:authenticated"))
        assert (await review(good, "vault")).authenticated is False
        assert (await review(bad)).authenticated is False


async def test_keys_change(issuer: Issuer) -> None:
    async with believing(issuer, algorithms=("RS256", "ES256")) as login:
        old = issuer.sign("one")
        await eventually(lambda: login.user_of(old))
        issuer.keys["two"] = ec.generate_private_key(ec.SECP256R1())
        new = issuer.sign("two", algorithm="ES256")
        assert login.user_of(new) is None
        await eventually(lambda: login.user_of(new))
        assert login.user_of(old)
        del issuer.keys["one"]
        issuer.keys["three"] = rsa.generate_private_key(65537, 2048)
        newest = issuer.sign("three")
        await eventually(lambda: login.user_of(newest))
        assert login.user_of(old) is None


async def test_an_issuer_that_is_not_itself(issuer: Issuer) -> None:
    """What can't be believed leaves the keys that are known in use, and is asked for again."""
    async with believing(issuer) as login:
        token = issuer.sign("one")
        await eventually(lambda: login.user_of(token))

        async def redirect() -> web.Response:
            return web.Response(status=302, headers={"Location": f"{issuer.url}/elsewhere"})

        async def another() -> web.Response:
            return web.json_response({"issuer": "https://else.example.com", "jwks_uri": f"{issuer.url}/keys"})

        async def plain() -> web.Response:
            return web.json_response({"issuer": issuer.url, "jwks_uri": issuer.url.replace("https", "http")})

        async def endless() -> web.Response:
            return web.Response(body=b" " * (2 << 20))

        issuer.keys["two"] = rsa.generate_private_key(65537, 2048)
        new = issuer.sign("two")
        for answer in (redirect, another, plain, endless):
            issuer.answers[DISCOVERY] = answer
            asked = issuer.asked
            assert login.user_of(new) is None
            await eventually(lambda before=asked: issuer.asked >= before + 2)
            assert login.user_of(token)
            assert login.user_of(new) is None
        issuer.answers.clear()
        await eventually(lambda: login.user_of(new))


async def test_an_issuer_whose_certificate_nobody_vouches_for(issuer: Issuer) -> None:
    login = OidcLogin(Login(Rules(issuer.url, ("mizzen",), Source("sub"))), SystemClock(), pause_s=PAUSE_S)
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await login._fetched()
    assert issuer.asked == 0


def configuration(issuer: Issuer, *more: dict[str, Any], **anonymous: Any) -> str:
    """A file that believes the issuer, and others."""
    one = {
        "issuer": {
            "url": issuer.url,
            "discoveryURL": f"{issuer.url}/elsewhere/openid",
            "audiences": ["mizzen"],
            "certificateAuthority": issuer.ca.read_text(),
        },
        "claimMappings": {
            "username": {"expression": "claims.email.split('@')[0]"},
            "groups": {"expression": "claims.roles.split(',').map(r, 'sso:' + r)"},
            "uid": {"claim": "sub"},
            "extra": [{"key": "example.com/tenant", "valueExpression": "claims.?tenant.orValue('')"}],
        },
        "claimValidationRules": [{"expression": "claims.email_verified", "message": "who is that?"}],
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
    }
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    return json.dumps(head | {"jwt": [one, *more]} | ({"anonymous": anonymous} if anonymous else {}))


@asynccontextmanager
async def configured(text: str, folder: Path) -> AsyncIterator[Logins]:
    """Logins that follow a file."""
    file = folder / "authentication.json"
    file.write_text(text)

    def read(path: str) -> Any:
        return read_configuration(Path(path).read_text())

    logins = Logins(read(str(file)), SystemClock(), file, read, pause_s=PAUSE_S, reread_s=PAUSE_S)
    running = asyncio.create_task(logins.run())
    try:
        yield logins
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_logins_by_a_file(issuer: Issuer, tmp_path: Path) -> None:
    async def elsewhere() -> web.Response:
        return web.json_response({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})

    async def nowhere() -> web.Response:
        return web.Response(status=404)

    issuer.answers["/elsewhere/openid"] = elsewhere
    issuer.answers[DISCOVERY] = nowhere

    def token(**claims: Any) -> str:
        return issuer.sign("one", **{"email": "ann@a.example", "email_verified": True, "roles": "devs,ops"} | claims)

    async with (
        configured(configuration(issuer), tmp_path) as logins,
        control_plane(tmp_path / "plane", login=logins.user_of) as plane,
    ):
        await eventually(lambda: logins.user_of(token()))
        async with Client(plane.config_with(token(tenant="t", jti="j"))) as ann:
            me = (await ann.create(authentication.SelfSubjectReview())).status.user_info
        assert codec.to_dict(me) == {
            "username": "ann",
            "uid": "ann",
            "groups": ["sso:devs", "sso:ops", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=j"], "example.com/tenant": ["t"]},
        }
        assert logins.user_of(token(email_verified=False)) is None
        assert logins.user_of(token(email="system:admin@a.example")) is None
        assert logins.user_of(token(roles=7)) is None
        assert logins.user_of(token(iss="https://else.example.com")) is None
        assert logins.user_of("nonsense") is None


async def test_the_file_changes(issuer: Issuer, tmp_path: Path) -> None:
    simple = {
        "issuer": {"url": issuer.url, "audiences": ["mizzen"], "certificateAuthority": issuer.ca.read_text()},
        "claimMappings": {"username": {"claim": "sub", "prefix": "old:"}},
    }
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    text = json.dumps(head | {"jwt": [simple]})
    async with configured(text, tmp_path) as logins:
        token = issuer.sign("one")

        def name() -> str:
            user = logins.user_of(token)
            return "" if user is None else user.name

        await eventually(lambda: name() == "old:ann")
        file = tmp_path / "authentication.json"
        file.write_text("{}")
        asked = issuer.asked
        issuer.answers[DISCOVERY] = issuer.answers["/keys"] = never
        file.write_text(text.replace("old:", "new:"))
        await eventually(lambda: name() == "new:ann"), "with the keys that were known"
        assert issuer.asked >= asked
        assert logins.hears_nobody("/healthz")
        file.write_text(json.dumps(head | {"anonymous": {"enabled": True, "conditions": [{"path": "/healthz"}]}}))
        await eventually(lambda: not logins.hears_nobody("/version"))
        assert logins.hears_nobody("/healthz")
        assert name() == ""


async def never() -> web.Response:
    """The issuer does not answer as one does."""
    return web.Response(status=500)
