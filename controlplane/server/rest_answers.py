"""Answers as HTTP responses: headers, warnings, errors, compression. Their bodies are made in `rest_forms`."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from controlplane.server import rest_forms
from controlplane.server.kept_lists import Stretch
from controlplane.server.negotiate import JSON, PLAIN, Output
from controlplane.server.packing import LEVEL, packed, together
from controlplane.server.rest_pieces import PIECE_BYTES, Pieces
from mizzen.api.errors import ApiError, MethodNotAllowed
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta

COMPRESS_FROM_BYTES = 128 * 1024
"""Smaller answers are not worth compressing."""
_HEADERS = {"Content-Type": JSON, "Cache-Control": "no-cache, private", "Server": "mizzen"}
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
"""What no header may hold, and names that clients send can."""
WARNINGS_MAX = 4 * 1024
"""Characters of all warnings of one answer; beyond, each is cut."""
WARNING_CUT = 256
"""Characters that are left of a warning that is cut."""
_UNQUOTED: dict[int, str] = {ord("\\"): "\\\\", ord('"'): '\\"', **dict.fromkeys(_CONTROLS, " ")}


def headers_of(output: Output) -> dict[str, str]:
    """The headers of every answer in this form."""
    return _HEADERS if output.media_type == JSON else {**_HEADERS, "Content-Type": output.media_type}


def answer(output: Output, body: bytes, code: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """An answer with the warnings that its reader should see."""
    headers: CIMultiDict[str] | dict[str, str] = headers_of(output)
    if warnings:
        headers = CIMultiDict(headers)
        for warning in bounded(warnings):
            headers.add("Warning", warning_header(warning))
    return web.Response(body=body, status=code, headers=headers)


def bounded(warnings: Iterable[str]) -> list[str]:
    """The warnings that are sent: each once, and where all are too long together, only the beginning of each."""
    texts = [text for text in dict.fromkeys(warnings) if text]
    if sum(map(len, texts)) <= WARNINGS_MAX:
        return texts
    sent: list[str] = []
    length = 0
    for text in texts:
        if length >= WARNINGS_MAX:
            break
        sent.append(text[:WARNING_CUT])
        length += len(sent[-1])
    return sent


def warning_header(text: str) -> str:
    """A warning as its header says it."""
    return f'299 - "{text.translate(_UNQUOTED)}"'


def json_answer(body: bytes, code: int = 200) -> web.Response:
    """An answer that is JSON whatever was asked for."""
    return answer(PLAIN, body, code)


def error_answer(error: ApiError, output: Output = PLAIN) -> web.Response:
    """The answer that says what went wrong."""
    made = answer(output, rest_forms.status_body(output, error.status), error.code, error.warnings)
    if isinstance(error, MethodNotAllowed) and error.allowed:
        made.headers["Allow"] = ", ".join(error.allowed)
    if error.details and error.details.retry_after_seconds:
        made.headers["Retry-After"] = str(error.details.retry_after_seconds)
    return made


def status_success(kind: Kind[Any], metadata: meta.ObjectMeta) -> meta.Status:
    """What is said of an object that has been deleted."""
    details = meta.StatusDetails(name=metadata.name, group=kind.group, kind=kind.plural, uid=metadata.uid)
    return meta.Status(status="Success", details=details)


async def compressed(request: web.Request, made: web.Response) -> web.Response:
    """The answer; where it is large, compressed if the client can read that, and sent in pieces."""
    body = made.body
    if isinstance(body, bytes):
        if _worth_compressing(request, len(body)):
            # Compressing releases the interpreter, so other requests go on.
            body = _as_gzip(made, await asyncio.to_thread(gzip.compress, body, LEVEL))
        _in_pieces(made, body)
    return made


async def list_answer(request: web.Request, output: Output, parts: Sequence[bytes | Stretch]) -> web.Response:
    """The answer that is a list, compressed as others are: what is kept of it is so, too, once it has been needed."""
    made = answer(output, b"")
    if _worth_compressing(request, sum(len(part if isinstance(part, bytes) else part.body) for part in parts)):
        body = _as_gzip(made, await asyncio.to_thread(_packed, parts))
    else:
        body = rest_forms.joined(parts)
    _in_pieces(made, body)
    return made


def _packed(parts: Sequence[bytes | Stretch]) -> bytes:
    return together(packed(part) if isinstance(part, bytes) else part.packed() for part in parts)


def _worth_compressing(request: web.Request, size: int) -> bool:
    return size >= COMPRESS_FROM_BYTES and "gzip" in request.headers.get("Accept-Encoding", "")


def _as_gzip(made: web.Response, body: bytes) -> bytes:
    made.headers["Content-Encoding"] = "gzip"
    made.headers["Vary"] = "Accept-Encoding"
    return body


def _in_pieces(made: web.Response, body: bytes) -> None:
    made.body = Pieces(body) if len(body) > PIECE_BYTES else body
