"""Stores what node agents report of storage drivers: which run on the node, and which volumes have grown there."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from controlplane.store.registry import Registry
from mizzen.api import errors, kinds, times, volumes
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.engine import indexes
from mizzen.engine.values import Clock, Ids

ATTEMPTS = 8
"""Others write, too; each conflict means that somebody got on, so a few rounds suffice."""
_RESIZES = ("FileSystemResizePending", "Resizing", "NodeResizeError", "ControllerResizeError")
"""Conditions of a claim that end when its volume has grown."""


class Writer(Protocol):
    """How objects are written in a node's name."""

    def owned(self, made: Any) -> Any:
        """A new object whose fields are known to be the agent's."""
        ...

    async def replaced(self, changed: Any, old: Any, subresource: str = "") -> bool:
        """Whether the object could be replaced; False after a conflict, with the cache brought up to date."""
        ...


class StorageReports:
    """Applies such reports to the registry."""

    def __init__(self, registry: Registry, clock: Clock, ids: Ids, writer: Writer) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._writer = writer

    async def drivers(self, name: str, reported: storage_v1.CSINode) -> None:
        """The CSINode of a node, and the labels that its drivers have for it. Raises ApiError or StoreError."""
        for _ in range(ATTEMPTS):
            node = self._registry.view.get(kinds.NODE, "", name)
            if node is None:
                return
            labels = {**node.metadata.labels, **reported.metadata.labels}
            labelled = msgspec.structs.replace(node, metadata=msgspec.structs.replace(node.metadata, labels=labels))
            if labels != node.metadata.labels and not await self._writer.replaced(labelled, node):
                continue
            if await self._csi_node(node, reported.spec):
                return
        raise errors.Conflict(kinds.CSI_NODE, name)

    async def _csi_node(self, node: core_v1.Node, spec: storage_v1.CSINodeSpec) -> bool:
        name = node.metadata.name
        before = self._registry.view.get(kinds.CSI_NODE, "", name)
        if before is not None:
            changed = msgspec.structs.replace(before, spec=spec)
            return changed == before or await self._writer.replaced(changed, before)
        owner = meta_v1.OwnerReference(api_version="v1", kind="Node", name=name, uid=node.metadata.uid)
        metadata = meta_v1.ObjectMeta(
            name=name,
            uid=self._ids.uid("csinode"),
            creation_timestamp=times.render(self._clock.now()),
            owner_references=(owner,),
        )
        try:
            await self._registry.create(self._writer.owned(storage_v1.CSINode(metadata=metadata, spec=spec)))
        except errors.AlreadyExists:
            await self._registry.fresh()
            return False
        return True

    async def claim_grown(
        self, node: str, namespace: str, name: str, reported: core_v1.PersistentVolumeClaimStatus
    ) -> None:
        """A claim of a pod of the node shows its volume's new size. Raises ApiError or StoreError."""
        for _ in range(ATTEMPTS):
            claim = self._registry.view.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, name)
            if claim is None or not self._is_mounted(node, namespace, name):
                return
            status = claim.status
            capacity = {**status.capacity, volumes.STORAGE: reported.capacity.get(volumes.STORAGE, "0")}
            statuses = {key: how for key, how in status.allocated_resource_statuses.items() if key != volumes.STORAGE}
            conditions = tuple(one for one in status.conditions if one.type not in _RESIZES)
            grown = msgspec.structs.replace(
                status, capacity=capacity, allocated_resource_statuses=statuses, conditions=conditions
            )
            if grown == status:
                return
            if await self._writer.replaced(msgspec.structs.replace(claim, status=grown), claim, "status"):
                return
        raise errors.Conflict(kinds.PERSISTENT_VOLUME_CLAIM, name)

    def _is_mounted(self, node: str, namespace: str, name: str) -> bool:
        pods = self._registry.view.select(indexes.PODS_BY_CLAIM, indexes.namespaced(namespace, name))
        return any(pod.spec.node_name == node for pod in pods)
