"""OpenID Connect: whom a token of another issuer stands for, by its claims.

The rules are those of kube-apiserver's `AuthenticationConfiguration`, which its `--oidc-*` flags are a part of; the
messages are for the log, callers are told nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from controlplane.access.values import UserInfo

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""How tokens may be signed: with keys of which the other half is public."""
_EMAIL, _VERIFIED = "email", "email_verified"
_NO_PREFIX = "-"
_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_BEFORE_S = 300
"""How far an issuer's clock may be ahead, in seconds."""

Expression: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""What an expression gives for the claims, or for the user. Raises ValueError where it gives nothing."""


class Refused(ValueError):
    """The token stands for nobody here; says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where something about a user comes from: a claim, or an expression over all of them; neither: there is none."""

    claim: str = ""
    prefix: str = ""
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """An expression that must hold, and what is said of a token for which it does not."""

    expression: Expression
    message: str


@dataclass(frozen=True, slots=True)
class Rules:
    """How claims become a user."""

    issuer: str
    audiences: Sequence[str]
    """Whom tokens may be for; one of them is enough."""
    username: Source
    groups: Source = Source()
    uid: Source = Source()
    extra: Mapping[str, Expression] = field(default_factory=dict)
    required: Mapping[str, str] = field(default_factory=dict)
    """Claims that must be there with these values."""
    checks: Sequence[Check] = ()
    """Of the claims."""
    user_checks: Sequence[Check] = ()
    """Of the user that they make."""
    algorithms: Sequence[str] = ALGORITHMS


def username_prefix(issuer: str, claim: str, given: str) -> str:
    """What user names begin with by the flags: `given`; without it the issuer and `#`, but nothing before an email.

    `-` stands for nothing.
    """
    if given == _NO_PREFIX:
        return ""
    return given if given or claim == _EMAIL else f"{issuer}#"


def user_of(claims: Mapping[str, Any], rules: Rules, now_s: int) -> UserInfo:
    """Whom the claims of a token, whose signature has been checked, stand for. Raises Refused."""
    _check_time(claims, now_s)
    if claims.get("iss") != rules.issuer:
        raise Refused(f"the issuer is {claims.get('iss')!r}, not {rules.issuer!r}")
    audience = claims.get("aud")
    given = [audience] if isinstance(audience, str) else audience or ()
    if not any(one in given for one in rules.audiences):
        raise Refused(f"the token is for {audience!r}, not for {' or '.join(map(repr, rules.audiences))}")
    for claim, value in rules.required.items():
        if _text(claims, claim) != value:
            raise Refused(f"the claim {claim!r} is not {value!r}")
    for check in rules.checks:
        _hold(check, claims)
    user = UserInfo(
        _name(claims, rules.username), _groups(claims, rules.groups), _uid(claims, rules), _extra(claims, rules)
    )
    for check in rules.user_checks:
        extra = {key: list(values) for key, values in user.extra.items()}
        _hold(check, {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra})
    return user


def _name(claims: Mapping[str, Any], source: Source) -> str:
    if source.expression is None:
        name = _text(claims, source.claim)
        if source.claim == _EMAIL and claims.get(_VERIFIED, True) is not True:
            raise Refused("the email is not verified")
        return source.prefix + name
    found = _value(source.expression, claims)
    if not isinstance(found, str) or not found:
        raise Refused("the expression of the user's name gives no text")
    return found


def _uid(claims: Mapping[str, Any], rules: Rules) -> str:
    if rules.uid.expression is not None:
        found = _value(rules.uid.expression, claims)
        if not isinstance(found, str):
            raise Refused("the expression of the user's uid gives no text")
        return found
    return _text(claims, rules.uid.claim) if rules.uid.claim else ""


def _extra(claims: Mapping[str, Any], rules: Rules) -> dict[str, tuple[str, ...]]:
    identity = claims.get("jti")
    extra: dict[str, tuple[str, ...]] = {}
    if isinstance(identity, str) and identity:
        extra[_CREDENTIAL_ID] = (f"JTI={identity}",)
    for key, expression in rules.extra.items():
        if values := _texts(_value(expression, claims), f"the expression of the extra {key!r}"):
            extra[key] = values
    return extra


def _groups(claims: Mapping[str, Any], source: Source) -> tuple[str, ...]:
    if source.expression is not None:
        return _texts(_value(source.expression, claims), "the expression of the groups")
    found = _texts(claims.get(source.claim) if source.claim else None, f"the claim {source.claim!r}")
    return tuple(source.prefix + group for group in found)


def _texts(found: Any, what: str) -> tuple[str, ...]:
    """One text or several; empty ones say nothing."""
    if found is None or found == "":
        return ()
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        raise Refused(f"{what} is neither a text nor a list of texts")
    return tuple(listed)


def _value(expression: Expression, given: Mapping[str, Any]) -> Any:
    try:
        return expression(given)
    except ValueError as error:
        raise Refused(str(error)) from error


def _hold(check: Check, given: Mapping[str, Any]) -> None:
    if _value(check.expression, given) is not True:
        raise Refused(check.message)


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
