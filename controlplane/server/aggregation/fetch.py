"""What extension servers say of themselves: whether they answer, what they can do, how it is described."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from controlplane.access.values import MASTERS, UserInfo
from controlplane.server.aggregation.backends import Backend
from controlplane.server.outward.headers import identity_headers
from mizzen.api import openapi_merge, openapi_v2_binary
from mizzen.api.errors import ApiError, quoted
from mizzen.api.openapi_merge import Part

ANSWER_S = 5.0
"""How long an extension server may take to answer a question about itself, in seconds."""
ANSWER_MAX_BYTES = 4 * 1024 * 1024
ENDPOINTS_MAX = 5
"""How many of an extension server's endpoints are asked; one that answers is enough."""
_OK, _MULTIPLE = 200, 300
_AGGREGATED = ("v2", "v2beta1")
_ACCEPT = ",".join(
    (
        *(f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in _AGGREGATED),
        "application/json",
    )
)
_ASKING = UserInfo("system:kube-aggregator", (MASTERS,))

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Swagger:
    """A description in OpenAPI v2, and by what a change of it is known."""

    digest: bytes
    part: Part


class FetchFailed(Exception):
    """An extension server has not said what it was asked; the text says why."""


async def ask(backend: Backend, path: str, user: UserInfo) -> tuple[int, bytes]:
    """Status and body of the answer to a question in a user's name. Raises FetchFailed."""
    status, _, body = await _get(backend, path, "application/json", user)
    return status, body


async def probe(backend: Backend) -> str:
    """What is wrong with an extension server; empty when it serves its group and version."""
    try:
        found = backend.targets()
    except ApiError as error:
        return error.message
    path = f"/apis/{backend.spec.group}/{backend.spec.version}"
    url, problem = backend.url(path), ""
    for _ in found[:ENDPOINTS_MAX]:
        try:
            status, _, _ = await _get(backend, path, "application/json")
        except FetchFailed as error:
            problem = f"failing or missing response from {url}: {error}"
            continue
        if _OK <= status < _MULTIPLE:
            return ""
        problem = f"failing or missing response from {url}: bad status from {url}: {status}"
    return problem


async def resources(backend: Backend) -> list[Resource]:
    """The resources of its group and version, as aggregated discovery has them. Raises FetchFailed."""
    group, version = backend.spec.group, backend.spec.version
    status, content_type, body = await _get(backend, "/apis", _ACCEPT)
    if status == _OK and "as=APIGroupDiscoveryList" in content_type:
        for item in _decoded(body).get("items") or ():
            for one in item.get("versions") or ():
                if (item.get("metadata", {}).get("name"), one.get("version")) == (group, version):
                    return list(one.get("resources") or ())
    path = f"/apis/{group}/{version}"
    status, _, body = await _get(backend, path, "application/json")
    if status != _OK:
        raise FetchFailed(f"bad status from {path}: {status}")
    return aggregated(_decoded(body).get("resources") or [], group, version)


async def described(backend: Backend) -> str:
    """Where the description of its group and version is, as its index says; empty where there is none."""
    status, _, body = await _get(backend, "/openapi/v3", "application/json")
    if status != _OK:
        return ""
    entry = (_decoded(body).get("paths") or {}).get(f"apis/{backend.spec.group}/{backend.spec.version}") or {}
    return str(entry.get("serverRelativeURL", ""))


async def described_in_v2(backend: Backend, before: Swagger | None) -> Swagger | None:
    """Its description in OpenAPI v2: the one from before where that has not changed, None where there is none.

    Raises FetchFailed, also where it cannot be read.
    """
    status, _, body = await _get(backend, "/openapi/v2", "application/json")
    if status != _OK:
        return None
    digest = hashlib.sha256(body).digest()
    if before is not None and before.digest == digest:
        return before
    return await asyncio.to_thread(_swagger, f"/apis/{backend.spec.group}/{backend.spec.version}", body, digest)


def _swagger(prefix: str, body: bytes, digest: bytes) -> Swagger:
    part = Part(prefix, _decoded(body))
    nothing = {"swagger": "2.0", "info": {"title": "", "version": ""}, "paths": {}, "definitions": {}}
    try:
        openapi_v2_binary.encode(openapi_merge.merged(nothing, (part,)))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FetchFailed(f"its OpenAPI v2 is not understood: {error!r}") from error
    return Swagger(digest, part)


def aggregated(classic: list[Resource], group: str, version: str) -> list[Resource]:
    """Resources of the classic list in the aggregated form, what is below a resource inside of it."""
    made: dict[str, Resource] = {}
    below: list[tuple[str, str, Resource]] = []
    for one in classic:
        kind = {"group": one.get("group") or group, "version": one.get("version") or version, "kind": one["kind"]}
        parent, _, sub = one["name"].partition("/")
        scope = "Namespaced" if one.get("namespaced") else "Cluster"
        if sub:
            below.append((parent, scope, {"subresource": sub, "responseKind": kind, "verbs": one.get("verbs") or []}))
            continue
        made[parent] = {
            "resource": parent,
            "responseKind": kind,
            "scope": scope,
            "singularResource": one.get("singularName", ""),
            "verbs": one.get("verbs") or [],
            **{key: one[key] for key in ("shortNames", "categories") if one.get(key)},
        }
    for parent, scope, sub_resource in below:
        if parent not in made:
            # As Kubernetes shows metrics of objects of other groups.
            nothing = {"group": "", "version": "", "kind": ""}
            made[parent] = {"resource": parent, "responseKind": nothing, "scope": scope, "verbs": []}
        made[parent].setdefault("subresources", []).append(sub_resource)
    return list(made.values())


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise FetchFailed(f"the answer is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise FetchFailed("the answer is no object")
    return value


async def _get(backend: Backend, path: str, accept: str, user: UserInfo = _ASKING) -> tuple[int, str, bytes]:
    headers = [("Accept", accept), *identity_headers(user)]
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            backend.client.get(backend.url(path), headers=headers, allow_redirects=False) as answer,
        ):
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > ANSWER_MAX_BYTES:
                    raise FetchFailed(f"the answer to {path} has more than {ANSWER_MAX_BYTES} bytes")
            return answer.status, answer.headers.get("Content-Type", ""), bytes(body)
    except TimeoutError as error:
        raise FetchFailed(f"Get {quoted(path)}: context deadline exceeded") from error
    except ApiError as error:
        raise FetchFailed(f"Get {quoted(path)}: {error.message}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise FetchFailed(f"Get {quoted(path)}: {error}") from error
