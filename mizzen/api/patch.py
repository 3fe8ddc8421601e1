"""PATCH: from an object's JSON and a patch to the JSON of the object it shall be.

Three of the four kinds of patches are here or behind here: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic
merge patch (`strategic`). Server-side apply is another matter, because it needs to know who owns what. Everything works
on plain JSON values; whether the result is an object of its kind is found out by decoding it.

Also makes merge patches, for clients that apply manifests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import jsonpatch
import jsonpointer
import msgspec

from mizzen.api import strategic
from mizzen.api.errors import ApiError, BadRequest, FieldError, Invalid, RequestEntityTooLarge, UnsupportedMediaType
from mizzen.api.json_values import same
from mizzen.api.schema import MessageSchema
from mizzen.api.types import meta_v1 as meta

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
MEDIA_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)

OPERATIONS_MAX = 10_000
COPIED_BYTES_MAX = 3 * 1024 * 1024
"""What `copy` operations of one patch may add; each can double a document."""

_JSON = msgspec.json.Decoder()


def apply(media_type: str, body: bytes, current: dict[str, Any], message: MessageSchema | None) -> dict[str, Any]:
    """The JSON of the object after the patch; `current` stays as it is. Without `message` there is no strategic merge.

    Raises BadRequest for a patch that is malformed, an ApiError with code 422 for one that does not fit the object,
    RequestEntityTooLarge and UnsupportedMediaType.
    """
    try:
        patch = _JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    supported = MEDIA_TYPES if message is not None else MEDIA_TYPES[:2]
    if media_type not in supported:
        raise UnsupportedMediaType(supported)
    if media_type != JSON_PATCH and not isinstance(patch, dict):
        given = {list: "array", str: "string", bool: "bool"}.get(type(patch), "number")
        raise BadRequest(f"json: cannot unmarshal {given} into Go value of type map[string]interface {{}}")
    try:
        if media_type == JSON_PATCH:
            return apply_json_patch(current, patch)
        if media_type == MERGE_PATCH or message is None:
            return apply_merge_patch(current, patch)
        return strategic.merge(current, patch, message)
    except RecursionError as error:
        raise BadRequest("error decoding patch: it is nested too deeply") from error


def apply_json_patch(current: dict[str, Any], operations: Any) -> dict[str, Any]:
    """The document after the operations of a JSON patch, of which either all or none apply."""
    if not isinstance(operations, list):
        raise BadRequest("error decoding patch: json: a JSON patch is an array of operations")
    if len(operations) > OPERATIONS_MAX:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}"
        )
    result = _JSON.decode(msgspec.json.encode(current))
    copied = 0
    for operation in operations:
        try:
            copied += _copied_bytes(result, operation)
            if copied > COPIED_BYTES_MAX:
                raise _rejected(
                    f"unable to complete the copy, its size of {copied} bytes exceeds the limit {COPIED_BYTES_MAX}"
                )
            result = jsonpatch.JsonPatch([operation]).apply(result, in_place=True)
        except jsonpatch.InvalidJsonPatch as error:
            raise BadRequest(f"error decoding patch: {error}") from error
        except jsonpatch.JsonPatchTestFailed as error:
            # The library's own words show the document, which may be a Secret.
            raise _rejected(f"testing path {operation['path']} failed: test failed") from error
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
            what = f"{operation['op']} operation does not apply at {operation['path']}"
            raise _rejected(f"{what}: missing value") from error
    if not isinstance(result, dict):
        raise _rejected("the patched document is no object")
    return result


def apply_merge_patch(current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The document after a merge patch: null removes, objects merge, all else replaces."""
    result = dict(current)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = apply_merge_patch(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def create_merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The smallest merge patch that turns one document into the other; nulls in them do not count."""
    patch: dict[str, Any] = {key: None for key in before if after.get(key) is None and before[key] is not None}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := create_merge_patch(old, value):
                patch[key] = inner
        elif value is not None and not same(value, old):
            patch[key] = value
    return patch


def create_three_way_patch(last: dict[str, Any], wanted: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that `apply` sends: what is wanted and not so, and what was wanted last and is no more.

    What others set and we never wanted stays.
    """
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        now = current.get(key)
        if isinstance(value, dict) and isinstance(now, dict):
            before = last.get(key)
            if inner := create_three_way_patch(before if isinstance(before, dict) else {}, value, now):
                patch[key] = inner
        elif value is not None and not same(value, now):
            patch[key] = value
    for key in last:
        if wanted.get(key) is None and current.get(key) is not None:
            patch[key] = None
    return patch


def _copied_bytes(document: Any, operation: Any) -> int:
    """How much a `copy` operation adds; nothing for what will fail anyway."""
    if not isinstance(operation, dict) or operation.get("op") != "copy" or not isinstance(operation.get("from"), str):
        return 0
    return len(msgspec.json.encode(jsonpointer.resolve_pointer(document, operation["from"], None)))


def _rejected(why: str) -> ApiError:
    """The words are fixed, clients compare them; why stands in the causes."""
    details = meta.StatusDetails(causes=(meta.StatusCause(message=why),))
    text = "the server rejected our request due to an error in our request"
    return ApiError(text, details, code=422, reason="Invalid")


def no_object(media_type: str, body: bytes, patched: dict[str, Any], why: str) -> Invalid:
    """The error of a patch after which the object is none of its kind any more; shows what `why` is about."""
    if media_type == STRATEGIC_MERGE_PATCH:
        return Invalid(_Nameless(), "", [FieldError.invalid("patch", _as_go(_JSON.decode(body)), _unconverted(why))])
    return Invalid(_Nameless(), "", [FieldError.invalid("patch", msgspec.json.encode(patched).decode(), why)])


@dataclass(frozen=True)
class _Nameless:
    """A patch is not yet of any kind."""

    group: str = ""
    plural: str = ""
    kind: str = ""


def _as_go(value: Any) -> str:
    """A JSON value as Go prints it with `%+v`."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case dict():
            return f"map[{' '.join(f'{key}:{_as_go(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(_as_go, value))}]"
    return str(value)


_OF_TYPE = re.compile(r"json: cannot unmarshal (string|number) into .* of type (\w+)")


def _unconverted(why: str) -> str:
    """What is said of a value of a wrong type where no JSON is read but values are converted."""
    found = _OF_TYPE.fullmatch(why)
    if found is None:
        return why
    given, wanted = found.groups()
    return f"unrecognized type: {wanted}" if given == "string" else f"cannot convert int64 to {wanted}"
