"""What a request on certain kinds needs beside the permission to write: nobody gives what they do not have.

A *guard* is called with the stored object (None: there is none) and with the one that is about to replace it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from controlplane.access.values import MASTERS, UserInfo, Wanted
from controlplane.server import pki
from controlplane.server.authz import Authorizer
from controlplane.server.paths import Place
from mizzen.api import kinds
from mizzen.api.errors import FieldError, Forbidden, Invalid
from mizzen.api.kinds import Kind
from mizzen.api.types import certificates_v1 as certificates

Guard = Callable[[Any, Any], None]

_GRANTING: tuple[Kind[Any], ...] = (
    kinds.ROLE, kinds.ROLE_BINDING, kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING,
)  # fmt: skip
_READING = ("get", "list", "watch")
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
_SIGNER_VERBS = {"approval": "approve", "status": "sign"}


def guard_of(access: Authorizer, user: UserInfo, place: Place, verb: str) -> Guard | None:
    """The guard of a write; None where the permission to write is all that it takes."""
    if verb in _READING:
        return None
    guard = _guard_of_kind(access, user, place)
    if verb not in ("patch", "update") or place.subresource:
        return guard

    def changing(old: Any, new: Any) -> None:
        """What is applied is made where it is missing, and so is what is replaced, of some kinds."""
        if old is None:
            access.check_place(user, "create", place)
        if guard is not None:
            guard(old, new)

    return changing


def _guard_of_kind(access: Authorizer, user: UserInfo, place: Place) -> Guard | None:
    if place.kind in _GRANTING:
        return partial(access.check_grant, user)
    if place.kind is kinds.CERTIFICATE_SIGNING_REQUEST and place.subresource in _SIGNER_VERBS:
        verb = _SIGNER_VERBS[place.subresource]
        return lambda old, new: _check_signer(access, user, verb, new)
    return None


def _check_signer(
    access: Authorizer, user: UserInfo, verb: str, request: certificates.CertificateSigningRequest
) -> None:
    """Who approves or signs needs that for the signer, or for all of its domain."""
    name = request.spec.signer_name
    whole = Wanted(verb, kinds.CERTIFICATE_SIGNING_REQUEST.group, "signers", name=f"{name.partition('/')[0]}/*")
    if not access.decide(user, whole).allowed:
        access.check(user, Wanted(verb, kinds.CERTIFICATE_SIGNING_REQUEST.group, "signers", name=name))


def signed_by_sender(user: UserInfo, obj: Any) -> Any:
    """A new object with what only the server may say about its sender. Raises Forbidden for what nobody may ask for."""
    if not isinstance(obj, certificates.CertificateSigningRequest):
        return obj
    _check_subject(obj)
    who = {"username": user.name, "uid": user.uid, "groups": user.groups, "extra": dict(user.extra)}
    return replace(obj, spec=replace(obj.spec, **who))


def _check_subject(request: certificates.CertificateSigningRequest) -> None:
    """Nobody becomes an administrator by a request: who approves it may not see that it asks for that."""
    if request.spec.signer_name != _CLIENT_SIGNER:
        return
    kind, name = kinds.CERTIFICATE_SIGNING_REQUEST, request.metadata.name
    try:
        groups = pki.requested_groups(request.spec.request)
    except pki.BadRequest as error:
        raise Invalid(kind, name, [FieldError.invalid("spec.request", "", str(error))]) from error
    if MASTERS in groups:
        raise Forbidden(kind, name, f"use of {_CLIENT_SIGNER} signer with {MASTERS} group is not allowed")
