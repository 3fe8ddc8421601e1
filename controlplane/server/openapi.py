"""The description of the API as clients fetch it: v3 by group and version, v2 as one document, in JSON or binary.

Documents are made when they are first asked for and kept for as long as the kinds that they describe are served. The
index of v3 carries their hashes, so clients keep them, too, and come back only when one has changed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
from aiohttp import web

from controlplane.server.negotiate import JSON
from mizzen.api import errors, openapi, openapi_merge, openapi_v2, openapi_v2_binary
from mizzen.api.catalog import Catalog
from mizzen.api.kinds import Kind
from mizzen.api.openapi_merge import Part
from mizzen.api.openapi_schema import Json

_V3 = "/openapi/v3"
_V2 = "/openapi/v2"
_V2_JSON, _V2_BINARY, _V3_INDEX = "v2", "v2 binary", "v3"
"""The names of documents that are about all kinds; others have their paths for names."""

_Kinds = tuple[Kind[Any], ...]
_Sources = tuple[Kind[Any] | Part, ...]
"""What a document is made of."""


@dataclass(frozen=True, slots=True)
class Others:
    """What extension servers say of theirs."""

    described: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The URLs of their documents of v3, by the names that the index has for them."""
    parts: tuple[Part, ...] = ()
    """What they add to the document of v2."""


NO_OTHERS = Others()


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
        self._made: dict[str, tuple[_Sources, _Document]] = {}
        self._making = asyncio.Lock()

    def __len__(self) -> int:
        """How many documents are kept."""
        return len(self._made)

    async def answer(
        self, request: web.Request, path: str, catalog: Catalog, others: Others = NO_OTHERS
    ) -> web.Response:
        """The document under a path, with what `others` say where it is about everything. Raises PathNotFound."""
        binary = openapi_v2_binary.ASKED_FOR in request.headers.get("Accept", "")
        document = await self._find(path, catalog, others.parts, binary=binary)
        if path == _V3 and others.described:
            document = _with(document, others.described)
        headers = {"ETag": f'"{document.hash}"', "Vary": "Accept", "Content-Type": document.content_type}
        if "hash" in request.query:
            if request.query["hash"] != document.hash:
                # What is kept for ever under a hash must be what the hash is of.
                return web.Response(status=301, headers={"Location": f"{path}?hash={document.hash}"})
            headers["Cache-Control"] = "public, immutable"
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=document.body, headers=headers)

    async def _find(self, path: str, catalog: Catalog, parts: tuple[Part, ...], *, binary: bool) -> _Document:
        if path == _V2:
            name, make = (_V2_BINARY, _v2_binary) if binary else (_V2_JSON, _v2)
            sources: _Sources = (*catalog.served, *parts)
            return await self._kept(name, catalog, sources, lambda: make(self._swagger(catalog, parts)))
        if path == _V3:
            return await self._kept(_V3_INDEX, catalog, catalog.served, lambda: self._index(catalog))
        group_version = _group_versions(catalog).get(path.removeprefix(f"{_V3}/"))
        if group_version is None:
            raise errors.PathNotFound
        kinds = _kinds_in(catalog, group_version)
        return await self._kept(path, catalog, kinds, lambda: self._v3(catalog, *group_version))

    async def _kept(self, name: str, catalog: Catalog, sources: _Sources, make: Callable[[], _Document]) -> _Document:
        """The document of a name, made once of these sources, beside the event loop: it takes a tenth of a second."""
        if (found := self._found(name, sources)) is None:
            async with self._making:
                if (found := self._found(name, sources)) is None:
                    found = await asyncio.to_thread(make)
                    self._forget_all_but(catalog)
                    self._made[name] = (sources, found)
        return found

    def _forget_all_but(self, catalog: Catalog) -> None:
        """Drop the documents of groups and versions that are served no longer."""
        known = {_V2_JSON, _V2_BINARY, _V3_INDEX, *(f"{_V3}/{name}" for name in _group_versions(catalog))}
        self._made = {name: made for name, made in self._made.items() if name in known}

    def _found(self, name: str, sources: _Sources) -> _Document | None:
        made = self._made.get(name)
        return made[1] if made is not None and made[0] == sources else None

    def _v3(self, catalog: Catalog, group: str, version: str) -> _Document:
        return _document(
            msgspec.json.encode(openapi.document(group, version, server_version=self._version, catalog=catalog))
        )

    def _index(self, catalog: Catalog) -> _Document:
        paths = {}
        for name, group_version in _group_versions(catalog).items():
            path, kinds = f"{_V3}/{name}", _kinds_in(catalog, group_version)
            document = self._found(path, kinds) or self._v3(catalog, *group_version)
            self._made[path] = (kinds, document)
            paths[name] = {"serverRelativeURL": f"{path}?hash={document.hash}"}
        return _document(msgspec.json.encode({"paths": paths}))

    def _swagger(self, catalog: Catalog, parts: tuple[Part, ...]) -> Json:
        own = openapi_v2.document(server_version=self._version, catalog=catalog)
        return openapi_merge.merged(own, parts) if parts else own


def _v2(swagger: Json) -> _Document:
    return _document(msgspec.json.encode(swagger))


def _v2_binary(swagger: Json) -> _Document:
    return _document(openapi_v2_binary.encode(swagger), openapi_v2_binary.MEDIA_TYPE)


def _with(index: _Document, others: Mapping[str, str]) -> _Document:
    paths = msgspec.json.decode(index.body)["paths"]
    paths |= {name: {"serverRelativeURL": url} for name, url in others.items()}
    return _document(msgspec.json.encode({"paths": dict(sorted(paths.items()))}))


def _group_versions(catalog: Catalog) -> dict[str, tuple[str, str]]:
    """The groups and versions by the names of their documents."""
    return {openapi.path_of(*pair): pair for pair in openapi.group_versions(catalog)}


def _kinds_in(catalog: Catalog, group_version: tuple[str, str]) -> _Kinds:
    return tuple(kind for kind in catalog.served if (kind.group, kind.version) == group_version)
