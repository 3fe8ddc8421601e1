"""Which headers of a request and of its answer are passed on. Without I/O.

What concerns one connection alone (RFC 9110, section 7.6.1) ends with it, and what proves or claims who somebody is
ends here: nobody behind us may act as our callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from multidict import CIMultiDict, MultiMapping

from controlplane.access.values import UserInfo

_OF_CONNECTION = (
    "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade",
)  # fmt: skip
_IDENTITY = ("authorization", "x-remote-user", "x-remote-uid", "x-remote-group")
_IDENTITY_PREFIXES = ("impersonate-", "x-remote-extra-")
_SHARING = (
    "Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
)  # fmt: skip
_DECODED = ("Content-Encoding", "Content-Length")
_SAFE_IN_KEYS = "!#$&'*+^`|"
"""What a header's name may hold beside what `quote` leaves as it is; `%` itself is the escape."""


def request_headers(headers: MultiMapping[str], peer: str) -> CIMultiDict[str]:
    """What is sent on of a request that came from an address; an upgrade stays one."""
    passed: CIMultiDict[str] = CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (lower := name.lower()) not in _IDENTITY and not lower.startswith(_IDENTITY_PREFIXES)
    )
    upgrade = upgrade_of(headers)
    trailers = "trailers" in _words(headers, "TE")
    _drop_connection(passed)
    passed.popall("Expect", None)
    if passed.get("Content-Encoding", "identity") != "identity":
        # The body has been decoded on its way in.
        for name in _DECODED:
            passed.popall(name, None)
    if trailers:
        passed["TE"] = "trailers"
    if upgrade:
        passed["Connection"], passed["Upgrade"] = "Upgrade", upgrade
    if peer:
        passed["X-Forwarded-For"] = ", ".join((*passed.popall("X-Forwarded-For", ()), peer))
    return passed


def answer_headers(headers: MultiMapping[str], *, sharing: bool = True) -> CIMultiDict[str]:
    """What is passed back of an answer; without `sharing` no other site's pages are let in."""
    passed: CIMultiDict[str] = CIMultiDict(headers)
    _drop_connection(passed)
    for name in () if sharing else _SHARING:
        passed.popall(name, None)
    return passed


def switched_headers(headers: MultiMapping[str]) -> CIMultiDict[str]:
    """What is passed back of an answer that switches protocols."""
    passed = answer_headers(headers)
    passed["Connection"], passed["Upgrade"] = "Upgrade", headers.get("Upgrade", "")
    return passed


def upgrade_of(headers: MultiMapping[str]) -> str:
    """The protocol that a request wants to switch to; empty for none."""
    return headers.get("Upgrade", "") if "upgrade" in _words(headers, "Connection") else ""


def identity_headers(user: UserInfo) -> Iterable[tuple[str, str]]:
    """How an extension server is told who asks, by who proves to be the front proxy."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    yield from _extra_headers(user.extra)


def _extra_headers(extra: Mapping[str, tuple[str, ...]]) -> Iterable[tuple[str, str]]:
    for key, values in extra.items():
        name = f"X-Remote-Extra-{quote(key, safe=_SAFE_IN_KEYS)}"
        yield from ((name, value) for value in values)


def _words(headers: MultiMapping[str], name: str) -> list[str]:
    return [word.strip().lower() for line in headers.getall(name, ()) for word in line.split(",")]


def _drop_connection(headers: CIMultiDict[str]) -> None:
    for name in (*_words(headers, "Connection"), *_OF_CONNECTION):
        if name:
            headers.popall(name, None)
