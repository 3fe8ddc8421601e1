"""Media types: what a client sends and in which form it wants the answer.

Answers are JSON, YAML or Kubernetes' protobuf, and may be another kind than the object: a table, or the metadata alone.
A missing content type means JSON, and the answer's content type is exactly `application/json`, because clients compare
the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mizzen.api.errors import ApiError, NotAcceptable, UnsupportedMediaType

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
OBJECTS = (JSON, YAML, PROTOBUF)
"""What objects travel as, in the order in which clients are told of them."""

_ANY = ("*/*", "application/*", JSON)
_STREAMS = (JSON, PROTOBUF)
"""What has a way to say where one event of a watch ends."""
_WATCH = ";stream=watch"
_META = "meta.k8s.io"
_DISCOVERY = "apidiscovery.k8s.io"

Form = Literal["object", "table", "metadata"]


@dataclass(frozen=True, slots=True)
class Output:
    """The form of an answer."""

    form: Form = "object"
    version: str = "v1"
    """Of `meta.k8s.io`, where the form is not the object's own."""
    media_type: str = JSON
    pretty: bool = False
    """JSON with line breaks, for people."""


PLAIN = Output()


@dataclass(frozen=True, slots=True)
class _Accepted:
    media_type: str
    parameters: dict[str, str]

    @property
    def preference(self) -> tuple[float, bool, bool]:
        """Sorts before what is wanted less."""
        try:
            quality = float(self.parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        return -quality, self.media_type.startswith("*/"), self.media_type.endswith("/*")


_REFUSED = (0.0, False, False)


def _clauses(header: str) -> Iterator[_Accepted]:
    for clause in (header or "*/*").split(","):
        media_type, *rest = (part.strip() for part in clause.split(";"))
        yield _Accepted(media_type.lower(), dict(part.partition("=")[::2] for part in rest))


@lru_cache(maxsize=512)
def output(accept: str, *, watching: bool = False, protobuf: bool = True) -> Output:
    """The form that a client wants an object, a list or a watch in, where there is `protobuf` of it or not.

    Raises NotAcceptable.
    """
    offered = tuple(each for each in (_STREAMS if watching else OBJECTS) if protobuf or each != PROTOBUF)
    for clause in sorted(_clauses(accept), key=lambda clause: clause.preference):
        found = JSON if clause.media_type in _ANY else clause.media_type
        if found not in OBJECTS or clause.preference >= _REFUSED:
            continue
        wanted = _transformed(clause, found)
        if wanted is None or (found == PROTOBUF and not protobuf):
            continue
        if found not in offered:
            break
        return wanted
    raise NotAcceptable([each + _WATCH for each in offered] if watching else offered)


def _transformed(clause: _Accepted, media_type: str) -> Output | None:
    """What one clause asks for; None where that cannot be made."""
    parameters = clause.parameters
    wanted, version = parameters.get("as", ""), parameters.get("v", "")
    pretty = parameters.get("pretty", "") in ("1", "true")
    if not wanted:
        return Output(media_type=media_type, pretty=pretty)
    if parameters.get("g") != _META or version not in ("v1", "v1beta1"):
        return None
    if wanted == "Table":
        # There is no message for a cell, which may be of any type.
        return None if media_type == PROTOBUF else Output("table", version, media_type, pretty)
    if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
        return Output("metadata", version, media_type, pretty)
    return None


def error_output(accept: str) -> Output:
    """The form that an error is told in: as asked for if that is possible, never as another kind."""
    try:
        found = output(accept)
    except NotAcceptable:
        return PLAIN
    return Output(media_type=found.media_type, pretty=found.pretty)


@lru_cache(maxsize=512)
def discovery_version(accept: str) -> str:
    """The version of aggregated discovery that a client wants; empty for the classic form."""
    for clause in _clauses(accept):
        parameters = clause.parameters
        if clause.media_type not in _ANY or not parameters.get("as"):
            if clause.media_type in _ANY:
                return ""
            continue
        version = parameters.get("v", "")
        if (
            parameters["as"] == "APIGroupDiscoveryList"
            and parameters.get("g") == _DISCOVERY
            and version in ("v2", "v2beta1")
        ):
            return version
    return ""


def media_type(content_type: str) -> str:
    """The media type of a Content-Type header, without parameters; nothing means JSON."""
    return content_type.partition(";")[0].strip().lower() or JSON


def body_type(content_type: str) -> str:
    """How a request's body is encoded: `JSON`, `YAML` or `PROTOBUF`. Raises UnsupportedMediaType."""
    found = media_type(content_type)
    if found not in OBJECTS:
        raise UnsupportedMediaType(OBJECTS)
    return found


def patch_type(content_type: str) -> str:
    """The kind of a patch. Raises UnsupportedMediaType for any other body."""
    found = media_type(content_type)
    if found == _APPLY_PATCH:
        why = "server-side apply is not supported by this server; use `kubectl apply` without --server-side"
        raise ApiError(why, code=UnsupportedMediaType.code, reason=UnsupportedMediaType.reason)
    if found not in PATCHES:
        raise UnsupportedMediaType(PATCHES)
    return found
