"""Service accounts and their tokens: what a token says, and whether what it was made for is still there.

A token is good only as long as its account, and the pod, secret or node that it is bound to, are the very objects it
was made for: whoever deletes one of them revokes the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.access.values import ACCOUNTS, AUTHENTICATED, UserInfo, account_user
from mizzen.api import kinds, times
from mizzen.api.errors import BadRequest, Conflict, NotFound
from mizzen.api.kinds import Kind
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant
from mizzen.engine.view import View

CLAIM = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io/"
_LEAVE_MS = 60_000
"""A token outlives the time at which its object was to be gone by this much, for what is said in its last moments."""
_BOUND: Mapping[str, Kind[Any]] = {"pod": kinds.POD, "secret": kinds.SECRET, "node": kinds.NODE}

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """An object by name and identity."""

    name: str
    uid: str


def subject_claims(account: core.ServiceAccount, bound: Mapping[str, Named]) -> dict[str, Any]:
    """The claims that say whose token it is; `bound` by `pod`, `secret`, `node`."""
    metadata = account.metadata
    private: dict[str, Any] = {
        "namespace": metadata.namespace,
        "serviceaccount": {"name": metadata.name, "uid": metadata.uid},
    }
    private |= {word: {"name": found.name, "uid": found.uid} for word, found in bound.items()}
    return {"sub": account_user(metadata.namespace, metadata.name), CLAIM: private}


def bound_to(
    account: core.ServiceAccount, wanted: authentication.BoundObjectReference | None, view: View
) -> dict[str, Named]:
    """What a new token is to be bound to. Raises NotFound, Conflict or BadRequest."""
    if wanted is None:
        return {}
    word = wanted.kind.lower()
    if wanted.kind not in ("Pod", "Secret", "Node") or wanted.api_version not in ("", "v1"):
        raise BadRequest(
            f"cannot bind token for serviceaccount to an object of type {wanted.api_version}/{wanted.kind}"
        )
    kind = _BOUND[word]
    found = view.get(kind, account.metadata.namespace if kind.namespaced else "", wanted.name)
    if found is None:
        raise NotFound(kind, wanted.name)
    if wanted.uid and wanted.uid != found.metadata.uid:
        why = (
            f"the UID in the bound object reference ({wanted.uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise Conflict(kind, wanted.name, why)
    bound = {word: Named(wanted.name, found.metadata.uid)}
    if isinstance(found, core.Pod):
        if found.spec.service_account_name != account.metadata.name:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{account.metadata.name}" to pod running with different '
                "serviceaccount name."
            )
        node = view.get(kinds.NODE, "", found.spec.node_name) if found.spec.node_name else None
        if node is not None:
            bound["node"] = Named(node.metadata.name, node.metadata.uid)
    return bound


def user_of(claims: Claims, view: View, now: Instant) -> UserInfo | str:
    """Who a token with these claims stands for, or why for nobody (any more)."""
    private = claims.get(CLAIM)
    if not isinstance(private, dict):
        return "the token is not a service account's"
    namespace, own = str(private.get("namespace", "")), _named(private.get("serviceaccount"))
    account = view.get(kinds.SERVICE_ACCOUNT, namespace, own.name)
    if account is None or account.metadata.uid != own.uid or _has_gone(account, now):
        return f"the service account {namespace}/{own.name} that the token was made for is gone"
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[f"{_EXTRA}credential-id"] = (f"JTI={claims['jti']}",)
    for word, kind in _BOUND.items():
        if word not in private:
            continue
        bound = _named(private[word])
        found = view.get(kind, namespace if kind.namespaced else "", bound.name)
        # A pod's node comes with it for information; the pod itself decides.
        if (word != "node" or "pod" not in private) and (
            found is None or found.metadata.uid != bound.uid or _has_gone(found, now)
        ):
            return f"the {word} {bound.name} that the token is bound to is gone"
        if word != "secret":
            extra |= {f"{_EXTRA}{word}-name": (bound.name,), f"{_EXTRA}{word}-uid": (bound.uid,)}
    groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)
    return UserInfo(account_user(namespace, own.name), groups, own.uid, extra)


def _named(value: Any) -> Named:
    found = value if isinstance(value, dict) else {}
    return Named(str(found.get("name", "")), str(found.get("uid", "")))


def _has_gone(obj: Any, now: Instant) -> bool:
    deadline = obj.metadata.deletion_timestamp
    return bool(deadline) and times.parse(deadline) + _LEAVE_MS < now
