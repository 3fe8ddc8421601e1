"""Between objects and the store's bytes: which key an object lies under, and what its value says.

What it is not: it reads and writes nothing. What lies encrypted is the store's own business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import structlog

from controlplane.store import keys
from controlplane.store.values import EventType, Record, WatchEvent
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.kinds import Kind
from mizzen.engine import canonical
from mizzen.engine.entry import Entry
from mizzen.engine.replica import Told

_LOG = structlog.get_logger(__name__)

Known: TypeAlias = Callable[[Kind[Any], str, str], Entry | None]
"""Looks an entry up by kind, namespace and name."""


class Objects:
    """Turns objects into values and back."""

    def __init__(self) -> None:
        """Know every kind of the table that is stored, and later what `catalog` is set to."""
        self.catalog: Catalog = BUILT_IN

    def key(self, kind: Kind[Any], namespace: str, name: str) -> str:
        """Return an object's key. Raises ValueError for a kind that has no storage of its own, or a wrong name."""
        if not kind.stored:
            raise ValueError(f"{kind.api_version} {kind.kind} is stored as another kind")
        if kind.namespaced is not bool(namespace):
            raise ValueError(f"{kind.kind} {name!r}: namespace {namespace!r} where namespaced is {kind.namespaced}")
        return keys.object_key(kind.group, kind.plural, namespace, name)

    def told(self, record: Record, known: Known) -> Told | None:
        """Return an object as the log tells it.

        What is not readable as one is logged and stays as it was known before (None: not at all). What `known` has at
        the same version, because this process wrote it, is taken from there.
        """
        place = self._place(record.key)
        if place is None:
            return None
        entry = known(*place)
        if entry is not None and entry.version == record.version:
            return Told(*place, entry.version, entry.raw, entry.decoded)
        kind = place[0]
        try:
            raw = canonical.stamp(kind, record.value, record.version)
            return Told(*place, record.version, raw, canonical.decode(kind, raw))
        except msgspec.DecodeError as error:
            # Somebody else's hand. What was known before stays: forgetting it would delete what depends on it.
            _LOG.error("object_unreadable", key=record.key, version=record.version, error=str(error))
            return None if entry is None else Told(*place, entry.version, entry.raw, entry.decoded)

    def news(self, event: WatchEvent, known: Known) -> Told | None:
        """Return one change as the log tells it; None for what is not readable."""
        if event.type is EventType.PUT:
            return self.told(Record(event.key, event.value, event.version), known)
        place = self._place(event.key)
        return None if place is None else Told(*place, event.version, None)

    def _place(self, key: str) -> tuple[Kind[Any], str, str] | None:
        try:
            group, plural, namespace, name = keys.parse(key)
        except ValueError:
            return None
        kind = self.catalog.by_place.get((group, plural))
        return None if kind is None else (kind, namespace, name)
