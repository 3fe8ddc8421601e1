"""Kubernetes' AuthenticationConfiguration: read, checked as kube-apiserver does, with its texts.

Field by field as in `apiserver.config.k8s.io/v1`; the versions before it have the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
import yaml
from cryptography import x509

from controlplane.access import oidc
from controlplane.access.authentication import Authentication, Login
from controlplane.access.claims import Compiled, compiled
from mizzen.api import formats
from mizzen.api.errors import FieldError

_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_KIND = "AuthenticationConfiguration"
_ISSUERS_MAX = 64
_BOTH = "claim and expression can't both be set"
_NEITHER = "claim or expression is required"
_UNPREFIXED = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
_NOT_VERIFIED = (
    "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression "
    "or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
)
_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?[^?#]*(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_RESERVED = re.compile(r"(^|\.)(k8s|kubernetes)\.io$")


class BadConfiguration(ValueError):
    """The file says what it can't mean; names every field."""


class _Struct(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class _Issuer(_Struct):
    url: str = ""
    discovery_url: str = msgspec.field(default="", name="discoveryURL")
    certificate_authority: str = ""
    audiences: tuple[str, ...] = ()
    audience_match_policy: str = ""


class _ValidationRule(_Struct):
    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class _Prefixed(_Struct):
    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class _ClaimOrExpression(_Struct):
    claim: str = ""
    expression: str = ""


class _Extra(_Struct):
    key: str = ""
    value_expression: str = ""


class _Mappings(_Struct):
    username: _Prefixed = msgspec.field(default_factory=_Prefixed)
    groups: _Prefixed = msgspec.field(default_factory=_Prefixed)
    uid: _ClaimOrExpression = msgspec.field(default_factory=_ClaimOrExpression)
    extra: tuple[_Extra, ...] = ()


class _UserRule(_Struct):
    expression: str = ""
    message: str = ""


class _Jwt(_Struct):
    issuer: _Issuer = msgspec.field(default_factory=_Issuer)
    claim_validation_rules: tuple[_ValidationRule, ...] = ()
    claim_mappings: _Mappings = msgspec.field(default_factory=_Mappings)
    user_validation_rules: tuple[_UserRule, ...] = ()


class _Condition(_Struct):
    path: str = ""


class _Anonymous(_Struct):
    enabled: bool = False
    conditions: tuple[_Condition, ...] = ()


class _Configuration(_Struct):
    api_version: str = ""
    kind: str = ""
    jwt: tuple[_Jwt, ...] = ()
    anonymous: _Anonymous | None = None


def read_configuration(text: str, own_issuer: str = "") -> Authentication:
    """What a file, YAML or JSON, says; nobody else may be the cluster's own issuer. Raises BadConfiguration."""
    try:
        found = msgspec.convert(yaml.safe_load(text), _Configuration)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadConfiguration(f"it can't be read: {error}") from error
    if found.api_version not in _VERSIONS or found.kind != _KIND:
        raise BadConfiguration(f"it must be of apiVersion {_VERSIONS[0]} and kind {_KIND}")
    reader = _Reader(own_issuer)
    logins = reader.logins(found.jwt)
    anonymous = reader.anonymous(found.anonymous)
    if reader.errors:
        raise BadConfiguration("; ".join(map(str, reader.errors)))
    return Authentication(logins, *anonymous)


class _Reader:
    """Reads the parts and notes what is wrong with them."""

    def __init__(self, own_issuer: str) -> None:
        self._own_issuer = own_issuer
        self.errors: list[FieldError] = []

    def logins(self, given: Sequence[_Jwt]) -> tuple[Login, ...]:
        if len(given) > _ISSUERS_MAX:
            self.errors.append(FieldError.too_many("jwt", len(given), _ISSUERS_MAX))
        self._unlike("jwt", "issuer.url", [one.issuer.url for one in given])
        self._unlike("jwt", "issuer.discoveryURL", [one.issuer.discovery_url for one in given])
        return tuple(self._login(f"jwt[{place}]", one) for place, one in enumerate(given))

    def anonymous(self, given: _Anonymous | None) -> tuple[bool, tuple[str, ...]]:
        if given is None:
            return True, ()
        paths = tuple(one.path for one in given.conditions)
        if paths and not given.enabled:
            detail = "enabled should be set to true when conditions are defined"
            self.errors.append(FieldError.invalid("anonymous.conditions", list(paths), detail))
        return given.enabled, paths

    def _login(self, at: str, given: _Jwt) -> Login:
        self._issuer(f"{at}.issuer", given.issuer)
        required, checks = self._validations(f"{at}.claimValidationRules", given.claim_validation_rules)
        mappings, where = given.claim_mappings, f"{at}.claimMappings"
        username = self._name(f"{where}.username", mappings.username)
        groups = self._prefixed(f"{where}.groups", mappings.groups, ("string", "list"))
        uid = self._uid(f"{where}.uid", mappings.uid)
        extra = self._extra(f"{where}.extra", mappings.extra)
        verified = any(
            one.reads("email_verified") for one in (username, *extra.values(), *(rule for rule, _ in checks))
        )
        if username.reads("email") and not verified:
            text = mappings.username.expression
            self.errors.append(FieldError.invalid(f"{where}.username.expression", text, _NOT_VERIFIED))
        rules = oidc.Rules(
            issuer=given.issuer.url,
            audiences=given.issuer.audiences,
            username=oidc.Source(mappings.username.claim, mappings.username.prefix or "", username.run),
            groups=oidc.Source(mappings.groups.claim, mappings.groups.prefix or "", groups.run),
            uid=oidc.Source(mappings.uid.claim, "", uid.run),
            extra={key: one.run for key, one in extra.items() if one.run is not None},
            required=required,
            checks=[oidc.Check(rule.run, message) for rule, message in checks if rule.run is not None],
            user_checks=self._user_checks(f"{at}.userValidationRules", given.user_validation_rules),
        )
        return Login(rules, given.issuer.discovery_url, given.issuer.certificate_authority)

    # -- the issuer --------------------------------------------------------------------------------------------------

    def _issuer(self, at: str, given: _Issuer) -> None:
        if not given.url:
            self.errors.append(FieldError.required(f"{at}.url", "URL is required"))
        else:
            self._url(f"{at}.url", given.url)
        if given.discovery_url:
            if given.url and given.url.rstrip("/") == given.discovery_url.rstrip("/"):
                detail = "discoveryURL must be different from URL"
                self.errors.append(FieldError.invalid(f"{at}.discoveryURL", given.discovery_url, detail))
            self._url(f"{at}.discoveryURL", given.discovery_url)
        self._audiences(at, given)
        if given.certificate_authority:
            try:
                x509.load_pem_x509_certificates(given.certificate_authority.encode())
            except ValueError:
                detail = "data does not contain any valid RSA or ECDSA certificates"
                self.errors.append(FieldError.invalid(f"{at}.certificateAuthority", "<omitted>", detail))

    def _url(self, at: str, url: str) -> None:
        scheme, server, query, fragment = _parts(url)
        for wrong, detail in (
            (url == self._own_issuer, f"URL must not overlap with disallowed issuers: [{url}]"),
            (scheme != "https", "URL scheme must be https"),
            ("@" in server, "URL must not contain a username or password"),
            (query, "URL must not contain a query"),
            (fragment, "URL must not contain a fragment"),
        ):
            if wrong:
                self.errors.append(FieldError.invalid(at, url, detail))

    def _audiences(self, at: str, given: _Issuer) -> None:
        if not given.audiences:
            self.errors.append(FieldError.required(f"{at}.audiences", f"at least one {at}.audiences is required"))
        policy = given.audience_match_policy
        if len(given.audiences) > 1 and policy != "MatchAny":
            detail = "audienceMatchPolicy must be MatchAny for multiple audiences"
            self.errors.append(FieldError.invalid(f"{at}.audienceMatchPolicy", policy, detail))
        if len(given.audiences) == 1 and policy not in ("", "MatchAny"):
            detail = "audienceMatchPolicy must be empty or MatchAny for single audience"
            self.errors.append(FieldError.invalid(f"{at}.audienceMatchPolicy", policy, detail))
        for place, audience in enumerate(given.audiences):
            if not audience:
                self.errors.append(FieldError.required(f"{at}.audiences[{place}]", "audience can't be empty"))
        self._unlike(f"{at}.audiences", "", given.audiences)

    # -- rules -------------------------------------------------------------------------------------------------------

    def _validations(
        self, at: str, given: Sequence[_ValidationRule]
    ) -> tuple[dict[str, str], list[tuple[Compiled, str]]]:
        required: dict[str, str] = {}
        checks: list[tuple[Compiled, str]] = []
        self._unlike(at, "claim", [one.claim for one in given])
        self._unlike(at, "expression", [one.expression for one in given])
        for place, one in enumerate(given):
            here = f"{at}[{place}]"
            if one.claim and one.expression:
                self.errors.append(FieldError.invalid(here, one.claim, _BOTH))
            elif one.claim:
                if one.message:
                    detail = "message can't be set when claim is set"
                    self.errors.append(FieldError.invalid(f"{here}.message", one.message, detail))
                required[one.claim] = one.required_value
            elif one.expression:
                if one.required_value:
                    detail = "requiredValue can't be set when expression is set"
                    self.errors.append(FieldError.invalid(f"{here}.requiredValue", one.required_value, detail))
                made = self._compiled(f"{here}.expression", one.expression, ("bool",))
                checks.append((made, one.message or f"validation expression {one.expression!r} failed"))
            else:
                self.errors.append(FieldError.required(here, _NEITHER))
        return required, checks

    def _user_checks(self, at: str, given: Sequence[_UserRule]) -> list[oidc.Check]:
        checks = []
        self._unlike(at, "expression", [one.expression for one in given])
        for place, one in enumerate(given):
            here = f"{at}[{place}].expression"
            if not one.expression:
                self.errors.append(FieldError.required(here, "expression is required"))
                continue
            made = self._compiled(here, one.expression, ("bool",), of_user=True)
            if made.run is not None:
                checks.append(oidc.Check(made.run, one.message or f"validation expression {one.expression!r} failed"))
        return checks

    # -- mappings ----------------------------------------------------------------------------------------------------

    def _name(self, at: str, given: _Prefixed) -> Compiled:
        if not given.claim and not given.expression:
            self.errors.append(FieldError.required(at, _NEITHER))
        return self._prefixed(at, given, ("string",))

    def _prefixed(self, at: str, given: _Prefixed, wanted: tuple[str, ...]) -> Compiled:
        if given.claim and given.expression:
            self.errors.append(FieldError.invalid(at, "", _BOTH))
        elif given.claim and given.prefix is None:
            self.errors.append(FieldError.required(f"{at}.prefix", _UNPREFIXED))
        elif given.prefix is not None and not given.claim:
            if given.expression:
                detail = "prefix can't be set when expression is set"
                self.errors.append(FieldError.invalid(f"{at}.prefix", given.prefix, detail))
            else:
                self.errors.append(
                    FieldError.required(f"{at}.claim", "non-empty claim name is required when prefix is set")
                )
        return self._compiled(f"{at}.expression", given.expression, wanted)

    def _uid(self, at: str, given: _ClaimOrExpression) -> Compiled:
        if given.claim and given.expression:
            self.errors.append(FieldError.invalid(at, "", _BOTH))
        return self._compiled(f"{at}.expression", given.expression, ("string",))

    def _extra(self, at: str, given: Sequence[_Extra]) -> dict[str, Compiled]:
        self._unlike(at, "key", [one.key for one in given])
        found: dict[str, Compiled] = {}
        for place, one in enumerate(given):
            here = f"{at}[{place}]"
            self.errors.extend(_key_errors(f"{here}.key", one.key))
            if not one.value_expression:
                self.errors.append(FieldError.required(f"{here}.valueExpression", "valueExpression is required"))
            where = f"{here}.valueExpression"
            found[one.key] = self._compiled(where, one.value_expression, ("string", "list"))
        return found

    def _compiled(self, at: str, text: str, wanted: tuple[str, ...], *, of_user: bool = False) -> Compiled:
        made = compiled(text, wanted, of_user=of_user) if text else Compiled()
        if made.error:
            self.errors.append(FieldError.invalid(at, text, made.error))
        return made

    def _unlike(self, at: str, below: str, values: Sequence[str]) -> None:
        for place, value in enumerate(values):
            if value and value in values[:place]:
                self.errors.append(FieldError.duplicate(f"{at}[{place}]{below and '.' + below}", value))


def _parts(url: str) -> tuple[str, str, str, str]:
    """Scheme, server, query and fragment."""
    found = _URL.match(url)
    assert found is not None, "it fits anything"
    scheme, server, query, fragment = found.groups("")
    return scheme.lower(), server, query, fragment


def _key_errors(at: str, key: str) -> Iterator[FieldError]:
    if not key:
        yield FieldError.required(at)
        return
    if key != key.lower():
        yield FieldError.invalid(at, key, "key must be lowercase")
    domain, slash, path = key.partition("/")
    if not slash or not domain:
        yield FieldError.invalid(at, key, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    for problem in formats.dns_subdomain(domain):
        yield FieldError.invalid(at, domain, problem)
    if not path:
        yield FieldError.invalid(at, key, 'must be a domain-prefixed path (such as "acme.io/foo")')
    if _RESERVED.search(domain):
        yield FieldError.invalid(at, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use")
