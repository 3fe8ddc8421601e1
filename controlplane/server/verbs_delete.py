"""Deleting one object or many."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from controlplane.access.values import UserInfo
from controlplane.admission import Operation, Request, deletion
from controlplane.admission.deletion import Deletion
from controlplane.server.admit import Admission
from controlplane.server.conversions import Conversions
from controlplane.server.representations import storage
from controlplane.server.verbs_read import ListOptions, Reads
from controlplane.server.verbs_write import TRIES
from controlplane.store.registry import Registry
from mizzen.api import errors
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.engine.entry import Entry
from mizzen.engine.values import Clock
from mizzen.engine.writes import removal, replacement

AT_ONCE = 32
"""Objects of a collection that are deleted at the same time."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete."""

    how: Deletion = field(default_factory=Deletion)
    uid: str = ""
    """When set, the object must be this one."""
    resource_version: str = ""
    """When set, the object must be at this version."""
    dry_run: bool = False
    user: UserInfo | None = None
    """Who asks; None for the control plane itself."""
    verb_options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the verb as JSON, for those who have a say in what is admitted."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a deletion."""

    object: Any
    """The last state, or the state in which the object waits."""
    gone: bool
    warnings: tuple[str, ...] = ()


class Deletes:
    """The verbs that delete."""

    def __init__(
        self, registry: Registry, reads: Reads, clock: Clock, admission: Admission, conversions: Conversions
    ) -> None:
        """Delete from `registry` what `admission` lets go; it is shown in the form that `conversions` gives it."""
        self._conversions = conversions
        self._registry = registry
        self._reads = reads
        self._clock = clock
        self._admission = admission

    async def delete(self, kind: Kind[Any], namespace: str, name: str, options: DeleteOptions) -> Deleted:
        """Delete an object, or let it begin to go. Raises NotFound, Forbidden, or Conflict for a precondition."""
        own = storage(kind)
        await self._registry.fresh()
        for _ in range(TRIES):
            entry = self._registry.cache.entry(own, namespace, name)
            if entry is None:
                raise errors.NotFound(kind, name)
            old = entry.object()
            check_preconditions(own, old, options)
            seen = await self._conversions.object(kind, entry)
            warnings = await self._admit(kind, namespace, name, seen, options)
            left = deletion.delete(old, options.how, self._clock.now())
            try:
                deleted = await self._store(entry, old, left, options.dry_run)
                # Deleting touches nothing but metadata, so what was seen of the rest is still right.
                shown = deleted.object if seen is old else structs.replace(seen, metadata=deleted.object.metadata)
                return replace(deleted, object=shown, warnings=warnings)
            except errors.Conflict:
                await self._registry.fresh()
        raise errors.Conflict(kind, name)

    async def delete_collection(
        self, kind: Kind[Any], namespace: str, selection: ListOptions, options: DeleteOptions
    ) -> list[Deleted]:
        """Delete what matches, and say what became of each; what is gone in the meantime is left out."""
        listing = await self._reads.list(kind, namespace, selection)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(entry: Entry) -> Deleted | None:
            async with gate:
                try:
                    return await self.delete(kind, entry.namespace, entry.name, options)
                except errors.NotFound:
                    return None

        done = await asyncio.gather(*(one(entry) for entry in listing.entries))
        return [deleted for deleted in done if deleted is not None]

    async def _admit(
        self, kind: Kind[Any], namespace: str, name: str, old: Any, options: DeleteOptions
    ) -> tuple[str, ...]:
        request = Request(
            Operation.DELETE,
            storage(kind),
            namespace,
            name,
            old,
            served=kind if isinstance(kind, CustomKind) else None,
            seen_as=None if kind.stored or isinstance(kind, CustomKind) else kind,
            user=options.user,
            dry_run=options.dry_run,
            options=options.verb_options,
        )
        return (await self._admission.admit(request, old)).warnings

    async def _store(self, entry: Entry, old: Any, left: Any | None, dry_run: bool) -> Deleted:
        if left is None:
            if dry_run:
                return Deleted(old, gone=True)
            write = removal(entry.kind, entry.namespace, entry.name, entry.version)
            return Deleted((await self._registry.commit((write,)))[0], gone=True)
        if left == old or dry_run:
            return Deleted(left, gone=False)
        return Deleted((await self._registry.commit((replacement(left, entry.version),)))[0], gone=False)


def check_preconditions(kind: Kind[Any], obj: Any, options: DeleteOptions) -> None:
    """Raises Conflict where the object is another one, or another version, than the client means."""
    metadata = obj.metadata
    if options.uid and options.uid != metadata.uid:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {metadata.uid}"
        raise errors.Conflict(kind, metadata.name, why)
    if options.resource_version and options.resource_version != metadata.resource_version:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {metadata.resource_version}"
        )
        raise errors.Conflict(kind, metadata.name, why)
