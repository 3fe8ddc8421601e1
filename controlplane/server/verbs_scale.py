"""Reading and setting the number of replicas of a workload, whatever its kind."""

from __future__ import annotations

import dataclasses
from typing import Any

from controlplane.server.scale_views import KIND, MESSAGE, SCALE, paths_of, scale_of, scaled, valid
from controlplane.server.verbs_read import Reads
from controlplane.server.verbs_write import WriteOptions, Writes, Written
from mizzen.api import codec, patch, schema
from mizzen.api.custom import at, with_value
from mizzen.api.kinds import Kind
from mizzen.api.managed import applying
from mizzen.api.managed.values import Json
from mizzen.api.types import autoscaling_v1 as autoscaling


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
        through = dataclasses.replace(options, subresource=SCALE)
        written = await self._writes.change(kind, namespace, name, lambda old: scaled(kind, old, scale), through)
        return scale_of(kind, written.object), written

    async def patch(
        self, kind: Kind[Any], namespace: str, name: str, media_type: str, body: bytes, options: WriteOptions
    ) -> tuple[autoscaling.Scale, Written]:
        """Change the scale by a patch."""

        def patched(old: Any) -> Any:
            value = patch.apply(media_type, body, codec.to_dict(scale_of(kind, old)), schema.message(MESSAGE))
            scale, _ = codec.decode_dict(value, autoscaling.Scale, validation=options.validation)
            return scaled(kind, old, scale)

        through = dataclasses.replace(options, subresource=SCALE)
        written = await self._writes.change(kind, namespace, name, patched, through)
        return scale_of(kind, written.object), written

    async def apply(
        self, kind: Kind[Any], namespace: str, name: str, config: Json, options: WriteOptions
    ) -> tuple[autoscaling.Scale, Written]:
        """Apply a scale: what it says is applied to the workload. Raises BadRequest and Conflict."""
        scale = applying.checked(config, KIND, namespace)
        value = {**scale, "apiVersion": kind.api_version, "kind": kind.kind}
        value.pop("status", None)
        paths = paths_of(kind)
        if paths is not None and at(value.pop("spec", None), ("replicas",)) is not None:
            replicas = valid(codec.from_dict(scale, autoscaling.Scale), name)
            value = with_value(value, paths.spec, replicas)
        through = dataclasses.replace(options, subresource=SCALE)
        written = await self._writes.apply(kind, namespace, name, value, through)
        return scale_of(kind, written.object), written
