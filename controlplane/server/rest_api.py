"""The REST server: one handler of all requests, in which each takes the same way.

    path -> who is it -> may they -> which handler -> answer (or Status) -> counted

What it is not: verbs (`verbs`), or what an answer looks like (`rest_answers`). One handler takes all paths instead of a
router, because a path's meaning is data (`paths`) and routing tables would repeat the table of kinds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache

import structlog
from aiohttp import HttpVersion11, web
from msgspec.structs import replace
from multidict import MultiDict, MultiMapping

from controlplane.server import authn, negotiate, paths, subresources
from controlplane.server.aggregation.aggregator import Aggregator
from controlplane.server.aggregation.claims import Served, wanted_by
from controlplane.server.aggregation.refresh import Extended
from controlplane.server.authn import UserInfo, VerifyToken
from controlplane.server.guards import guard_of
from controlplane.server.impersonate import acting
from controlplane.server.lanes import Held, Lanes
from controlplane.server.metric_apis.api import MetricApis
from controlplane.server.metric_apis.values import MetricValues
from controlplane.server.metrics import CANCELLED, Measured, Metrics, measured
from controlplane.server.negotiate import PLAIN
from controlplane.server.outward.dial import Dialer
from controlplane.server.paths import Place
from controlplane.server.rest_answers import error_answer, warning_header
from controlplane.server.rest_call import Call, error_output, output_of, truth
from controlplane.server.rest_identity import IdentityHandlers
from controlplane.server.rest_objects import Handler, ObjectHandlers
from controlplane.server.rest_proxy import ProxyHandlers
from controlplane.server.rest_site import Page, Site, SiteInfo
from controlplane.server.rest_streams import StreamHandlers
from controlplane.server.rest_watch import Watches
from controlplane.server.rest_websocket import authorization_of
from controlplane.server.spans import Spans
from controlplane.server.streams import Streams
from controlplane.server.tokens import Tokens
from controlplane.server.verbs import Verbs, api_error
from controlplane.server.verbs_read import only_name
from controlplane.store.values import StoreError
from mizzen.api import errors
from mizzen.api.errors import ApiError

_LOG = structlog.get_logger(__name__)

REQUEST_S = 60.0
"""How long a short request may take, in seconds."""
_EXPECTATION_FAILED = 417
_LONG = ("exec", "attach", "portforward", "log", "proxy")
_ENTERED = ("exec", "attach", "portforward")
_NO_QUERY: MultiMapping[str] = MultiDict()


@dataclass(frozen=True, slots=True)
class Deps:
    """All that the REST server needs."""

    verbs: Verbs
    streams: Streams
    dialer: Dialer
    """How pods, nodes and services are reached."""
    site: SiteInfo
    metrics: Metrics
    """Where requests are counted; `/metrics` shows all of its registry."""
    aggregator: Aggregator
    """Who else serves groups of the API."""
    verify_token: VerifyToken = authn.no_tokens
    hears_nobody: Callable[[str], bool] = authn.everywhere
    """Says for which paths requests without credentials are heard."""
    tokens: Tokens | None = None
    """Where service accounts' tokens come from; None for a server that has none."""
    routes: Mapping[tuple[str, str], Page] = field(default_factory=dict)
    """Pages of others by method and path, served without authentication here: they do their own."""


class RestApi:
    """The handler of all requests."""

    def __init__(self, deps: Deps) -> None:
        """Answer from `deps`."""
        self._metrics = deps.metrics
        self._routes = deps.routes
        self._registry = deps.verbs.registry
        self._verify_token = deps.verify_token
        self._hears_nobody = deps.hears_nobody
        self._access = deps.verbs.access
        self._identity = IdentityHandlers(deps.verbs, deps.tokens, deps.verify_token)
        self._objects = ObjectHandlers(deps.verbs)
        self._streams = StreamHandlers(deps.verbs, deps.streams)
        self._proxies = ProxyHandlers(deps.verbs.registry, deps.dialer)
        self._aggregator = deps.aggregator
        values = MetricValues(lambda: deps.verbs.registry.view, deps.verbs.usages)
        self._metric_apis = MetricApis(values, deps.aggregator.claims)
        self._site = Site(deps.site, deps.verbs.registry, deps.metrics.registry, self._extended)
        self._watches = Watches(deps.verbs)
        self._lanes = Lanes()
        self._spans = Spans(REQUEST_S)

    def _extended(self) -> Extended:
        """What discovery shows beside the kinds: what is served here, and what extension servers serve."""
        found = self._aggregator.extended()
        return dataclasses.replace(found, extensions=(*found.extensions, *self._metric_apis.extensions()))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; whatever goes wrong becomes a Status."""
        if "Expect" in request.headers and not await _encouraged(request):
            return web.Response(status=_EXPECTATION_FAILED)
        if (page := self._routes.get((request.method, request.path))) is not None:
            return await page(request)
        begun = time.perf_counter()
        served = self._aggregator.claims.at(request.path)
        place = paths.parse(request.path, self._registry.catalog) if served is None else None
        query = request.query if request.query_string else _NO_QUERY
        what, long = _counted_as(request, place, served, query)
        code = 500
        try:
            if long:
                with self._metrics.long_running(what):
                    answer = await self._answered(request, place, query, None)
            else:
                answer = await self._short(request, place, query, what)
            code = answer.status
            return answer
        except asyncio.CancelledError:
            code = CANCELLED
            raise
        finally:
            self._metrics.served(what, code, None if long else time.perf_counter() - begun)

    def end(self) -> None:
        """End the watches: the server stops."""
        self._watches.end()

    async def _short(
        self, request: web.Request, place: Place | None, query: MultiMapping[str], what: Measured
    ) -> web.StreamResponse:
        """Answer a request that must not take long."""
        self._metrics.begin(what)
        try:
            with self._spans.span():
                return await self._answered(request, place, query, what)
        except TimeoutError:
            late = errors.Timeout(f"request did not complete within {REQUEST_S:.0f} s")
            self._metrics.terminated(what, late.code)
            return _refused(request, place, query, late)
        finally:
            self._metrics.end(what)

    async def _answered(
        self, request: web.Request, place: Place | None, query: MultiMapping[str], short: Measured | None
    ) -> web.StreamResponse:
        """The answer, or what went wrong; a `short` request needs a lane, and is counted where it gets none."""
        try:
            user = self._acting(request, self._authenticated(request))
            with nullcontext() if short is None else self._lane(user, short):
                if place is not None:
                    return await self._place(request, place, query, user)
                if (served := self._aggregator.claims.at(request.path)) is not None:
                    self._access.check(user, wanted_by(request.method, request.path, query))
                    return await self._aggregator.answer(request, served, user)
                if self._metric_apis.serves(request.path):
                    self._access.check(user, wanted_by(request.method, request.path, query))
                    return self._metric_apis.answer(request, query)
                if (wanted := paths.unserved(request.method, request.path)) is not None:
                    # Who may not is not told what there is.
                    self._access.check(user, wanted)
                else:
                    self._access.check_path(user, request.method, request.path)
                return await self._site.answer(request)
        except ApiError as error:
            return _refused(request, place, query, error)
        except StoreError as error:
            _LOG.warning("request_store_failed", path=request.path, method=request.method, error=str(error))
            return _refused(request, place, query, api_error(error))
        except RecursionError:
            return _refused(request, place, query, errors.BadRequest("the body of the request is nested too deeply"))
        except Exception:
            _LOG.exception("request_failed", path=request.path, method=request.method)
            why = errors.InternalError("the request could not be handled; see the server's log")
            return _refused(request, place, query, why)

    def _lane(self, user: UserInfo, what: Measured) -> Held:
        try:
            return self._lanes.enter(user)
        except errors.TooManyRequests as error:
            self._metrics.terminated(what, error.code)
            raise

    def _authenticated(self, request: web.Request) -> UserInfo:
        connection = request.transport.get_extra_info("ssl_object") if request.transport else None
        certificate = connection.getpeercert(binary_form=True) if connection is not None else None
        now_s = time.time()
        if certificate:
            self._metrics.certificate_shown(certificate, now_s)
        user = authn.authenticate(certificate, authorization_of(request), self._verify_token, round(now_s * 1000))
        if user is authn.NOBODY and not self._hears_nobody(request.path):
            raise errors.Unauthorized()
        return user

    def _acting(self, request: web.Request, user: UserInfo) -> UserInfo:
        return acting(user, request.headers.items(), self._access)

    async def _place(
        self, request: web.Request, place: Place, query: MultiMapping[str], user: UserInfo
    ) -> web.StreamResponse:
        watching = bool(not place.subresource and truth(query, "watch"))
        verb = paths.verb(request.method, place, watching)
        found = subresources.find(place.kind, place.subresource) if place.subresource else None
        if place.subresource and found is None:
            self._access.check_place(user, verb or request.method.lower(), place)
            raise errors.PathNotFound
        allowed = found.verbs if found is not None else _verbs_at(place)
        if verb not in allowed and place.subresource != paths.PROXY:
            raise errors.MethodNotAllowed(paths.methods(allowed))
        asked = place if place.name else replace(place, name=_only(verb, query))
        self._access.check_place(user, verb, asked, query.get("fieldSelector", ""))
        if verb == "get" and place.subresource in _ENTERED:
            # A WebSocket begins with GET; it is as much of an entrance as a POST.
            self._access.check_place(user, "create", place)
        paths.check_segments(place)
        # Before anything is done it must be clear that the answer can be as it is wanted.
        output = PLAIN if place.subresource in _LONG else output_of(request, place, verb, query)
        call = Call(request, place, verb, user, query, output, guard_of(self._access, user, place, verb))
        if output.form == "table":
            _ = call.include
        if verb == "watch":
            return await self._watches.serve(call, call.include)
        try:
            answer = await self._handler(call)(call)
        except ApiError as error:
            warned = (place.kind.warning, *call.warned) if place.kind.warning else tuple(call.warned)
            error.warnings = (*warned, *error.warnings)
            raise
        if place.kind.warning:
            answer.headers.add("Warning", warning_header(place.kind.warning))
        return answer

    def _handler(self, call: Call) -> Handler:
        place = call.place
        handler = (
            self._identity.find(place)
            or self._objects.find(call.verb, place)
            or self._streams.find(place.subresource)
            or self._proxies.find(place)
        )
        if handler is None:
            raise errors.MethodNotAllowed(())
        return handler


def _counted_as(
    request: web.Request, place: Place | None, served: Served | None, query: MultiMapping[str]
) -> tuple[Measured, bool]:
    """What a request is counted as, and whether it may take long."""
    if served is not None:
        return Measured("PROXY", served.spec.group, served.spec.version), True
    if place is None:
        return measured(request.method.lower() if request.method == "GET" else "other", None, dry_run=False), False
    watching = query.get("watch", "") not in ("", "0", "false") and not place.subresource
    verb = paths.verb(request.method, place, watching) or "other"
    if verb == "patch" and negotiate.media_type(request.headers.get("Content-Type", "")) == negotiate.APPLY_PATCH:
        verb = "apply"
    return measured(verb, place, dry_run="dryRun" in query), verb == "watch" or place.subresource in _LONG


async def _encouraged(request: web.Request) -> bool:
    """Tell a client that waits with its body to send it; whether that was all that it expects."""
    if request.headers["Expect"].lower() != "100-continue":
        return False
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
    return True


def _refused(request: web.Request, place: Place | None, query: MultiMapping[str], error: ApiError) -> web.Response:
    return error_answer(error, error_output(request, place, query))


def _only(verb: str, query: MultiMapping[str]) -> str:
    """The name that a selective list or watch is limited to: who may see one object may also watch it."""
    return only_name(query.get("fieldSelector", "")) if verb in ("list", "watch") else ""


def _verbs_at(place: Place) -> tuple[str, ...]:
    """The verbs for as much as the path names: one object, or many."""
    if place.watched:
        wanted: tuple[str, ...] = ("watch",)
    elif place.name:
        wanted = ("get", "watch", "update", "patch", "delete")
    elif place.kind.namespaced and not place.namespace:
        wanted = ("list", "watch")
    else:
        wanted = ("list", "watch", "create", "deletecollection")
    return _served(wanted, place.kind.verbs)


@lru_cache
def _served(wanted: tuple[str, ...], verbs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(verb for verb in wanted if verb in verbs)
