"""Logins by OpenID Connect: the issuer's keys, fetched in the background, and the tokens that they have signed.

No request waits for the issuer. A token with a key that nobody knows yet is refused, and makes the keys be fetched
again; whoever comes once more is let in.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import jwt
import msgspec
import structlog

from controlplane.access import oidc
from controlplane.access.authentication import Login
from controlplane.access.values import UserInfo
from mizzen.engine.values import Clock

_LOG = structlog.get_logger(__name__)
DISCOVERY = "/.well-known/openid-configuration"
FETCH_S = 10.0
"""How long one document may take, in seconds."""
DOCUMENT_MAX_BYTES = 1 << 20
REFRESH_S = 300.0
"""Time between two looks at the keys, in seconds, when nobody shows a token with an unknown one."""
PAUSE_S = 10.0
"""Least time between two looks at the keys, in seconds: nobody may make this server burden the issuer."""
TOKEN_MAX_BYTES = 64 << 10
_KNOWN_MAX = 4096
"""Tokens whose signature was checked and is not checked again until the keys change."""


class IssuerError(Exception):
    """The issuer does not answer as one does."""


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _Keys(msgspec.Struct):
    keys: tuple[dict[str, Any], ...]


class OidcLogin:
    """One issuer whose tokens are believed."""

    def __init__(self, login: Login, clock: Clock, *, pause_s: float = PAUSE_S) -> None:
        """Believe by the rules of `login`. Raises OSError or ssl.SSLError for authorities that are none."""
        self._rules = login.rules
        self._discovery = login.discovery_url or login.rules.issuer.rstrip("/") + DISCOVERY
        self._clock = clock
        self._tls = ssl.create_default_context(cadata=login.ca_pem or None)
        self._pause_s = pause_s
        self._keys: Mapping[str, Any] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._wanted = asyncio.Event()

    def take_keys_of(self, former: OidcLogin) -> None:
        """Begin with the keys that a login of the same issuer knew."""
        self._keys = former._keys

    def user_of(self, token: str) -> UserInfo | None:
        """Whom a token stands for; None for one that this issuer has not signed, or that is not good (any more)."""
        claims = self._checked(token)
        if claims is None:
            return None
        try:
            return oidc.user_of(claims, self._rules, self._clock.now() // 1000)
        except oidc.Refused as error:
            _LOG.info("oidc_token_refused", error=str(error))
            return None

    def _checked(self, token: str) -> dict[str, Any] | None:
        known = self._known.get(token)
        if known is not None:
            return known
        if len(token) > TOKEN_MAX_BYTES:
            return None
        unchecked: Any = {"verify_signature": False}
        try:
            if jwt.decode(token, options=unchecked).get("iss") != self._rules.issuer:
                return None
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                self._wanted.set()
                return None
            # Times and audiences are looked at whenever the token is used.
            only_signed: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
            claims = jwt.decode(token, key, algorithms=list(self._rules.algorithms), options=only_signed)
        except (jwt.PyJWTError, TypeError, ValueError):
            return None
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[token] = claims
        return claims

    async def run(self) -> None:
        """Fetches the keys, now and whenever they may have changed, for ever."""
        while True:
            self._wanted.clear()
            try:
                keys = await self._fetched()
            except (IssuerError, aiohttp.ClientError, TimeoutError, OSError) as error:
                _LOG.warning("oidc_keys_failed", issuer=self._rules.issuer, error=str(error) or type(error).__name__)
                self._wanted.set()
            else:
                self._keys, self._known = keys, {}
                _LOG.info("oidc_keys", issuer=self._rules.issuer, keys=len(keys))
            await asyncio.sleep(self._pause_s)
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _fetched(self) -> dict[str, Any]:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=FETCH_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            place = self._discovery
            found = await _document(session, place, _Discovery)
            if found.issuer != self._rules.issuer:
                raise IssuerError(f"{place} speaks of the issuer {found.issuer!r}, not of {self._rules.issuer!r}")
            if not found.jwks_uri.startswith("https://"):
                raise IssuerError(f"{place}: jwks_uri must begin with https://, not be {found.jwks_uri!r}")
            return _keys((await _document(session, found.jwks_uri, _Keys)).keys)


async def _document(session: aiohttp.ClientSession, url: str, type_: type[Any]) -> Any:
    """What stands at a URL, and not where that points to. Raises IssuerError."""
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise IssuerError(f"{url} answered {answer.status}")
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > DOCUMENT_MAX_BYTES:
                raise IssuerError(f"{url} is longer than {DOCUMENT_MAX_BYTES} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IssuerError(f"{url} is not what it should be: {error}") from error


def _keys(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys for signatures by their names; what is none that we know is left out."""
    found: dict[str, Any] = {}
    for one in given:
        if one.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK.from_dict(dict(one))
        except jwt.PyJWTError:
            continue
        # A secret would verify what anybody who reads the document has signed.
        if one.get("kty") != "oct":
            found[str(one.get("kid", ""))] = key.key
    return found
