"""How a machine becomes a node: it shows a join token and gets a certificate.

The token is `mz1.CAHASH.ID.SECRET`. The agent fetches the authority's certificate over a connection that it can't
trust yet (`GET /mizzen.dev/v1/ca`), compares its SHA-256 (over DER, in hex) with CAHASH, and from there on trusts the
server: a token copied from the right place is all that a join needs, and a false server learns no secret. Then
`POST /mizzen.dev/v1/join` with `Authorization: Bearer <whole token>` and a JSON body

    {"node": "worker-1", "csr": "<certificate signing request in PEM>"}

answers 200 `{"certificate": PEM, "ca": PEM, "grpcPort": 6440}`, or a Status: 401 for a token that is unknown, expired
or wrong, 400 for a bad name or request, 409 when another living node has the name.

Tokens are kept as Kubernetes keeps bootstrap tokens: Secrets in `kube-system` of type `bootstrap.kubernetes.io/token`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from mizzen.api import kinds, times
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.values import Ids, Instant
from mizzen.engine.view import View

PREFIX = "mz1"
NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
SECRET_PREFIX = "bootstrap-token-"
USAGE = "usage-bootstrap-authentication"
"""Tokens may be made for other purposes; only those with this key are good for joining."""
DEFAULT_TTL_S = 24 * 3600


class TokenRefused(Exception):
    """The token opens nothing; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Token:
    """A join token's parts."""

    ca_hash: str
    id: str
    secret: str

    def __str__(self) -> str:
        return f"{PREFIX}.{self.ca_hash}.{self.id}.{self.secret}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises TokenRefused for what does not look like a token."""
        parts = text.strip().split(".")
        if len(parts) != 4 or parts[0] != PREFIX or not all(parts) or not text.isascii():
            raise TokenRefused("the join token must look like mz1.<CA hash>.<id>.<secret>; copy it whole")
        return cls(*parts[1:])


def new_token(ca_hash: str, ids: Ids) -> Token:
    """A fresh token."""
    return Token(ca_hash, ids.suffix("join-token", 6), ids.uid("join-token").replace("-", ""))


def token_secret(token: Token, expires: str) -> core_v1.Secret:
    """The Secret that makes a token valid until `expires` (RFC 3339; empty: for ever)."""
    data = {"token-id": token.id, "token-secret": token.secret, USAGE: "true"}
    if expires:
        data["expiration"] = expires
    return core_v1.Secret(
        metadata=meta_v1.ObjectMeta(name=SECRET_PREFIX + token.id, namespace=NAMESPACE),
        type=SECRET_TYPE,
        data={key: value.encode() for key, value in data.items()},
    )


def check_token(text: str, view: View, now: Instant) -> Token:
    """The token, when it is known and has not expired; raises TokenRefused."""
    token = Token.parse(text)
    secret = view.get(kinds.SECRET, NAMESPACE, SECRET_PREFIX + token.id)
    known = secret is not None and secret.type == SECRET_TYPE and secret.data.get(USAGE) == b"true"
    wanted = secret.data.get("token-secret", b"") if secret is not None and known else b""
    # Compared in constant time, and also when there is none, so that the answer's time tells nothing.
    if not hmac.compare_digest(wanted, token.secret.encode()) or secret is None:
        raise TokenRefused("the join token is not known to this cluster; make a new one with `mizzen token create`")
    expiration = secret.data.get("expiration", b"").decode(errors="replace")
    if expiration and _has_passed(expiration, now):
        raise TokenRefused(f"the join token expired at {expiration}; make a new one with `mizzen token create`")
    return token


def _has_passed(time: str, now: Instant) -> bool:
    """Whether a time has come; one that can't be read counts as past, because nobody meant it to last for ever."""
    try:
        return times.parse(time) <= now
    except times.TimeError:
        return True
