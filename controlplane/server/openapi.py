"""The description of the API as clients fetch it: v3 by group and version, v2 as one document, in JSON or binary.

Documents are made when they are first asked for and kept. The index of v3 carries their hashes, so clients keep them,
too, and come back only when one has changed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from controlplane.server.negotiate import JSON
from mizzen.api import errors, openapi, openapi_v2, openapi_v2_binary

_V3 = "/openapi/v3"
_V2 = "/openapi/v2"


@dataclass(frozen=True, slots=True)
class _Document:
    body: bytes
    content_type: str
    hash: str


def _document(body: bytes, content_type: str = JSON) -> _Document:
    return _Document(body, content_type, hashlib.sha512(body).hexdigest().upper())


class OpenApi:
    """Answers under `/openapi`."""

    def __init__(self, server_version: str) -> None:
        """Describe a server of this version."""
        self._version = server_version
        self._made: dict[str, _Document] = {}
        self._making = asyncio.Lock()
        self._group_versions = {openapi.path_of(*pair): pair for pair in openapi.group_versions()}

    async def answer(self, request: web.Request, path: str) -> web.Response:
        """The document under a path. Raises PathNotFound."""
        document = await self._find(path, binary=openapi_v2_binary.ASKED_FOR in request.headers.get("Accept", ""))
        headers = {"ETag": f'"{document.hash}"', "Vary": "Accept", "Content-Type": document.content_type}
        if "hash" in request.query:
            if request.query["hash"] != document.hash:
                # What is kept for ever under a hash must be what the hash is of.
                return web.Response(status=301, headers={"Location": f"{path}?hash={document.hash}"})
            headers["Cache-Control"] = "public, immutable"
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=document.body, headers=headers)

    async def _find(self, path: str, *, binary: bool) -> _Document:
        if path == _V2:
            return await self._kept("v2 binary" if binary else "v2", self._v2_binary if binary else self._v2)
        if path == _V3:
            return await self._kept("v3", self._index)
        name = path.removeprefix(f"{_V3}/")
        if name not in self._group_versions:
            raise errors.PathNotFound
        return await self._kept(name, lambda: self._v3(name))

    async def _kept(self, name: str, make: Callable[[], _Document]) -> _Document:
        """The document of a name, made once, beside the event loop: it takes a tenth of a second."""
        if name not in self._made:
            async with self._making:
                if name not in self._made:
                    self._made[name] = await asyncio.to_thread(make)
        return self._made[name]

    def _v3(self, name: str) -> _Document:
        group, version = self._group_versions[name]
        return _document(msgspec.json.encode(openapi.document(group, version, server_version=self._version)))

    def _index(self) -> _Document:
        paths = {}
        for name in self._group_versions:
            document = self._made.get(name) or self._v3(name)
            self._made[name] = document
            paths[name] = {"serverRelativeURL": f"{_V3}/{name}?hash={document.hash}"}
        return _document(msgspec.json.encode({"paths": paths}))

    def _v2(self) -> _Document:
        return _document(msgspec.json.encode(openapi_v2.document(server_version=self._version)))

    def _v2_binary(self) -> _Document:
        document = openapi_v2.document(server_version=self._version)
        return _document(openapi_v2_binary.encode(document), openapi_v2_binary.MEDIA_TYPE)
