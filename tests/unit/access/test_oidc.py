"""Claims of other issuers, and whom they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.access.oidc import Refused, Rules, Source, user_of, username_prefix
from controlplane.access.values import UserInfo

ISSUER = "https://issuer.example.com"
NOW = 1_000_000
SUB = Source("sub", f"{ISSUER}#")
RULES = Rules(ISSUER, ("mizzen", "vault"), SUB, Source("groups"))


def claims(**more: Any) -> dict[str, Any]:
    """The claims of Ann's token."""
    return {"iss": ISSUER, "aud": "mizzen", "exp": NOW + 60, "sub": "ann"} | more


def test_who_it_is() -> None:
    user = user_of(claims(groups=["devs", "ops"], jti="t1"), RULES, NOW)
    extra = {"authentication.kubernetes.io/credential-id": ("JTI=t1",)}
    assert user == UserInfo(f"{ISSUER}#ann", ("devs", "ops"), extra=extra)
    assert user_of(claims(groups="devs"), RULES, NOW).groups == ("devs",)
    assert user_of(claims(aud=["other", "mizzen"]), RULES, NOW).groups == ()


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ({"username_prefix": "-"}, "ann"),
        ({"username_prefix": "oidc:"}, "oidc:ann"),
        ({"username_claim": "email"}, "ann@example.com"),
        ({"username_claim": "email", "username_prefix": "oidc:"}, "oidc:ann@example.com"),
        ({"username_claim": "nick"}, f"{ISSUER}#a"),
    ],
)
def test_names_by_flags(rules: dict[str, Any], name: str) -> None:
    given = claims(email="ann@example.com", email_verified=True, nick="a", groups=["g"])
    claim = rules.get("username_claim", "sub")
    source = Source(claim, username_prefix(ISSUER, claim, rules.get("username_prefix", "")))
    user = user_of(given, Rules(ISSUER, ("mizzen",), source, Source("groups", "oidc:")), NOW)
    assert (user.name, user.groups) == (name, ("oidc:g",))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"exp": NOW}, "has expired"),
        ({"exp": None}, "says not when it ends"),
        ({"exp": "soon"}, "'exp' is not a time"),
        ({"exp": True}, "'exp' is not a time"),
        ({"nbf": NOW + 301}, "not valid yet"),
        ({"iss": "https://else.example.com"}, "the issuer is"),
        ({"aud": "other"}, "is for 'other'"),
        ({"aud": None}, "is for None"),
        ({"sub": ""}, "'sub' is not a text"),
        ({"sub": 7}, "'sub' is not a text"),
        ({"groups": [1]}, "'groups' is neither a text nor a list of texts"),
        ({"groups": {"a": 1}}, "'groups' is neither"),
        ({"hd": "else"}, "'hd' is not 'example.com'"),
        ({"hd": None}, "'hd' is not a text"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    rules = Rules(ISSUER, ("mizzen",), SUB, Source("groups"), required={"hd": "example.com"})
    assert user_of(claims(hd="example.com", nbf=NOW + 299), rules, NOW).name == f"{ISSUER}#ann"
    with pytest.raises(Refused, match=words):
        user_of(claims(hd="example.com") | given, rules, NOW)


def test_an_email_that_is_not_verified() -> None:
    rules = Rules(ISSUER, ("mizzen",), Source("email"))
    assert user_of(claims(email="ann@example.com"), rules, NOW).name == "ann@example.com"
    for verified in (False, "true", None):
        with pytest.raises(Refused, match="not verified"):
            user_of(claims(email="ann@example.com", email_verified=verified), rules, NOW)
