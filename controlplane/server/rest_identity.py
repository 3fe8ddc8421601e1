"""Questions about identity and access over HTTP, and tokens of service accounts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from controlplane.server import rest_forms
from controlplane.server.authn import VerifyToken
from controlplane.server.paths import Place
from controlplane.server.rest_answers import answer
from controlplane.server.rest_call import Call
from controlplane.server.rest_objects import Handler
from controlplane.server.reviews import Reviews
from controlplane.server.tokens import Tokens
from controlplane.server.verbs import Verbs
from mizzen.api import codec, errors
from mizzen.api.types import authentication_v1 as authentication

_CREATED = 201


class IdentityHandlers:
    """Handlers by what a path names."""

    def __init__(self, verbs: Verbs, tokens: Tokens | None, verify_token: VerifyToken) -> None:
        """Answer from `verbs`, from `tokens` where there are any, and of all tokens from `verify_token`."""
        self._registry = verbs.registry
        self._admission = verbs.admission
        self._clock = verbs.clock
        self._tokens = tokens
        self._reviews = Reviews(verbs.access, tokens, verify_token)

    def find(self, place: Place) -> Handler | None:
        """The handler of what a path names, if it is one of these."""
        if self._reviews.takes(place.kind):
            return self._review
        return self._token if place.subresource == "token" else None

    async def _review(self, call: Call) -> web.StreamResponse:
        question, warnings = await call.decoded(call.kind)
        made = self._reviews.answer(call.user, call.kind, call.place.namespace, question)
        return self._answer(call, made, warnings)

    async def _token(self, call: Call) -> web.StreamResponse:
        request, warnings = await call.decoded(authentication.TokenRequest)
        if self._tokens is None:
            raise errors.ServiceUnavailable("this server makes no tokens")
        await self._registry.fresh()
        request, more = await self._admission.consult(call.sent(request))
        made = self._tokens.issue(call.place.namespace, call.place.name, request)
        return self._answer(call, made, (*warnings, *more))

    def _answer(self, call: Call, made: Any, warnings: tuple[str, ...]) -> web.StreamResponse:
        raw = codec.encode_json(made)
        body = rest_forms.object_body(call.kind, call.output, made, raw, self._clock.now(), call.include)
        return answer(call.output, body, _CREATED, warnings)
