"""The two HTTP paths by which a machine joins: see `join` for the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from controlplane.server import join, pki
from controlplane.server.rest_site import Page
from controlplane.server.verbs import api_error
from controlplane.store.registry import Registry
from controlplane.store.values import StoreError
from mizzen.api import errors, formats, kinds
from mizzen.engine.values import Clock

BODY_MAX_BYTES = 64 * 1024
_LOG = structlog.get_logger(__name__)


class JoinRequest(msgspec.Struct, frozen=True):
    """What an agent sends."""

    node: str
    csr: str


class JoinApi:
    """Handlers of pages of the API server; they authenticate by join token only."""

    def __init__(
        self, registry: Registry, authority: pki.Pki, clock: Clock, grpc_port: int, connected: Callable[[], Any]
    ) -> None:
        self._registry = registry
        self._pki = authority
        self._clock = clock
        self._grpc_port = grpc_port
        self._connected = connected

    def routes(self) -> dict[tuple[str, str], Page]:
        """The pages by method and path."""
        return {("GET", "/mizzen.dev/v1/ca"): self.ca, ("POST", "/mizzen.dev/v1/join"): self.join}

    async def ca(self, request: web.Request) -> web.Response:
        """The authority's certificate; whoever asks checks it against the hash in the token."""
        return web.Response(body=self._pki.ca_pem, content_type="application/x-pem-file")

    async def join(self, request: web.Request) -> web.Response:
        """A certificate for a new node."""
        try:
            answer = await self._join(request)
        except errors.ApiError as error:
            return _refusal(error)
        except StoreError as error:
            return _refusal(api_error(error))
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    async def _join(self, request: web.Request) -> dict[str, Any]:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        await self._registry.fresh()
        try:
            if scheme.lower() != "bearer":
                raise join.TokenRefused("a join needs the header `Authorization: Bearer <join token>`")
            token = join.check_token(text, self._registry.view, self._clock.now())
        except join.TokenRefused as error:
            raise errors.Unauthorized(str(error)) from error
        try:
            wanted = msgspec.json.decode(await _body(request), type=JoinRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errors.BadRequest(f"the join request is not understood: {error}") from error
        problems = formats.dns_subdomain(wanted.node)
        if problems:
            raise errors.BadRequest(f"node name {wanted.node!r}: {problems[0]}")
        if wanted.node in self._connected():
            why = "a node of this name is connected; stop its agent, or give this machine another --node-name"
            raise errors.AlreadyExists(kinds.NODE, wanted.node, why)
        try:
            # Signing is arithmetic of a millisecond; off the loop all the same, many nodes may join at once.
            signed = await asyncio.to_thread(self._pki.sign_node, wanted.csr.encode(), wanted.node, self._clock.now())
        except pki.BadRequest as error:
            raise errors.BadRequest(str(error)) from error
        _LOG.info("node joined", node=wanted.node, token_id=token.id)
        return {"certificate": signed.decode(), "ca": self._pki.ca_pem.decode(), "grpcPort": self._grpc_port}


async def _body(request: web.Request) -> bytes:
    """The body, whether or not its length was announced. Raises RequestEntityTooLarge."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > BODY_MAX_BYTES:
            raise errors.RequestEntityTooLarge(f"a join request has at most {BODY_MAX_BYTES} bytes")
    return bytes(body)


def _refusal(error: errors.ApiError) -> web.Response:
    body = msgspec.json.encode(error.status)
    return web.Response(body=body, status=error.code, content_type="application/json")
