"""What a decision may read: one consistent revision of the cluster's objects.

A `View` is a value for its reader: it does not change while a decision runs. The cache and an overlay over it both
are views. Indexes are declared, so a view can keep them up to date instead of scanning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mizzen.api.catalog import Catalog
from mizzen.api.kinds import Kind, Object

T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True, eq=False)
class Index(Generic[T]):
    """A declared index: every object of `kind` is found under each value that `keys` gives for it."""

    name: str
    kind: Kind[T]
    keys: Callable[[T], Iterable[str]]


class View(Protocol):
    """Objects at one revision; every sequence is ordered by (namespace, name)."""

    @property
    def revision(self) -> int:
        """The highest resource version that this view contains."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The kinds that there are."""
        ...

    def get(self, kind: Kind[T], namespace: str, name: str) -> T | None:
        """The object, or None; the namespace is empty for cluster-scoped kinds."""
        ...

    def list(self, kind: Kind[T], namespace: str = "") -> Sequence[T]:
        """All objects of a kind in one namespace, or in all where it is empty."""
        ...

    def select(self, index: Index[T], value: str) -> Sequence[T]:
        """The objects that a declared index holds under a value."""
        ...

    def count(self, index: Index[Any], value: str) -> int:
        """How many objects a declared index holds under a value; cheaper than to look at them."""
        ...
