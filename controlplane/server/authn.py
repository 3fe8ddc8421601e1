"""Who is asking: a client certificate, a bearer token, or nobody in particular.

The TLS layer has already checked that a certificate is signed by the cluster's authority; here it must be in its time,
and its subject becomes a user (common name) with groups (organisations). A token that nobody knows is refused, also
when a certificate comes with it: a wrong claim is not the same as none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from cryptography import x509
from cryptography.x509.oid import NameOID

from controlplane.access.values import ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, UserInfo
from mizzen.api import times
from mizzen.api.errors import Unauthorized
from mizzen.engine.values import Instant

__all__ = ["ANONYMOUS", "AUTHENTICATED", "MASTERS", "UNAUTHENTICATED", "UserInfo"]

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
"""Extra: which of the user's credentials was shown, for who reads logs later."""


VerifyToken: TypeAlias = Callable[[str], UserInfo | None]
"""Says whom a bearer token stands for; None for a token that it does not know or that has expired."""

NOBODY = UserInfo(ANONYMOUS, (UNAUTHENTICATED,))


def no_tokens(token: str) -> UserInfo | None:
    """The verifier of a server that knows no tokens."""
    del token
    return None


def everywhere(path: str) -> bool:
    """Where a server that was told nothing else hears who comes without credentials."""
    del path
    return True


def either(first: VerifyToken, second: VerifyToken) -> VerifyToken:
    """A verifier of the tokens that one of two knows."""
    return lambda token: first(token) or second(token)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A certificate as far as it matters here."""

    user: UserInfo
    from_ms: Instant
    until_ms: Instant


def from_certificate(der: bytes) -> UserInfo:
    """The user that a certificate, already verified by TLS, stands for. Raises Unauthorized where it names nobody."""
    return _read(der).user


def in_time(der: bytes, now: Instant) -> UserInfo:
    """The same for a certificate whose time nobody has looked at. Raises Unauthorized also when it is not its time."""
    shown = _read(der)
    if shown.from_ms <= now <= shown.until_ms:
        return shown.user
    whose = f'the client certificate of "{shown.user.name}"'
    if now > shown.until_ms:
        raise Unauthorized(
            f"{whose} expired at {times.render(shown.until_ms)}; get a new one. The administrator's kubeconfig is "
            "written anew into the server's data folder whenever the server starts"
        )
    raise Unauthorized(f"{whose} is not valid before {times.render(shown.from_ms)}; check the clocks")


@lru_cache(maxsize=4096)
def _read(der: bytes) -> _Shown:
    certificate = x509.load_der_x509_certificate(der)
    subject = certificate.subject
    names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names or not names[0]:
        raise Unauthorized("the client certificate has no common name, which is the user's name")
    groups = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    extra = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
    return _Shown(
        UserInfo(names[0], (*groups, AUTHENTICATED), extra=extra),
        round(certificate.not_valid_before_utc.timestamp() * 1000),
        round(certificate.not_valid_after_utc.timestamp() * 1000),
    )


def vouched(user: UserInfo) -> UserInfo:
    """A user for whom somebody vouches, which their groups say."""
    return user if AUTHENTICATED in user.groups else replace(user, groups=(*user.groups, AUTHENTICATED))


def authenticate(certificate: bytes | None, authorization: str, verify_token: VerifyToken, now: Instant) -> UserInfo:
    """The user behind a request, by its peer certificate (DER) and its Authorization header. Raises Unauthorized."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        user = verify_token(token.strip())
        if user is None:
            raise Unauthorized()
        return vouched(user)
    return in_time(certificate, now) if certificate else NOBODY
