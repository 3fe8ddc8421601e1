"""What a controller is: the contract between a reconciler (pure) and the driver that runs it.

A reconciler's module ends with one constant of this type. The driver watches the sources, queues the keys they map
to, and calls `reconcile` with one key at a time; the same key never runs twice at once and not before the view holds
what its last run wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mizzen.api.kinds import Kind, Object
from mizzen.engine.effects import Decision
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

Reconcile: TypeAlias = Callable[[Key, View, Instant, Ids], Decision]
"""`reconcile(key, view, now, ids) -> Decision`: right after a restart, with no memory of earlier runs."""

Mapper: TypeAlias = Callable[[Any, View], Iterable[Key]]
"""`mapper(object, view) -> keys` to run because this object was added, changed or deleted.

It is called with the object as it was before *and* as it is after a change; for a deletion with the last state.
"""

Facet: TypeAlias = Callable[[Any], Any]
"""What of an object somebody looks at, as a value to compare; None where there is nothing to look at."""


def membership(obj: Object) -> tuple[Any, ...]:
    """A facet: by what objects find each other, which seldom changes; a namespace and a name never do."""
    return obj.metadata.labels, obj.metadata.owner_references


@dataclass(frozen=True, slots=True, eq=False)
class ByMembership:
    """A mapper that reads nothing of an object but its name and its `membership`.

    So it is asked once where that stays as it was, instead of before and after the change.
    """

    mapper: Mapper

    def __call__(self, obj: Any, view: View) -> Iterable[Key]:
        """See `Mapper`."""
        return self.mapper(obj, view)


@dataclass(frozen=True, slots=True, eq=False)
class Controller:
    """One controller: whose keys it runs, on what changes, and how."""

    name: str
    """In Kubernetes' words, e.g. `deployment`; it labels the `workqueue_*` metrics and the logs."""
    kind: Kind[Any]
    """The kind whose objects are the keys; a change of such an object always queues its own key."""
    reconcile: Reconcile
    watches: tuple[tuple[Kind[Any], Mapper], ...] = ()
    """Further kinds, with the function that says which keys a change of such an object concerns."""
    custom: Mapper | None = None
    """As in `watches`, for the objects of all kinds that users define."""
    sees: Mapping[Kind[Any], Facet] = field(default_factory=dict)
    """For kinds that change much more often than what decisions read of them: a change that leaves the facet as it was
    is not told, nor an object that has and had none. Whole objects count of all other kinds."""
    settle_ms: int = 0
    """How long further changes of watched objects are waited for before a key runs; its own changes run it at once."""
    resync_ms: int = 0
    """Run every key again after this time even when nothing changes; 0: never."""
    workers: int = 4
    """How many keys may have their effects performed at the same time."""
