"""One object's part of a commit: what is written where, and which version it must meet there.

A write may bring others along, such as the account of what its object uses up; all of them happen, or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mizzen.api.kinds import Kind, Object, kind_of


@dataclass(frozen=True, slots=True)
class Write:
    """Made by `creation`, `replacement` or `removal`."""

    kind: Kind[Any]
    namespace: str
    name: str
    object: Any
    """The new object; None for a removal."""
    expect: int
    """The version that must be there; 0: nothing may be there."""
    beside: tuple[Write, ...] = ()
    """Writes of other objects without which this one may not happen."""


def creation(obj: Object) -> Write:
    """Store an object that must not exist yet."""
    return Write(kind_of(obj), obj.metadata.namespace, obj.metadata.name, obj, 0)


def replacement(obj: Object, expect: int) -> Write:
    """Store an object in place of its version `expect`."""
    if expect < 1:
        raise ValueError(f"{obj.kind} {obj.metadata.name!r}: a replacement needs the version it replaces, not {expect}")
    return Write(kind_of(obj), obj.metadata.namespace, obj.metadata.name, obj, expect)


def removal(kind: Kind[Any], namespace: str, name: str, expect: int) -> Write:
    """Take an object at version `expect` out of the store."""
    if expect < 1:
        raise ValueError(f"{kind.kind} {name!r}: a removal needs the version it removes, not {expect}")
    return Write(kind, namespace, name, None, expect)


def unfolded(writes: Iterable[Write]) -> tuple[Write, ...]:
    """All writes of a commit, each followed by those that it brings along."""
    return tuple(one for write in writes for one in (write, *write.beside))
