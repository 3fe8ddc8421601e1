"""Acting as somebody else, for those who may (`kubectl --as`): who then asks, by the headers of a request.

    Impersonate-User: jane    Impersonate-Group: devs    Impersonate-Uid: 1234    Impersonate-Extra-Scopes: view

The same names in small letters are read from the metadata of gRPC calls. Every one of them needs a permission of its
own: the verb `impersonate` on `users`, `groups`, `serviceaccounts`, `uids` and `userextras/KEY`. To ignore a header
would be to act with more rights than the caller wanted, so an incomplete set of them is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from controlplane.access.values import (
    ACCOUNT_PREFIX,
    ACCOUNTS,
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    UserInfo,
    Wanted,
)
from controlplane.server.authz import Authorizer
from mizzen.api.errors import BadRequest

_PREFIX = "impersonate-"
_USER, _GROUP, _UID, _EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class _Mask:
    """Whom somebody wants to be."""

    name: str
    groups: tuple[str, ...]
    uid: str
    extra: Mapping[str, tuple[str, ...]]


def acting(user: UserInfo, headers: Iterable[tuple[str, str]], access: Authorizer) -> UserInfo:
    """Who asks, when this user sends these headers. Raises Forbidden for who may not, BadRequest without a user."""
    wanted = [(name.lower(), value) for name, value in headers if name[:1] in "iI" and name[:12].lower() == _PREFIX]
    if not wanted:
        return user
    mask = _mask(wanted)
    for permission in _needed(mask):
        access.check(user, permission)
    return UserInfo(mask.name, _groups(mask), mask.uid, mask.extra)


def _mask(headers: list[tuple[str, str]]) -> _Mask:
    extra: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        if name.startswith(_EXTRA):
            key = unquote(name.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    names = [value for name, value in headers if name == _USER]
    if not names or not names[0]:
        raise BadRequest(f"{headers[0][0]} is set, but Impersonate-User is not: say who you want to act as")
    groups = tuple(value for name, value in headers if name == _GROUP)
    uid = next((value for name, value in headers if name == _UID), "")
    return _Mask(names[0], groups, uid, extra)


def _needed(mask: _Mask) -> list[Wanted]:
    needed = []
    account = _account(mask.name)
    if account is not None:
        needed.append(Wanted("impersonate", "", "serviceaccounts", *account))
    else:
        needed.append(Wanted("impersonate", "", "users", name=mask.name))
    needed += [Wanted("impersonate", "", "groups", name=group) for group in mask.groups]
    if mask.uid:
        needed.append(Wanted("impersonate", _AUTHENTICATION, "uids", name=mask.uid))
    needed += [
        Wanted("impersonate", _AUTHENTICATION, f"userextras/{key}", name=value)
        for key, values in mask.extra.items()
        for value in values
    ]
    return needed


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name of a service account; None for other users."""
    namespace, colon, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
    return (namespace, account) if name.startswith(ACCOUNT_PREFIX) and colon else None


def _groups(mask: _Mask) -> tuple[str, ...]:
    """The groups that are given; a service account's own ones where none are; and whether anybody vouches."""
    groups = mask.groups
    account = _account(mask.name)
    if account is not None and not groups:
        groups = (ACCOUNTS, f"{ACCOUNTS}:{account[0]}")
    vouched = UNAUTHENTICATED if mask.name == ANONYMOUS else AUTHENTICATED
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return (*groups, vouched)
