"""AuthenticationConfigurations: what they mean, and what is said of wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.access.authentication import Authentication
from controlplane.access.authentication_config import BadConfiguration, read_configuration
from controlplane.access.oidc import Refused, user_of

OWN = "https://kubernetes.default.svc.cluster.local"
ISSUER = "https://issuer.example.com"
HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
NAME = {"username": {"claim": "sub", "prefix": ""}}


def read(*jwt: dict[str, Any], **more: Any) -> Authentication:
    return read_configuration(json.dumps(HEAD | {"jwt": list(jwt)} | more), OWN)


def jwt(issuer: dict[str, Any] | None = None, mappings: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An issuer with changes."""
    whole = {"url": ISSUER, "audiences": ["a"]} | (issuer or {})
    return {"issuer": whole, "claimMappings": NAME | (mappings or {})} | more


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": ISSUER, "aud": "a", "exp": 100, "sub": "ann"} | more


def user(one: dict[str, Any], **more: Any) -> Any:
    """Whom claims stand for."""
    (login,) = read(one).logins
    return user_of(claims(**more), login.rules, 0)


def test_what_expressions_say() -> None:
    mappings = {
        "username": {"expression": "'x:' + claims.sub"},
        "groups": {"expression": "claims.?groups.orValue([])"},
        "uid": {"expression": "string(claims.id)"},
        "extra": [
            {"key": "a.example/one", "valueExpression": "claims.?first.orValue('')"},
            {"key": "a.example/two", "valueExpression": "['p', 'q']"},
        ],
    }
    found = user(jwt(mappings=mappings), id=7)
    assert (found.name, found.uid, found.groups, found.extra) == ("x:ann", "7", (), {"a.example/two": ("p", "q")})
    assert user(jwt(mappings=mappings), id=7, groups=["g"], first="1").groups == ("g",)
    with pytest.raises(Refused, match="no such key: id"):
        user(jwt(mappings=mappings))


@pytest.mark.parametrize(
    ("more", "given", "said"),
    [
        ({"claimValidationRules": [{"expression": "claims.hd == 'b'", "message": "of another house"}]}, {"hd": "c"},
         "of another house"),
        ({"claimValidationRules": [{"expression": "claims.hd == 'b'"}]}, {"hd": "c"},
         "validation expression \"claims.hd == 'b'\" failed"),
        ({"claimValidationRules": [{"claim": "hd", "requiredValue": "b"}]}, {"hd": "c"}, "the claim 'hd' is not 'b'"),
        ({"userValidationRules": [{"expression": "user.groups.size() > 0"}]}, {}, "user.groups.size"),
        ({"claimMappings": {"username": {"expression": "claims.n"}}}, {"n": 3}, "gives no text"),
        ({"claimMappings": NAME | {"groups": {"expression": "claims.g"}}}, {"g": [1]}, "neither a text nor a list"),
        ({"claimMappings": NAME | {"uid": {"claim": "id"}}}, {}, "'id' is not a text"),
        ({"claimMappings": NAME | {"uid": {"expression": "claims.id"}}}, {"id": 1}, "uid gives no text"),
    ],
)  # fmt: skip
def test_who_is_refused(more: dict[str, Any], given: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as refused:
        user(jwt(**more), **given)
    assert said in str(refused.value)


def test_who_may_be_nobody() -> None:
    assert read().hears_nobody("/any")
    assert not read(anonymous={"enabled": False}).hears_nobody("/any")
    some = read(anonymous={"enabled": True, "conditions": [{"path": "/livez"}]})
    assert some.hears_nobody("/livez")
    assert not some.hears_nobody("/livez/ping")
    with pytest.raises(BadConfiguration, match="enabled should be set to true when conditions are defined"):
        read(anonymous={"conditions": [{"path": "/livez"}]})


EMAIL = {"username": {"expression": "claims.email"}}
UNVERIFIED = "claims.email_verified must be used in claimMappings.username.expression"


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (jwt({"url": ""}), "jwt[0].issuer.url: Required value: URL is required"),
        (jwt({"url": "http://a"}), 'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https'),
        (jwt({"url": "https://u:p@a"}), "URL must not contain a username or password"),
        (jwt({"url": "https://a?b"}), "URL must not contain a query"),
        (jwt({"url": "https://a#b"}), "URL must not contain a fragment"),
        (jwt({"url": OWN}), f"URL must not overlap with disallowed issuers: [{OWN}]"),
        (jwt({"discoveryURL": f"{ISSUER}/"}), "discoveryURL must be different from URL"),
        (jwt({"audiences": []}), "audiences: Required value: at least one jwt[0].issuer.audiences is required"),
        (jwt({"audiences": ["a", "b"]}), "audienceMatchPolicy must be MatchAny for multiple audiences"),
        (jwt({"audiences": ["a", "a"], "audienceMatchPolicy": "MatchAny"}), 'audiences[1]: Duplicate value: "a"'),
        (jwt({"audiences": [""]}), "jwt[0].issuer.audiences[0]: Required value: audience can't be empty"),
        (jwt({"audienceMatchPolicy": "All"}), "audienceMatchPolicy must be empty or MatchAny for single audience"),
        (jwt({"certificateAuthority": "x"}), "data does not contain any valid RSA or ECDSA certificates"),
        (jwt(mappings={"username": {}}), "username: Required value: claim or expression is required"),
        (jwt(mappings={"username": {"claim": "a"}}), "username.prefix: Required value: prefix is required"),
        (jwt(mappings={"username": {"claim": "a", "expression": "b"}}), "claim and expression can't both be set"),
        (jwt(mappings={"username": {"expression": "'a'", "prefix": ""}}), "prefix can't be set when expression is set"),
        (jwt(mappings={"username": {"expression": "1"}}), "must evaluate to string"),
        (jwt(mappings={"username": {"expression": "user"}}), "compilation failed: "),
        (jwt(mappings=EMAIL), UNVERIFIED),
        (jwt(mappings={"groups": {"expression": "true"}}), "must evaluate to one of [string list]"),
        (jwt(mappings={"groups": {"prefix": "a"}}), "non-empty claim name is required when prefix is set"),
        (jwt(mappings={"uid": {"claim": "a", "expression": "b"}}), "jwt[0].claimMappings.uid: Invalid value"),
        (jwt(mappings={"extra": [{"key": "a", "valueExpression": "'b'"}]}), "domain-prefixed path"),
        (jwt(mappings={"extra": [{"key": "a.b/C", "valueExpression": "'b'"}]}), "key must be lowercase"),
        (jwt(mappings={"extra": [{"key": "x.k8s.io/a", "valueExpression": "'b'"}]}), "are reserved for Kubernetes use"),
        (jwt(mappings={"extra": [{"key": "a.b/c"}]}), "valueExpression: Required value: valueExpression is required"),
        (jwt(claimValidationRules=[{}]), "Rules[0]: Required value: claim or expression is required"),
        (jwt(claimValidationRules=[{"claim": "a", "message": "b"}]), "message can't be set when claim is set"),
        (jwt(claimValidationRules=[{"expression": "true", "requiredValue": "b"}]), "requiredValue can't be set"),
        (jwt(claimValidationRules=[{"expression": "1"}]), "must evaluate to bool"),
        (jwt(claimValidationRules=[{"claim": "a"}, {"claim": "a"}]), 'Rules[1].claim: Duplicate value: "a"'),
        (jwt(userValidationRules=[{}]), "Rules[0].expression: Required value: expression is required"),
        (jwt(userValidationRules=[{"expression": "user.nick == ''"}]), "undefined field 'nick'"),
        ({"isuer": {}}, "unknown field `isuer`"),
    ],
)  # fmt: skip
def test_wrong_ones(one: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        read(one)
    assert said in str(refused.value)


def test_an_email_that_is_verified_somewhere() -> None:
    rule = [{"expression": "claims.email_verified == true"}]
    extra = [{"key": "a.b/c", "valueExpression": "string(claims.?email_verified.orValue(false))"}]
    for fine in (jwt(mappings=EMAIL, claimValidationRules=rule), jwt(mappings=EMAIL | {"extra": extra})):
        assert read(fine).logins


def test_two_issuers_are_unlike() -> None:
    with pytest.raises(BadConfiguration, match=r'jwt\[1\].issuer.url: Duplicate value: "https://issuer.example.com"'):
        read(jwt(), jwt())
    assert len(read(jwt(), jwt({"url": "https://b"})).logins) == 2
    with pytest.raises(BadConfiguration, match="must have at most 64 items"):
        read(*(jwt({"url": f"https://i{number}"}) for number in range(65)))
