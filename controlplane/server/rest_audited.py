"""The REST server with an audit log: who asked what of whom is noted while the request takes its usual way.

This stands in the place of `RestApi` where there is a policy, so that without one requests cost nothing more.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from controlplane.access.audit_policy import REQUEST, REQUEST_RESPONSE, Attributes
from controlplane.access.values import UserInfo, Wanted
from controlplane.server import negotiate, paths, rest_yaml
from controlplane.server.audit import OBJECT_MAX_BYTES, TRAIL, Auditor, Body, Came, TooLarge, Trail
from controlplane.server.authz import Authorizer
from controlplane.server.impersonate import acting
from controlplane.server.metrics import CANCELLED
from controlplane.server.rest_api import Deps, RestApi
from controlplane.server.rest_pieces import Pieces
from mizzen.api import codec
from mizzen.api.errors import ApiError, Unauthorized
from mizzen.wire import convert

AUDIT_ID = "Audit-Id"
_STREAMS = ("exec", "attach", "portforward", "proxy")
_WITH_BODY = ("create", "update", "patch", "delete", "deletecollection")


class _NotingAuthorizer(Authorizer):
    """Decides as always, and notes it on the request's trail."""

    def check(self, user: UserInfo, wanted: Wanted) -> None:
        trail = TRAIL.get()
        if trail is not None:
            verdict = self.decide(user, wanted)
            trail.decided(verdict.allowed, verdict.reason)
        super().check(user, wanted)


class AuditedRestApi(RestApi):
    """The handler of all requests, which are written down as a policy says."""

    def __init__(self, deps: Deps, auditor: Auditor) -> None:
        """Answer from `deps`, and write by `auditor`."""
        super().__init__(deps)
        self._auditor = auditor
        self._access = _NotingAuthorizer(deps.verbs.registry.cache)
        self._masking = deps.verbs.access
        """Whether one may act as somebody else is not what is asked for."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and write what became of it."""
        token = TRAIL.set(None)
        try:
            answer = await super().handle(request)
            if (trail := TRAIL.get()) is not None:
                if not answer.prepared:
                    answer.headers[AUDIT_ID] = trail.audit_id
                trail.sent = await _sent(request, trail)
                trail.complete(*_outcome(answer, trail))
            return answer
        except asyncio.CancelledError:
            if (trail := TRAIL.get()) is not None:
                trail.complete({"metadata": {}, "code": CANCELLED})
            raise
        finally:
            TRAIL.reset(token)

    def _authenticated(self, request: web.Request) -> UserInfo:
        since = datetime.now(UTC)
        try:
            user = super()._authenticated(request)
        except Unauthorized as error:
            if (trail := self._trail(request, None, since)) is not None:
                trail.refused(
                    {
                        "metadata": {},
                        "status": "Failure",
                        "message": error.message,
                        "reason": error.reason,
                        "code": error.code,
                    }
                )
            raise
        if (trail := self._trail(request, user, since)) is not None:
            TRAIL.set(trail)
            trail.received()
        return user

    def _acting(self, request: web.Request, user: UserInfo) -> UserInfo:
        masked = acting(user, request.headers.items(), self._masking)
        trail = TRAIL.get()
        if trail is not None and masked is not user:
            trail.impersonated = masked
        return masked

    def _trail(self, request: web.Request, user: UserInfo | None, since: datetime) -> Trail | None:
        place = paths.parse(request.path, self._registry.catalog)
        if place is None:
            about = Attributes(user, request.method.lower(), path=request.path)
            version = ""
        else:
            watching = not place.subresource and request.query.get("watch", "") in (
                "1",
                "true",
                "True",
                "TRUE",
                "t",
                "T",
            )
            verb = paths.verb(request.method, place, watching) or request.method.lower()
            kind = place.kind
            about = Attributes(user, verb, "", kind.group, kind.plural, place.subresource, place.namespace, place.name)
            version = kind.version
        came = Came(
            request.raw_path,
            _sources(request),
            request.headers.get("User-Agent", ""),
            about.verb,
            version,
            request.headers.get(AUDIT_ID, ""),
        )
        return self._auditor.begin(came, about, since)


def _sources(request: web.Request) -> list[str]:
    """Where a request says that it comes from, and where it really does."""
    told = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",")]
    return [*filter(None, told), request.remote or ""]


@dataclass(frozen=True, slots=True)
class _Encoded(Body):
    """What was sent or answered, in the form that a header names."""

    data: bytes
    media_type: str
    packed: bool = False

    def value(self) -> Any:
        data = gzip.decompress(self.data) if self.packed else self.data
        if len(data) > OBJECT_MAX_BYTES:
            raise TooLarge
        if not data:
            return None
        try:
            if self.media_type == negotiate.PROTOBUF:
                return codec.to_dict(convert.decode_envelope(data))
            if "yaml" in self.media_type:
                return rest_yaml.read(data)[0]
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, convert.BadMessage, ApiError, RecursionError) as error:
            raise ValueError(str(error)) from error


async def _sent(request: web.Request, trail: Trail) -> Body | None:
    """What was sent as far as it was read: what no handler wanted to read is not waited for."""
    about = trail.about
    if (
        about.verb not in _WITH_BODY
        or about.subresource in _STREAMS
        or not request.body_exists
        or not request.content.at_eof()
    ):
        return None
    wanted = trail.decision.covers(REQUEST) or about.verb in ("create", "update")
    data = await request.read() if wanted else b""
    return _Encoded(data, negotiate.media_type(request.headers.get("Content-Type", ""))) if data else None


def _outcome(answer: web.StreamResponse, trail: Trail) -> tuple[Mapping[str, Any], Body | None]:
    """The status of an answer, and its object."""
    status: dict[str, Any] = {"metadata": {}, "code": answer.status}
    if not isinstance(answer, web.Response):
        return status, None
    media_type = negotiate.media_type(answer.headers.get("Content-Type", ""))
    data = answer.body.content if isinstance(answer.body, Pieces) else answer.body
    if not isinstance(data, bytes):
        return status, None
    body = _Encoded(data, media_type, answer.headers.get("Content-Encoding") == "gzip")
    if answer.status >= 400:
        try:
            told = body.value()
        except ValueError:
            told = None
        if isinstance(told, dict) and told.get("kind") == "Status":
            status = {key: one for key, one in told.items() if key not in ("kind", "apiVersion")} | {"metadata": {}}
    return status, body if trail.about.resource and trail.decision.covers(REQUEST_RESPONSE) else None
