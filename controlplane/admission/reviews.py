"""AdmissionReviews: what a webhook is asked about a request, what it may answer, and what comes of its answer.

The texts of refusals and failures are Kubernetes', because people search for them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import structs

from controlplane.access.values import UserInfo
from controlplane.admission.matching import Asked
from controlplane.admission.request import Request
from mizzen.api import codec
from mizzen.api.errors import ApiError, BadRequest, InternalError, quoted
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta

_GROUP, _KIND = "admission.k8s.io", "AdmissionReview"
_OLD = "v1beta1"
VERSIONS = ("v1", _OLD)
"""Versions of the questions that can be asked."""
_JSON_PATCH = "JSONPatch"
_VERBS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
_CODE_MIN = 400
_BELOW = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
"""The kinds of what is sent to paths below objects, where it is not the object itself."""


class BadAnswer(ValueError):
    """What a webhook answered is no answer."""


class CallFailed(Exception):
    """A webhook could not be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook says."""

    allowed: bool
    patch: tuple[Any, ...] = ()
    """The operations of a JSON patch."""
    warnings: tuple[str, ...] = ()
    status: meta.Status | None = None
    """Why not, where the webhook says it."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What the audit log is told."""


class _Response(msgspec.Struct, rename="camel"):
    uid: str = ""
    allowed: bool = False
    status: meta.Status | None = None
    patch: str | None = None
    patch_type: str | None = None
    warnings: list[str] | None = None
    audit_annotations: dict[str, str] | None = None


class _Review(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    response: _Response | None = None


_DECODER = msgspec.json.Decoder(_Review)


def facts(request: Request, about: Asked, kind: Kind[Any]) -> dict[str, Any]:
    """The request as a webhook is told of it, but for the objects; `kind` is the version that it is asked in."""
    told: dict[str, Any] = {
        "kind": _kind(kind, about.subresource),
        "resource": _resource(kind),
        "requestKind": _kind(about.kind, about.subresource),
        "requestResource": _resource(about.kind),
        "operation": about.operation,
        "userInfo": user_info(request.user or UserInfo("system:apiserver", ("system:masters",))),
        "dryRun": request.dry_run,
    }
    if about.subresource:
        told["subResource"] = told["requestSubResource"] = about.subresource
    if about.name:
        told["name"] = about.name
    if about.namespace:
        told["namespace"] = about.namespace
    return told


def options_of(request: Request, about: Asked) -> Mapping[str, Any] | None:
    """The options of the request's verb."""
    if request.options or about.operation not in _VERBS:
        return request.options or None
    return {"kind": _VERBS[about.operation], "apiVersion": "meta.k8s.io/v1"}


def user_info(user: UserInfo) -> dict[str, Any]:
    """Somebody who asks, as `authentication.k8s.io/v1` has it."""
    told: dict[str, Any] = {"username": user.name}
    if user.uid:
        told["uid"] = user.uid
    if user.groups:
        told["groups"] = list(user.groups)
    if user.extra:
        told["extra"] = {key: list(values) for key, values in user.extra.items()}
    return told


def version_for(accepted: Sequence[str]) -> str:
    """The version to ask in: the first that a webhook accepts of those that there are. Raises CallFailed."""
    found = next((version for version in accepted if version in VERSIONS), None)
    if found is None:
        raise CallFailed(f"webhook does not accept known AdmissionReview versions ({', '.join(VERSIONS)})")
    return found


def encoded(uid: str, version: str, told: Mapping[str, Any]) -> bytes:
    """The body of a question."""
    return msgspec.json.encode({"kind": _KIND, "apiVersion": f"{_GROUP}/{version}", "request": {"uid": uid, **told}})


def read(body: bytes, uid: str, version: str, *, mutating: bool) -> Answer:
    """What a webhook answered to the question with this uid. Raises BadAnswer."""
    try:
        review = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"couldn't decode the response: {error}") from error
    given = review.response
    if given is None:
        raise BadAnswer("webhook response was absent")
    if version == _OLD:
        # It asks neither for the uid nor for the type of a patch, and takes none from those who validate.
        patch = given.patch if mutating else None
        given = structs.replace(given, patch=patch, patch_type=None if patch is None else _JSON_PATCH)
        return _answer(given, mutating=mutating)
    wanted = f"{_GROUP}/{version}"
    if (review.api_version, review.kind) != (wanted, _KIND):
        raise BadAnswer(f"expected webhook response of {wanted}, Kind={_KIND}, got {review.api_version}, "
                        f"Kind={review.kind}")  # fmt: skip
    if given.uid != uid:
        raise BadAnswer(f"expected response.uid={quoted(uid)}, got {quoted(given.uid)}")
    return _answer(given, mutating=mutating)


def _answer(given: _Response, *, mutating: bool) -> Answer:
    operations, annotations = _patch(given, mutating=mutating), given.audit_annotations or {}
    return Answer(given.allowed, operations, tuple(given.warnings or ()), given.status, annotations)


def _patch(given: _Response, *, mutating: bool) -> tuple[Any, ...]:
    if given.patch is None and given.patch_type is None:
        return ()
    if not mutating:
        raise BadAnswer("validating webhook may not return response.patch or response.patchType")
    if given.patch is None:
        raise BadAnswer("webhook returned response.patchType but not response.patch")
    if given.patch_type is None:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if given.patch_type != _JSON_PATCH:
        raise BadAnswer(f"invalid webhook response.patchType of {quoted(given.patch_type)}")
    try:
        operations = msgspec.json.decode(base64.b64decode(given.patch, validate=True), type=list[Any])
    except (msgspec.DecodeError, binascii.Error) as error:
        raise BadAnswer(f"response.patch is no JSON patch: {error}") from error
    return tuple(operations)


def denied(webhook: str, status: meta.Status | None) -> ApiError:
    """The error of a request that a webhook does not allow."""
    given = status or meta.Status()
    text = f"admission webhook {quoted(webhook)} denied the request"
    why = given.message or given.reason
    message = f"{text}: {why}" if why else f"{text} without explanation"
    return ApiError(message, given.details, code=max(given.code, _CODE_MIN), reason=given.reason)


def failed(webhook: str, why: str) -> InternalError:
    """The error of a request about which a webhook could not be asked."""
    return InternalError(f"failed calling webhook {quoted(webhook)}: {why}")


def no_dry_run(webhook: str) -> BadRequest:
    """The error of a dry run about which a webhook would do more than answer."""
    return BadRequest(f"admission webhook {quoted(webhook)} does not support dry run")


def no_object(webhook: str) -> InternalError:
    """The error of a patch for what has no object."""
    why = "attempted to modify the object, which is not supported for this operation"
    return InternalError(f"admission webhook {quoted(webhook)} {why}")


def plain(obj: Any) -> Any:
    """An object as JSON; None where there is none."""
    return None if obj is None else codec.to_dict(obj)


def _kind(kind: Kind[Any], subresource: str) -> dict[str, str]:
    group, version, name = _BELOW.get(subresource, (kind.group, kind.version, kind.kind))
    return {"group": group, "version": version, "kind": name}


def _resource(kind: Kind[Any]) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}
