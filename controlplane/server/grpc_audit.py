"""A gRPC call on its audit trail: the facts of the call, but for its objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from controlplane.access.audit_policy import Attributes
from controlplane.access.values import UserInfo, Verdict
from controlplane.server.audit import TRAIL, Auditor, Came, Trail
from controlplane.server.paths import Place
from mizzen.api.errors import ApiError

_URI = "/mizzen.v1.Cluster"
_REFUSED = 401


class AuditedCall:
    """What is written of a call."""

    def __init__(self, auditor: Auditor, context: Any, headers: Sequence[tuple[str, str]]) -> None:
        """By `auditor`, for a call with these headers."""
        self._auditor = auditor
        self._context = context
        self._agent = next((value for name, value in headers if name == "user-agent"), "")
        self._since = datetime.now(UTC)
        self._place: Place | None = None
        self._verb = ""
        self._trail: Trail | None = None

    def about(self, place: Place, verb: str) -> None:
        """Say what the call is about."""
        self._place, self._verb = place, verb

    def known(self, user: UserInfo) -> None:
        """Say who calls."""
        self._trail = self._begun(user)
        if self._trail is not None:
            TRAIL.set(self._trail)
            self._trail.received()

    def masked(self, user: UserInfo) -> None:
        """Say as whom they call."""
        if self._trail is not None:
            self._trail.impersonated = user

    def decided(self, verdict: Verdict) -> None:
        """Say whether they may."""
        if self._trail is not None:
            self._trail.decided(verdict.allowed, verdict.reason)

    def over(self, code: int, error: ApiError | None) -> None:
        """Say how the call ended."""
        status: dict[str, Any] = {"metadata": {}, "code": code}
        if error is not None:
            status |= {"status": "Failure", "message": error.message, "reason": error.reason}
        if self._trail is not None:
            self._trail.complete(status)
        elif code == _REFUSED and (trail := self._begun(None)) is not None:
            trail.refused(status)

    def _begun(self, user: UserInfo | None) -> Trail | None:
        place = self._place
        if place is None:
            return None
        kind = place.kind
        about = Attributes(
            user, self._verb, "", kind.group, kind.plural, place.subresource, place.namespace, place.name
        )
        came = Came(_URI, [_address(self._context.peer())], self._agent, self._verb, kind.version)
        return self._auditor.begin(came, about, self._since)


def _address(peer: str) -> str:
    """The address in `ipv4:192.0.2.1:1234` or `ipv6:%5B::1%5D:1234`."""
    _, _, where = unquote(peer).partition(":")
    return where.rpartition(":")[0].strip("[]")
