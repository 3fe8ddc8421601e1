"""The annotation in which `kubectl apply` keeps what it applied last, before servers knew of managers.

Two things make the way from there to server-side apply smooth, and only for the manager `kubectl`: what the annotation
says was applied may be taken over from whoever owns it, and an annotation that is there is kept up to date.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mizzen.api.managed import sets, values
from mizzen.api.managed.entries import Writer
from mizzen.api.managed.sets import LEAF, Node
from mizzen.api.managed.shapes import Shape
from mizzen.api.managed.values import Json

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"
_MAX_BYTES = 256 * 1024
"""What annotations may have in all; a bigger configuration is not kept."""
_OWN: Node = {"f:metadata": {"f:annotations": {sets.field(ANNOTATION): LEAF}}}


def taken_over(live: Json, shape: Shape, writer: Writer) -> Node | None:
    """The fields that `kubectl` may take over, because it set them as they are; None where it may not at all."""
    text = _annotations(live).get(ANNOTATION)
    if writer.manager != MANAGER or not isinstance(text, str):
        return None
    try:
        last = msgspec.json.decode(text)
        if not isinstance(last, dict) or last.get("apiVersion") != writer.api_version:
            return None
        last = values.checked(last, shape)
    except (msgspec.DecodeError, values.BadValue, RecursionError):
        return None
    difference = values.compare(last, live, shape)
    as_set = values.fields_of(last, shape)
    for other in (difference.changed, difference.removed):
        as_set = sets.difference(as_set, other)
    return sets.union(as_set, _OWN)


def synchronised(merged: Json, live: Json, config: Json, manager: str) -> Json:
    """The merged object with the annotation, where there is one, telling what has been applied now."""
    if manager != MANAGER or ANNOTATION not in _annotations(live):
        return merged
    metadata = dict(config.get("metadata") or {})
    given = metadata.get("annotations")
    annotations = {name: value for name, value in given.items() if name != ANNOTATION} if given else {}
    kept: dict[str, Any] = {**config, "metadata": {**metadata, "annotations": annotations}}
    text = msgspec.json.encode(kept, order="sorted").decode() + "\n"
    after = dict(_annotations(merged))
    if len(text) > _MAX_BYTES:
        after.pop(ANNOTATION, None)
    else:
        after[ANNOTATION] = text
    return {**merged, "metadata": {**(merged.get("metadata") or {}), "annotations": after}}


def _annotations(obj: Json) -> dict[str, Any]:
    found = (obj.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}
