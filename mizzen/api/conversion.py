"""ConversionReviews: what a webhook is asked that converts objects of users' kinds, and what it may answer.

Only the content, labels and annotations are the webhook's to change; identity stays, and the rest of the metadata is
kept whatever is answered. The texts of failures are Kubernetes', because people search for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from mizzen.api import codec, custom, reading, validate_meta
from mizzen.api.custom import Custom
from mizzen.api.errors import quoted
from mizzen.api.kinds import Kind

GROUP = "apiextensions.k8s.io"
REVIEW_VERSIONS = ("v1", "v1beta1")
"""The versions of ConversionReview that can be sent, which differ in nothing but their names."""
_KIND = "ConversionReview"
_SUCCESS = "Success"
_MAPS = ("labels", "annotations")


class BadConversion(ValueError):
    """What a webhook answered is no conversion; the message goes on after the words `conversion webhook for KIND`."""


class _Result(msgspec.Struct, rename="camel"):
    status: str = ""
    message: str = ""


class _Response(msgspec.Struct, rename="camel"):
    uid: str = ""
    converted_objects: list[Any] = []
    result: _Result = msgspec.field(default_factory=_Result)


class _Review(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    response: _Response | None = None


_DECODER = msgspec.json.Decoder(_Review)


def review_version(known: Sequence[str]) -> str:
    """The first version of ConversionReview that a webhook knows and that can be sent."""
    return next((one for one in known if one in REVIEW_VERSIONS), REVIEW_VERSIONS[0])


def review(uid: str, review_version_: str, wanted: str, objects: Sequence[bytes]) -> bytes:
    """The question: objects in JSON, and the `apiVersion` in which they are wanted."""
    request = {"uid": uid, "desiredAPIVersion": wanted, "objects": [msgspec.Raw(raw) for raw in objects]}
    return msgspec.json.encode(
        {"apiVersion": f"{GROUP}/{review_version_}", "kind": _KIND, "request": request, "response": None}
    )


def answered(body: bytes, uid: str, review_version_: str, count: int) -> list[Any]:
    """The converted objects, as they came. Raises BadConversion."""
    try:
        got = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise BadConversion(f" failed: {error}") from error
    wanted = f"{GROUP}/{review_version_}, Kind={_KIND}"
    if (said := f"{got.api_version}, Kind={got.kind}") != wanted:
        raise BadConversion(f" failed: expected webhook response of {wanted}, got {said}")
    response = got.response
    if response is None:
        raise BadConversion(" failed: no response provided")
    if response.uid != uid:
        raise BadConversion(f" failed: expected response.uid={quoted(uid)}, got {quoted(response.uid)}")
    if response.result.status != _SUCCESS:
        why = response.result.message or f"response.result.status was '{response.result.status}', not 'Success'"
        raise BadConversion(f" failed: {why}")
    if len(response.converted_objects) != count:
        raise BadConversion(f" returned {len(response.converted_objects)} objects, expected {count}")
    return response.converted_objects


def converted(value: Any, original: Custom, kind: Kind[Any], version: str) -> Custom:
    """One converted object, under the same hub as the original one. Raises BadConversion."""
    wanted = f"{kind.group}/{version}"
    said = value if isinstance(value, dict) else {}
    if said.get("apiVersion") != wanted:
        why = f"invalid groupVersion (expected {wanted}, received {said.get('apiVersion') or ''})"
        raise BadConversion(f" returned invalid object at index 0: {why}")
    if said.get("kind") != kind.kind:
        why = f"invalid kind (expected {kind.kind}, received {said.get('kind') or ''})"
        raise BadConversion(f" returned invalid object at index 0: {why}")
    given = said.get("metadata")
    if not isinstance(given, dict):
        raise BadConversion(" returned invalid metadata: missing metadata in converted object")
    before = original.metadata
    for name, had in (("name", before.name), ("namespace", before.namespace), ("UID", before.uid)):
        if (has := given.get(name.lower()) or "") != had:
            raise BadConversion(f" returned invalid object: must have the same {name}: {had} != {has}")
    try:
        made, _ = custom.from_value(original.of, {**said, "metadata": _kept(given)})
    except reading.Mismatch as error:
        raise BadConversion(f" returned invalid metadata: {error}") from error
    metadata = replace(before, labels=made.metadata.labels, annotations=made.metadata.annotations)
    if (metadata.labels, metadata.annotations) != (before.labels, before.annotations):
        wrong = list(validate_meta.create(metadata, lambda _: (), namespaced=kind.namespaced))
        if wrong:
            raise BadConversion(f" returned invalid metadata: {'; '.join(map(str, wrong))}")
    return custom.labelled(replace(made, metadata=metadata), version)


def _kept(given: dict[str, Any]) -> dict[str, Any]:
    """Of the metadata in an answer, what is taken over."""
    return {name: given[name] for name in _MAPS if given.get(name) is not None}


def encoded(obj: Custom) -> bytes:
    """An object as a webhook is shown it."""
    return codec.encode_json(obj)
