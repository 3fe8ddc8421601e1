"""The scale of a workload: its number of replicas seen as an object of its own, the same for every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from controlplane.server.representations import shown
from controlplane.server.verbs_read import Reads
from controlplane.server.verbs_write import WriteOptions, Writes, Written
from mizzen.api import codec, errors, patch, schema, selectors
from mizzen.api.custom import CustomKind, ScalePaths, at, with_value
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v1 as autoscaling
from mizzen.api.types import meta_v1 as meta

_MESSAGE = codec.message_name(autoscaling.Scale)


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
        ),
        spec=autoscaling.ScaleSpec(replicas=_wanted(kind, obj)),
        status=_reached(kind, obj),
    )


def _wanted(kind: Kind[Any], obj: Any) -> int:
    paths = _paths(kind)
    if paths is None:
        return obj.spec.replicas or 0
    number = at(shown(kind, obj).content, paths.spec)
    if not isinstance(number, int):
        raise errors.InternalError(f'the spec replicas field ".{".".join(paths.spec)}" does not exist')
    return number


def _reached(kind: Kind[Any], obj: Any) -> autoscaling.ScaleStatus:
    paths = _paths(kind)
    if paths is None:
        return autoscaling.ScaleStatus(replicas=obj.status.replicas, selector=str(_selector(obj.spec.selector)))
    number, selector = at(obj.content, paths.status), at(obj.content, paths.selector) if paths.selector else ""
    return autoscaling.ScaleStatus(
        replicas=number if isinstance(number, int) else 0, selector=selector if isinstance(selector, str) else ""
    )


def _paths(kind: Kind[Any]) -> ScalePaths | None:
    """Where a user's kind keeps its numbers; the table's kinds all keep them in the same fields."""
    return kind.scale if isinstance(kind, CustomKind) else None


def _selector(selector: meta.LabelSelector | Mapping[str, str] | None) -> selectors.Selector:
    return selectors.from_labels(selector) if isinstance(selector, Mapping) else selectors.from_field(selector)


def _scaled(kind: Kind[Any], old: Any, scale: autoscaling.Scale) -> Any:
    """The workload with the scale's number. Raises Invalid below zero, Conflict for another object."""
    replicas = scale.spec.replicas
    if replicas < 0:
        error = errors.FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.Invalid(errors.Named("autoscaling", "scales", "Scale"), old.metadata.name, [error])
    metadata = replace(
        old.metadata,
        uid=scale.metadata.uid or old.metadata.uid,
        resource_version=scale.metadata.resource_version,
    )
    if (paths := _paths(kind)) is not None:
        # Without a version it is the newest state that is scaled; replacing it whole would need one.
        metadata = replace(metadata, resource_version=metadata.resource_version or old.metadata.resource_version)
        return replace(old, metadata=metadata, content=with_value(old.content, paths.spec, replicas))
    return replace(old, metadata=metadata, spec=replace(old.spec, replicas=replicas))


class Scales:
    """Reading and setting the number of replicas."""

    def __init__(self, reads: Reads, writes: Writes) -> None:
        """Work on the objects themselves."""
        self._reads = reads
        self._writes = writes

    async def get(self, kind: Kind[Any], namespace: str, name: str) -> autoscaling.Scale:
        """The scale. Raises NotFound."""
        return scale_of(kind, (await self._reads.get(kind, namespace, name)).object())

    async def update(
        self, kind: Kind[Any], namespace: str, name: str, scale: autoscaling.Scale, options: WriteOptions
    ) -> tuple[autoscaling.Scale, Written]:
        """Set the number of replicas; with a resource version the workload must be at that version."""
        written = await self._writes.change(kind, namespace, name, lambda old: _scaled(kind, old, scale), options)
        return scale_of(kind, written.object), written

    async def patch(
        self, kind: Kind[Any], namespace: str, name: str, media_type: str, body: bytes, options: WriteOptions
    ) -> tuple[autoscaling.Scale, Written]:
        """Change the scale by a patch."""

        def patched(old: Any) -> Any:
            value = patch.apply(media_type, body, codec.to_dict(scale_of(kind, old)), schema.message(_MESSAGE))
            scale, _ = codec.decode_dict(value, autoscaling.Scale, validation=options.validation)
            return _scaled(kind, old, scale)

        written = await self._writes.change(kind, namespace, name, patched, options)
        return scale_of(kind, written.object), written
