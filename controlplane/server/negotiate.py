"""Media types: what a client sends and in which form it wants the answer.

Answers are always JSON, but may be another kind than the object: a table, or the metadata alone. A missing content
type means JSON, and the answer's content type is exactly `application/json`, because clients compare the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mizzen.api.errors import NotAcceptable, UnsupportedMediaType

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)

_ANY = ("*/*", "application/*", JSON)
_META = "meta.k8s.io"
_DISCOVERY = "apidiscovery.k8s.io"

Form = Literal["object", "table", "metadata"]


@dataclass(frozen=True, slots=True)
class Output:
    """The form of an answer."""

    form: Form = "object"
    version: str = "v1"
    """Of `meta.k8s.io`, where the form is not the object's own."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    media_type: str
    parameters: dict[str, str]


def _clauses(header: str) -> Iterator[_Accepted]:
    for clause in (header or "*/*").split(","):
        media_type, *rest = (part.strip() for part in clause.split(";"))
        yield _Accepted(media_type.lower(), dict(part.partition("=")[::2] for part in rest))


@lru_cache(maxsize=512)
def output(accept: str) -> Output:
    """The form that a client wants an object or a list in. Raises NotAcceptable."""
    for clause in _clauses(accept):
        if clause.media_type not in _ANY:
            continue
        wanted = clause.parameters.get("as", "")
        version = clause.parameters.get("v", "")
        if not wanted:
            return Output()
        if clause.parameters.get("g") != _META or version not in ("v1", "v1beta1"):
            continue
        if wanted == "Table":
            return Output("table", version)
        if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Output("metadata", version)
    raise NotAcceptable([JSON])


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
    """How a request's body is encoded: `JSON` or `PROTOBUF`. Raises UnsupportedMediaType."""
    found = media_type(content_type)
    if found not in (JSON, PROTOBUF):
        raise UnsupportedMediaType([JSON, PROTOBUF])
    return found


def patch_type(content_type: str) -> str:
    """The kind of a patch. Raises UnsupportedMediaType for any other body."""
    found = media_type(content_type)
    if found not in PATCHES:
        raise UnsupportedMediaType(PATCHES)
    return found
