"""Defaults of bindings and of requests for tokens."""

from __future__ import annotations

from mizzen.api.edit import each, edited, filled
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import rbac_v1 as rbac

_GROUP = "rbac.authorization.k8s.io"
_TOKEN_S = 3600


def role_binding(obj: rbac.RoleBinding) -> rbac.RoleBinding:
    """Roles, users and groups are of the one group that has them."""
    return edited(obj, role_ref=filled(obj.role_ref, api_group=_GROUP), subjects=each(obj.subjects, _subject))


def cluster_role_binding(obj: rbac.ClusterRoleBinding) -> rbac.ClusterRoleBinding:
    """Roles, users and groups are of the one group that has them."""
    return edited(obj, role_ref=filled(obj.role_ref, api_group=_GROUP), subjects=each(obj.subjects, _subject))


def _subject(subject: rbac.Subject) -> rbac.Subject:
    return filled(subject, api_group=_GROUP) if subject.kind in ("User", "Group") else subject


def token_request(obj: authentication.TokenRequest) -> authentication.TokenRequest:
    """An hour."""
    spec = obj.spec
    return edited(obj, spec=spec if spec.expiration_seconds is not None else edited(spec, expiration_seconds=_TOKEN_S))
