"""The entries of `metadata.managedFields`: what updating and applying do to them.

Why: every write says whose fields it sets, so that a later apply can tell what it may change, what it would take from
somebody else, and what nobody needs any more. What it is not: it knows no kinds, no defaults and no stored objects;
everything is JSON and shapes.

Vocabulary
- *writer*: a manager in one way of writing (operation, API version, subresource); each has one entry.
- *own*: a manager owns a path that is in its entry's set. Several may own the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Raw
from msgspec.structs import replace

from mizzen.api.managed import sets, values
from mizzen.api.managed.sets import LEAF, SELF, Node
from mizzen.api.managed.shapes import Shape
from mizzen.api.managed.values import Difference, Json
from mizzen.api.types.meta_v1 import ManagedFieldsEntry

Entries = tuple[ManagedFieldsEntry, ...]

UPDATERS_MAX = 10
"""Entries of updates; beyond these the oldest become one."""
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
COMMAND_LINE = "mizzen"
"""The manager of what our own clients write."""
UNKNOWN = "unknown"
"""The name of a manager without one."""
APPLY: Literal["Apply"] = "Apply"
UPDATE: Literal["Update"] = "Update"
_TYPE = "FieldsV1"
_SYSTEM: Node = {
    "f:apiVersion": LEAF,
    "f:kind": LEAF,
    "f:metadata": {SELF: LEAF}
    | {
        f"f:{name}": LEAF
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
            "resourceVersion",
        )
    },
}  # fmt: skip
"""Fields that identify an object or belong to the server; nobody owns them."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and how."""

    manager: str
    api_version: str
    operation: Literal["Apply", "Update"] = UPDATE
    subresource: str = ""
    """Empty for the object itself."""

    def wrote(self, entry: ManagedFieldsEntry) -> bool:
        """Whether an entry is this writer's. One who applies stays the same over all versions of a kind."""
        return (
            entry.manager == self.manager
            and entry.operation == self.operation
            and entry.subresource == self.subresource
            and (entry.api_version == self.api_version or self.operation == APPLY)
        )

    def entry(self, fields: Node, time: str) -> ManagedFieldsEntry:
        """The entry of these fields."""
        return ManagedFieldsEntry(
            manager=self.manager,
            operation=self.operation,
            api_version=self.api_version,
            time=time,
            fields_type=_TYPE,
            fields_v1=Raw(sets.text(fields)),
            subresource=self.subresource,
        )


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that an apply would change and somebody else owns."""

    owner: ManagedFieldsEntry
    path: str


class Conflicts(Exception):
    """An apply would change what others own."""

    def __init__(self, found: Sequence[tuple[ManagedFieldsEntry, Node]]) -> None:
        super().__init__(f"{len(found)} managers own fields that would change")
        self.found = found

    @property
    def all(self) -> list[Conflict]:
        """Every field, by manager and path."""
        return [Conflict(owner, path) for owner, fields in self.found for path in sets.paths(fields)]

    def without(self, allowed: Node) -> list[tuple[ManagedFieldsEntry, Node]]:
        """The conflicts about other fields than these."""
        rest = [(owner, sets.difference(fields, allowed)) for owner, fields in self.found]
        return [(owner, fields) for owner, fields in rest if fields]


def fields_in(entry: ManagedFieldsEntry) -> Node:
    """The set of an entry that the server made; nobody may change it."""
    return sets.known(bytes(entry.fields_v1))


def accepted(given: Entries) -> Entries | None:
    """Entries that a client sent, in canonical form; None when they can't be what the server could have made."""
    result = []
    for entry in given:
        if entry.operation not in (APPLY, UPDATE) or entry.fields_type != _TYPE:
            return None
        try:
            fields = sets.parse(bytes(entry.fields_v1))
        except sets.BadFields:
            return None
        result.append(replace(entry, fields_v1=Raw(sets.text(fields))))
    return tuple(sorted(result, key=_order))


def without_system(fields: Node) -> Node:
    """The fields that can be owned."""
    return sets.difference(fields, _SYSTEM)


def updated(entries: Entries, difference: Difference, writer: Writer, time: str) -> Entries:
    """The entries after a write that made this difference: who changes a field takes it, what is gone nobody owns."""
    changed, removed = without_system(difference.changed), without_system(difference.removed)
    if not changed and not removed:
        return entries
    touched = [f'"{step}"'.encode() for step in {**changed, **removed}]
    result: list[ManagedFieldsEntry] = []
    own: ManagedFieldsEntry | None = None
    for entry in entries:
        mine = writer.wrote(entry)
        text = bytes(entry.fields_v1)
        if not mine and not any(step in text for step in touched):
            result.append(entry)
            continue
        before = sets.known(text)
        rest = sets.difference(before, removed)
        rest = sets.union(rest, changed) if mine else sets.difference(rest, changed)
        if rest is not before:
            entry = replace(entry, fields_v1=Raw(sets.text(rest)))
        if mine:
            own = entry = replace(entry, time=time) if changed else entry
        if rest:
            result.append(entry)
    if own is None and changed:
        result.append(writer.entry(changed, time))
        result = _capped(result)
    elif not changed or result[-1] is own:
        # Only the writer's time has moved on, and it was the last already.
        return tuple(result)
    return tuple(sorted(result, key=_order))


def applied(
    entries: Entries,
    live: Json,
    config: Json,
    shape: Shape,
    writer: Writer,
    time: str,
    *,
    forced: Node | None = LEAF,
) -> tuple[Json, Entries]:
    """The object and its entries after a configuration has been applied.

    `live` has no managed fields in it. Fields in `forced` are taken from others, all of them where it is None. Raises
    Conflicts for those that somebody else owns and that would get another value.
    """
    wanted = without_system(values.fields_of(config, shape))
    merged = values.merge(live, config, shape)
    own = next((entry for entry in entries if writer.wrote(entry)), None)
    others = [entry for entry in entries if entry is not own]
    if own is not None:
        owned = sets.union(wanted, _SYSTEM)
        for entry in others:
            owned = sets.union(owned, fields_in(entry))
        merged = values.prune(merged, fields_in(own), owned, shape) or {}
    difference = values.compare(live, merged, shape)
    changed, removed = without_system(difference.changed), without_system(difference.removed)
    conflicts = Conflicts([(one, both) for one in others if (both := sets.intersection(fields_in(one), changed))])
    if forced is not None and (left := conflicts.without(forced)):
        raise Conflicts(left)
    result = []
    for entry in others:
        rest = sets.difference(sets.difference(fields_in(entry), changed), removed)
        if rest:
            result.append(entry if rest is fields_in(entry) else replace(entry, fields_v1=Raw(sets.text(rest))))
    if wanted:
        result.append(writer.entry(wanted, time))
    return merged, tuple(sorted(result, key=_order))


def same_but_for_times(left: Entries, right: Entries) -> bool:
    """Whether two lists of entries differ in nothing but times."""
    if left == right:
        return True
    if len(left) != len(right):
        return False
    bare = [sorted((replace(one, time=None) for one in many), key=_order) for many in (left, right)]
    return bare[0] == bare[1]


def is_reset(given: Entries) -> bool:
    """Whether a client asks to forget all managers: one entry with nothing in it."""
    return given == (ManagedFieldsEntry(),)


def _order(entry: ManagedFieldsEntry) -> tuple[str, str, str, str, str]:
    return (entry.operation, entry.time or "", entry.manager, entry.api_version, entry.subresource)


def _capped(entries: Iterable[ManagedFieldsEntry]) -> list[ManagedFieldsEntry]:
    """The entries with the oldest updates of each API version put together, where there are too many."""
    result = list(entries)
    updates = sorted((one for one in result if one.operation == UPDATE), key=lambda one: (one.time or "", _order(one)))
    excess = len(updates) - UPDATERS_MAX
    first: dict[str, ManagedFieldsEntry] = {}
    for entry in updates:
        if excess <= 0:
            break
        bucket = first.get(entry.api_version)
        if bucket is None:
            first[entry.api_version] = entry
            continue
        fields = sets.union(fields_in(bucket), fields_in(entry))
        both = replace(Writer(ANCIENT, entry.api_version).entry(fields, ""), time=entry.time)
        result = [one for one in result if one is not bucket and one is not entry] + [both]
        first[entry.api_version] = both
        excess -= 1
    return result
