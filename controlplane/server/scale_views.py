"""The scale of a workload as an object of its own, seen in a stored object and written back into one."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from controlplane.server.representations import shown
from mizzen.api import codec, errors, selectors
from mizzen.api.custom import CustomKind, ScalePaths, at, with_value
from mizzen.api.kinds import Kind
from mizzen.api.managed import objects, sets
from mizzen.api.types import autoscaling_v1 as autoscaling
from mizzen.api.types import meta_v1 as meta

MESSAGE = codec.message_name(autoscaling.Scale)
SCALE = "scale"
KIND = Kind(autoscaling.Scale, "autoscaling", "v1", "Scale", "scales", stored=False)
_REPLICAS: sets.Node = {sets.field("spec"): {sets.field("replicas"): sets.LEAF}}
"""The one field of a scale that somebody sets; the table's kinds have it under the same path."""
_FIELDS = msgspec.Raw(sets.text(_REPLICAS))


def scale_of(kind: Kind[Any], obj: Any) -> autoscaling.Scale:
    """The scale of a stored object. Raises InternalError for one of a user's kind that says no number."""
    metadata: meta.ObjectMeta = obj.metadata
    return autoscaling.Scale(
        metadata=meta.ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
            managed_fields=tuple(
                replace(entry, api_version=KIND.api_version, fields_v1=_FIELDS)
                for entry in objects.owns(obj, _number(kind))
            ),
        ),
        spec=autoscaling.ScaleSpec(replicas=_wanted(kind, obj)),
        status=_reached(kind, obj),
    )


def _number(kind: Kind[Any]) -> sets.Node:
    """The field of a workload that is its scale's."""
    paths = paths_of(kind)
    if paths is None:
        return _REPLICAS
    node = sets.LEAF
    for name in reversed(paths.spec):
        node = {sets.field(name): node}
    return node


def _wanted(kind: Kind[Any], obj: Any) -> int:
    paths = paths_of(kind)
    if paths is None:
        return obj.spec.replicas or 0
    number = at(shown(kind, obj).content, paths.spec)
    if not isinstance(number, int):
        raise errors.InternalError(f'the spec replicas field ".{".".join(paths.spec)}" does not exist')
    return number


def _reached(kind: Kind[Any], obj: Any) -> autoscaling.ScaleStatus:
    paths = paths_of(kind)
    if paths is None:
        return autoscaling.ScaleStatus(
            replicas=obj.status.replicas, selector=str(selectors.of_workload(obj.spec.selector))
        )
    number, selector = at(obj.content, paths.status), at(obj.content, paths.selector) if paths.selector else ""
    return autoscaling.ScaleStatus(
        replicas=number if isinstance(number, int) else 0, selector=selector if isinstance(selector, str) else ""
    )


def paths_of(kind: Kind[Any]) -> ScalePaths | None:
    """Where a user's kind keeps its numbers; the table's kinds all keep them in the same fields."""
    return kind.scale if isinstance(kind, CustomKind) else None


def valid(scale: autoscaling.Scale, name: str) -> int:
    """The number of replicas that a scale asks for. Raises Invalid."""
    replicas = scale.spec.replicas
    if replicas < 0:
        error = errors.FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.Invalid(errors.Named("autoscaling", "scales", "Scale"), name, [error])
    return replicas


def scaled(kind: Kind[Any], old: Any, scale: autoscaling.Scale) -> Any:
    """The workload with the scale's number. Raises Invalid below zero, Conflict for another object."""
    replicas = valid(scale, old.metadata.name)
    metadata = replace(
        old.metadata,
        uid=scale.metadata.uid or old.metadata.uid,
        resource_version=scale.metadata.resource_version,
    )
    if (paths := paths_of(kind)) is not None:
        # Without a version it is the newest state that is scaled; replacing it whole would need one.
        metadata = replace(metadata, resource_version=metadata.resource_version or old.metadata.resource_version)
        return replace(old, metadata=metadata, content=with_value(old.content, paths.spec, replicas))
    return replace(old, metadata=metadata, spec=replace(old.spec, replicas=replicas))
