"""Answers: objects, lists, tables and errors as HTTP responses, from bytes that exist already where possible."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from controlplane.server.negotiate import JSON, Output
from controlplane.server.representations import in_table, shown, shown_raw, storage
from controlplane.server.tables import render
from controlplane.server.verbs_read import Listing
from controlplane.store.registry import Registry
from mizzen.api import codec
from mizzen.api.errors import ApiError
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

COMPRESS_FROM_BYTES = 128 * 1024
"""Smaller answers are not worth compressing."""
_HEADERS = {"Content-Type": JSON, "Cache-Control": "no-cache, private", "Server": "mizzen"}
_UNQUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": " ", "\r": " "})


def json_answer(body: bytes, code: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """A JSON answer with the warnings that its reader should see."""
    headers: CIMultiDict[str] | dict[str, str] = _HEADERS
    if warnings:
        headers = CIMultiDict(_HEADERS)
        for warning in warnings:
            headers.add("Warning", warning_header(warning))
    return web.Response(body=body, status=code, headers=headers)


def warning_header(text: str) -> str:
    """A warning as its header says it."""
    return f'299 - "{text.translate(_UNQUOTED)}"'


def error_answer(error: ApiError) -> web.Response:
    """The answer that says what went wrong."""
    answer = json_answer(codec.encode_json(error.status), error.code)
    if error.details and error.details.retry_after_seconds:
        answer.headers["Retry-After"] = str(error.details.retry_after_seconds)
    return answer


def status_success(kind: Kind[Any], metadata: meta.ObjectMeta) -> meta.Status:
    """What is said of an object that has been deleted."""
    details = meta.StatusDetails(name=metadata.name, group=kind.group, kind=kind.plural, uid=metadata.uid)
    return meta.Status(status="Success", details=details)


def raw_of(registry: Registry, kind: Kind[Any], obj: Any) -> bytes:
    """The JSON of an object that was just written: the cache's bytes if they are of this version."""
    own = storage(kind)
    if kind is own:
        entry = registry.cache.entry(own, obj.metadata.namespace, obj.metadata.name)
        if entry is not None and str(entry.version) == obj.metadata.resource_version and entry.decoded is obj:
            return entry.raw
    return codec.encode_json(shown(kind, obj))


def form(output: Output, obj: Any, raw: bytes, now: Instant, include: str = "Metadata") -> bytes:
    """An object's JSON in the form that is wanted; for a table the type of `obj` decides on the columns."""
    what = render.what_of(obj)
    if output.form == "object" or (output.form == "table" and not render.has_table(what)):
        return raw
    if output.form == "metadata":
        return render.partial(raw, output.version)
    version = getattr(obj.metadata, "resource_version", "")
    head = msgspec.json.encode({"resourceVersion": version} if version else {})
    return render.table(what, [(obj, raw)], now, list_metadata=head, include=include, version=output.version)


def list_body(kind: Kind[Any], listing: Listing, output: Output, now: Instant, include: str) -> bytes:
    """A list's JSON in the form that is wanted."""
    metadata = codec.encode_json(
        meta.ListMeta(
            resource_version=str(listing.version),
            continue_=listing.continue_,
            remaining_item_count=listing.remaining,
        )
    )
    if output.form == "table":
        rows = ((in_table(kind, entry.object()), shown_raw(kind, entry)) for entry in listing.entries)
        return render.table(
            render.what(kind), rows, now, list_metadata=metadata, include=include, version=output.version
        )
    items: Iterable[bytes] = (
        (entry.raw for entry in listing.entries)
        if kind.stored
        else (shown_raw(kind, entry) for entry in listing.entries)
    )
    head = b'{"kind":"%b","apiVersion":"%b","metadata":' % (kind.list_kind.encode(), kind.api_version.encode())
    if output.form == "metadata":
        items = (render.partial(raw, output.version) for raw in items)
        version = output.version.encode()
        head = b'{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/%b","metadata":' % version
    return b'%b%b,"items":[%b]}' % (head, metadata, b",".join(items))


async def compressed(request: web.Request, answer: web.Response) -> web.Response:
    """The answer, compressed where it is large and the client can read that."""
    body = answer.body
    if not isinstance(body, bytes) or len(body) < COMPRESS_FROM_BYTES:
        return answer
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        # Compressing releases the interpreter, so other requests go on.
        answer.body = await asyncio.to_thread(gzip.compress, body, 1)
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Vary"] = "Accept-Encoding"
    return answer
