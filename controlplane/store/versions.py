"""How versions and values lie in etcd: revision and position in one number, the line that ends a stored value. Pure.

etcd gives one revision to a whole transaction, so each change needs its place in it:

- A *put* keeps its position with its value, in a last line such as ``@005 1f2e3d4c.a7``: position and *mark*. Positions
  are given from 0 upwards when the transaction is built, whether or not the put will happen, so gaps are normal.
- A *delete* leaves nothing to keep a position in. The deletes that happened are numbered from 127 downwards, beginning
  with the last one of the transaction. The writer knows them from the outcomes, a watcher from the events, which etcd
  delivers in the order of execution and never splits over a revision without saying so.

Puts and deletes cannot meet, since a transaction holds at most 128 operations. The *mark* names the commit that wrote
the value (``<writer>.<number>``); by it a writer whose answer was lost finds out whether its commit happened.

A value without such a line, put there by hand, counts as position 0. Deleting more than 128 keys of the store in one
transaction by hand makes deletes share position 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.store.values import POSITIONS, Op, Put, Remove

LAST_POSITION = POSITIONS - 1
"""Where the numbering of deletes begins."""

_POSITIONS = {b"%03d " % position: position for position in range(POSITIONS)}


def version_at(revision: int, position: int) -> int:
    """Return the version of the change at `position` in the transaction of etcd's `revision`."""
    return revision * POSITIONS + position


def revision_of(version: int) -> int:
    """Return the etcd revision that a version belongs to."""
    return version // POSITIONS


def expected_revision(expect: int) -> int:
    """Return the revision that a key must be at for an operation that expects version `expect`; 0: must not exist.

    A version that nothing can have must not be taken for absence: it becomes revision 1, at which etcd begins empty.
    """
    return max(1, revision_of(expect)) if expect else 0


def pack(value: bytes, position: int, mark: bytes) -> bytes:
    """Return `value` as it is stored."""
    return b"%b\n@%03d %b" % (value, position, mark)


def unpack(stored: bytes) -> tuple[bytes, int]:
    """Return the value and the position of what lies in etcd."""
    cut = stored.rfind(b"\n@")
    position = _POSITIONS.get(stored[cut + 2 : cut + 6]) if cut >= 0 else None
    return (stored, 0) if position is None else (stored[:cut], position)


def mark_of(stored: bytes) -> bytes:
    """Return the mark of what lies in etcd, empty for what was put there by hand."""
    value, _ = unpack(stored)
    return stored[len(value) + 6 :]


def watch_start(seen: int) -> int:
    """Return the revision from which to ask etcd for the changes after version `seen`.

    One revision more than needed: etcd accepts a watch from exactly the compacted revision, although the deletes of
    that revision may be gone. Asking for one earlier turns this into an honest refusal. The surplus is filtered out.
    """
    return max(1, revision_of(seen + 1) - 1)


def first_safe(compacted: int) -> int:
    """Return the first version that can be read and watched from after etcd compacted at revision `compacted`."""
    return version_at(compacted, LAST_POSITION)


def number(commits: Sequence[tuple[Op, ...]], happened: Iterable[bool], revision: int) -> list[tuple[int, ...]]:
    """Return the versions of all operations of a transaction, commit by commit; zeros for a commit that did not happen.

    Puts take positions whether they happen or not, in the order in which `pack` was given them.
    """
    done = list(happened)
    deletes = sum(type(op) is Remove for ops, ok in zip(commits, done, strict=True) if ok for op in ops)
    put_at = version_at(revision, 0)
    delete_at = version_at(revision + 1, 0) - deletes
    numbered: list[tuple[int, ...]] = []
    for ops, ok in zip(commits, done, strict=True):
        numbers: list[int] = []
        for op in ops:
            version = 0
            if type(op) is Put:
                version = put_at
                put_at += 1
            elif ok and type(op) is Remove:
                version = delete_at
                delete_at += 1
            numbers.append(version if ok else 0)
        numbered.append(tuple(numbers))
    return numbered
