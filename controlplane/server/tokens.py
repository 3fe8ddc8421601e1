"""Service accounts' tokens: signed here, read here, and read elsewhere by the keys that are published.

A token is a JWT signed with ES256 by the cluster's account key, which lies beside the authority and, like it, is the
same for all control planes. What is in a token stands in `controlplane.access.accounts`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from controlplane.access import accounts
from controlplane.access.values import UserInfo
from controlplane.store.registry import Registry
from mizzen.api import csivolumes, defaults, errors, kinds, times, validate
from mizzen.api.references import TokenWish, tokens_of
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import claims_of
from mizzen.engine.values import Clock, Ids

_ALGORITHM = "ES256"
_KNOWN_MAX = 4096
"""Tokens whose signature was checked and is not checked again."""
LEEWAY_S = 5
"""Clocks of control planes may differ by this much."""
LASTING_S = 100 * 365 * 24 * 3600
"""Life of a token in a Secret: it ends with the Secret."""
SECONDS_MAX = 365 * 24 * 3600
"""Longest life of a token; who asks for more gets this."""


@dataclass(frozen=True, slots=True)
class PodToken:
    """What a node asks for: a token of a pod's service account."""

    namespace: str
    pod: str
    uid: str
    wish: TokenWish


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token of ours, its time aside."""

    claims: dict[str, Any]
    audiences: tuple[str, ...]


class Tokens:
    """Makes and reads tokens."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, issuer: str, registry: Registry, clock: Clock, ids: Ids
    ) -> None:
        """Sign with `key` as `issuer`, which is also the API server's own audience."""
        self._key = key
        self._public = key.public_key()
        self._issuer = issuer
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._known: dict[str, _Checked] = {}
        self.key_id = _key_id(self._public)
        """Names the key: a digest of its public half."""

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom tokens are for when nobody else is named."""
        return (self._issuer,)

    def issue(self, namespace: str, name: str, request: authentication.TokenRequest) -> authentication.TokenRequest:
        """A token of an account, as it is asked for.

        Raises Invalid for an impossible time, NotFound, Conflict or BadRequest for an object that it can't be bound to.
        """
        request = defaults.apply(request)
        problems = validate.validate_create(request)
        kind = errors.Named("authentication.k8s.io", "tokenrequests", "TokenRequest")
        if problems:
            raise errors.Invalid(kind, name, problems)
        view = self._registry.view
        account = view.get(kinds.SERVICE_ACCOUNT, namespace, name)
        if account is None:
            raise errors.NotFound(kinds.SERVICE_ACCOUNT, name)
        bound = accounts.bound_to(account, request.spec.bound_object_ref, view)
        spec = replace(request.spec, audiences=request.spec.audiences or self.audiences)
        expires_s = self._clock.now() // 1000 + min(spec.expiration_seconds or 0, SECONDS_MAX)
        token = self._signed(spec.audiences, expires_s, accounts.subject_claims(account, bound))
        status = authentication.TokenRequestStatus(token=token, expiration_timestamp=times.render(expires_s * 1000))
        metadata = replace(request.metadata, name=name, namespace=namespace)
        return replace(request, metadata=metadata, spec=spec, status=status)

    def for_pod(self, node: str, wanted: PodToken) -> tuple[str, int]:
        """A token for a volume of a pod on this node, and for how many milliseconds it is good.

        Raises Forbidden for anything but what the pod's volumes ask for.
        """
        pod = self._registry.view.get(kinds.POD, wanted.namespace, wanted.pod)
        if pod is None or pod.metadata.uid != wanted.uid or pod.spec.node_name != node:
            raise errors.Forbidden(kinds.POD, wanted.pod, f"it is not a pod of node {node}")
        if wanted.wish not in (*tokens_of(pod), *self._for_drivers(pod)):
            raise errors.Forbidden(kinds.POD, wanted.pod, "no volume of the pod asks for such a token")
        bound = authentication.BoundObjectReference(kind="Pod", api_version="v1", name=wanted.pod, uid=wanted.uid)
        audience, seconds = wanted.wish
        spec = authentication.TokenRequestSpec(
            audiences=(audience,) if audience else (), expiration_seconds=seconds, bound_object_ref=bound
        )
        request = authentication.TokenRequest(spec=spec)
        issued = self.issue(wanted.namespace, pod.spec.service_account_name, request).status
        assert issued.expiration_timestamp is not None
        return issued.token, times.parse(issued.expiration_timestamp) - self._clock.now()

    def _for_drivers(self, pod: core.Pod) -> tuple[TokenWish, ...]:
        """The tokens that the storage drivers of a pod's volumes are to be given."""
        view, namespace = self._registry.view, pod.metadata.namespace
        claims = [view.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, name) for name, _ in claims_of(pod)]
        named = [claim.spec.volume_name for claim in claims if claim is not None]
        behind = [found for name in named if (found := view.get(kinds.PERSISTENT_VOLUME, "", name)) is not None]
        drivers = [view.get(kinds.CSI_DRIVER, "", name) for name in csivolumes.drivers_of(pod, behind)]
        return csivolumes.tokens_for(driver for driver in drivers if driver is not None)

    def for_secret(self, secret: core.Secret, account: str) -> tuple[str, str]:
        """A lasting token that ends with a secret and its account, and the account's uid. Raises NotFound."""
        metadata = secret.metadata
        found = self._registry.view.get(kinds.SERVICE_ACCOUNT, metadata.namespace, account)
        if found is None:
            raise errors.NotFound(kinds.SERVICE_ACCOUNT, account)
        claims = accounts.subject_claims(found, {"secret": accounts.Named(metadata.name, metadata.uid)})
        return self._signed(self.audiences, self._clock.now() // 1000 + LASTING_S, claims), found.metadata.uid

    def _signed(self, audiences: Sequence[str], expires_s: int, whose: dict[str, Any]) -> str:
        now_s = self._clock.now() // 1000
        times_ = {"iat": now_s, "nbf": now_s, "exp": expires_s}
        claims = {"iss": self._issuer, "aud": list(audiences), **times_, "jti": self._ids.uid("token"), **whose}
        return jwt.encode(claims, self._key, _ALGORITHM, {"kid": self.key_id})

    def user_of(self, token: str) -> UserInfo | None:
        """Whom a token that is for the API server stands for; None for one that is not good (any more)."""
        checked = self._checked(token)
        if checked is None or not set(checked.audiences) & set(self.audiences):
            return None
        user = self._user(checked)
        return user if isinstance(user, UserInfo) else None

    def reviewed(self, token: str, audiences: Sequence[str]) -> authentication.TokenReviewStatus:
        """What is to be said of a token to who accepts it as one of these audiences (none: as the API server)."""
        checked = self._checked(token)
        if checked is None:
            return authentication.TokenReviewStatus(error="invalid bearer token")
        asked = tuple(audiences) or self.audiences
        meant = tuple(audience for audience in asked if audience in checked.audiences)
        if not meant:
            why = f"token audiences {list(checked.audiences)} is invalid for the target audiences {list(asked)}"
            return authentication.TokenReviewStatus(error=f"[invalid bearer token, {why}]")
        user = self._user(checked)
        if isinstance(user, str):
            return authentication.TokenReviewStatus(error=f"[invalid bearer token, {user}]")
        shown = authentication.UserInfo(username=user.name, uid=user.uid, groups=user.groups, extra=dict(user.extra))
        return authentication.TokenReviewStatus(authenticated=True, user=shown, audiences=meant)

    def _user(self, checked: _Checked) -> UserInfo | str:
        now = self._clock.now()
        if now // 1000 > int(checked.claims["exp"]) + LEEWAY_S:
            return "the token has expired"
        if now // 1000 < int(checked.claims["nbf"]) - LEEWAY_S:
            return "the token is not valid yet"
        return accounts.user_of(checked.claims, self._registry.view, now)

    def _checked(self, token: str) -> _Checked | None:
        """The token, if this cluster signed it; its time is looked at whenever it is used."""
        known = self._known.get(token)
        if known is not None:
            return known
        options: Any = {
            "require": ["exp", "nbf", "iss", "aud", "sub"], "verify_exp": False, "verify_nbf": False,
            "verify_iat": False, "verify_aud": False,
        }  # fmt: skip
        try:
            claims = jwt.decode(token, self._public, algorithms=[_ALGORITHM], issuer=self._issuer, options=options)
        except jwt.InvalidTokenError:
            return None
        given = claims["aud"]
        audiences = (given,) if isinstance(given, str) else tuple(str(one) for one in given)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        checked = self._known[token] = _Checked(claims, audiences)
        return checked

    # -- for those who check tokens themselves ---------------------------------------------------------------------

    def documents(self, address: str) -> dict[str, tuple[str, bytes]]:
        """What is published about the keys: content type and body by path; `address` is where clients reach us."""
        discovery = {
            "issuer": self._issuer,
            "jwks_uri": f"https://{address}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
        }
        numbers = self._public.public_numbers()
        key = {
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": _ALGORITHM,
            "x": _base64(numbers.x.to_bytes(32, "big")), "y": _base64(numbers.y.to_bytes(32, "big")),
        }  # fmt: skip
        return {
            "/.well-known/openid-configuration": ("application/json", msgspec.json.encode(discovery)),
            "/openid/v1/jwks": ("application/jwk-set+json", msgspec.json.encode({"keys": [key]})),
        }


def _key_id(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _base64(hashlib.sha256(der).digest())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
