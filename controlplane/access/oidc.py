"""OpenID Connect: whom a token of another issuer stands for, by its claims.

The rules are those of kube-apiserver's `--oidc-*` flags; the messages are for the log, callers are told nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.access.values import UserInfo

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""How tokens may be signed: with keys of which the other half is public."""
_EMAIL, _VERIFIED = "email", "email_verified"
_NO_PREFIX = "-"
_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_BEFORE_S = 300
"""How far an issuer's clock may be ahead, in seconds."""


class Refused(ValueError):
    """The token stands for nobody here; says why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How claims become a user."""

    issuer: str
    client_id: str
    """The audience that tokens must be for."""
    username_claim: str = "sub"
    username_prefix: str = ""
    """What user names begin with; empty: the issuer and `#`, but nothing before an email; `-`: nothing."""
    groups_claim: str = ""
    """Names the claim with the groups; empty: there is none."""
    groups_prefix: str = ""
    required: Mapping[str, str] = field(default_factory=dict)
    """Claims that must be there with these values."""
    algorithms: Sequence[str] = ("RS256",)

    @property
    def prefix(self) -> str:
        """What user names really begin with."""
        if self.username_prefix == _NO_PREFIX:
            return ""
        if self.username_prefix or self.username_claim == _EMAIL:
            return self.username_prefix
        return f"{self.issuer}#"


def user_of(claims: Mapping[str, Any], rules: Rules, now_s: int) -> UserInfo:
    """Whom the claims of a token, whose signature has been checked, stand for. Raises Refused."""
    _check_time(claims, now_s)
    if claims.get("iss") != rules.issuer:
        raise Refused(f"the issuer is {claims.get('iss')!r}, not {rules.issuer!r}")
    audience = claims.get("aud")
    if rules.client_id not in ([audience] if isinstance(audience, str) else audience or ()):
        raise Refused(f"the token is for {audience!r}, not for {rules.client_id!r}")
    name = _text(claims, rules.username_claim)
    if rules.username_claim == _EMAIL and claims.get(_VERIFIED, True) is not True:
        raise Refused("the email is not verified")
    for claim, value in rules.required.items():
        if _text(claims, claim) != value:
            raise Refused(f"the claim {claim!r} is not {value!r}")
    identity = claims.get("jti")
    extra = {_CREDENTIAL_ID: (f"JTI={identity}",)} if isinstance(identity, str) and identity else {}
    return UserInfo(rules.prefix + name, _groups(claims, rules), extra=extra)


def _check_time(claims: Mapping[str, Any], now_s: int) -> None:
    ends, begins = _seconds(claims, "exp"), _seconds(claims, "nbf")
    if ends is None:
        raise Refused("the token says not when it ends")
    if now_s >= ends:
        raise Refused("the token has expired")
    if begins is not None and now_s + _BEFORE_S < begins:
        raise Refused("the token is not valid yet")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    found = claims.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Refused(f"the claim {name!r} is not a time")
    return found


def _text(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or not found:
        raise Refused(f"the claim {name!r} is not a text")
    return found


def _groups(claims: Mapping[str, Any], rules: Rules) -> tuple[str, ...]:
    found = claims.get(rules.groups_claim) if rules.groups_claim else None
    if found is None:
        return ()
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
        raise Refused(f"the claim {rules.groups_claim!r} is neither a text nor a list of texts")
    return tuple(rules.groups_prefix + group for group in listed)
