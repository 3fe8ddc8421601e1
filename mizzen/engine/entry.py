"""What the cache holds of one object, and what is told about one change of it.

An entry keeps the object's stamped bytes; the decoded object is made when somebody asks and kept while it is hot.
Entries are shared by cache, history and lists, and never change their content.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from mizzen.api.kinds import Kind
from mizzen.engine.canonical import decode, restamp
from mizzen.engine.values import Key


class Entry(msgspec.Struct, gc=False, eq=False):
    """One object at one version. `gc=False` because entries refer to values only, never back to a container."""

    kind: Kind[Any]
    namespace: str
    name: str
    version: int
    raw: bytes
    """Canonical JSON with `metadata.resourceVersion`."""
    decoded: Any = None
    """The object, if it has been decoded and not been forgotten since."""
    used: bool = False
    """Read since the hot ring last passed here."""
    indexed: tuple[tuple[str, ...], ...] = ()
    """The values under which each index of the kind holds this entry; the cache's own note."""
    message: bytes | None = None
    """For whoever sends the object on as protobuf: its bytes, made once and smaller than `raw`."""
    row: Any = None
    """For whoever shows the object in a table: its row, made once."""

    @property
    def key(self) -> Key:
        """The object's name in full."""
        return Key(self.kind.resource, self.namespace, self.name)

    def object(self) -> Any:
        """Return the decoded object without making it hot."""
        return decode(self.kind, self.raw) if self.decoded is None else self.decoded


class ChangeType(StrEnum):
    """What happened, in the words of a Kubernetes watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Change(msgspec.Struct, gc=False, eq=False):
    """One change of one object."""

    type: ChangeType
    version: int
    entry: Entry
    """The object after the change; for DELETED the last it was, with the version of the deletion."""
    previous: Entry | None = None
    """The object before the change; None for ADDED."""
    memo: Any = None
    """For whoever sends changes on: the encoded frame, so that it is made once for all receivers."""

    @property
    def key(self) -> Key:
        """The changed object's name."""
        return self.entry.key


def deletion(previous: Entry, version: int) -> Change:
    """Return the change that says `previous` was deleted at `version`."""
    raw = restamp(previous.kind, previous.raw, version)
    last = Entry(previous.kind, previous.namespace, previous.name, version, raw)
    return Change(ChangeType.DELETED, version, last, previous)


def replacement(previous: Entry | None, entry: Entry) -> Change:
    """Return the change from `previous` (None: there was nothing) to `entry`."""
    kind = ChangeType.ADDED if previous is None else ChangeType.MODIFIED
    return Change(kind, entry.version, entry, previous)
