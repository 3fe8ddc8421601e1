"""The objects that the control plane sent to this node, as it sent them, and which of them have changed.

A session begins with a round: everything that concerns the node, or only what changed since the version that the
agent had. When a whole round is complete, whatever was not in it is gone. Until the first round is complete the agent
lives on what its checkpoint kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import structlog

from mizzen.api import kinds
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Entry
from mizzen.engine.values import Key
from mizzen.engine.view import Index
from nodeagent.network.services import SERVICE_NAME_LABEL

_LOG = structlog.get_logger(__name__)


def _service_of(item: discovery.EndpointSlice) -> Iterable[str]:
    owner = item.metadata.labels.get(SERVICE_NAME_LABEL)
    return (f"{item.metadata.namespace}/{owner}",) if owner else ()


def _pods_of(item: discovery.EndpointSlice) -> Iterable[str]:
    return {endpoint.target_ref.uid for endpoint in item.endpoints if endpoint.target_ref is not None}


SLICES_OF_SERVICE: Index[discovery.EndpointSlice] = Index("service", kinds.ENDPOINT_SLICE, _service_of)
SLICES_OF_POD: Index[discovery.EndpointSlice] = Index("pod", kinds.ENDPOINT_SLICE, _pods_of)


class Told(NamedTuple):
    """One object as it was sent; `raw` is empty when it is gone or no longer concerns the node."""

    key: Key
    version: int
    raw: bytes


class Objects:
    """A cache and what its session has told so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cache = Cache((SLICES_OF_SERVICE, SLICES_OF_POD))
        self.epoch = ""
        """Names the control plane's history that versions belong to."""
        self.version = 0
        self.synced = False
        """A round has been completed since the agent started."""
        self._round: set[Key] | None = None

    def restore(self, epoch: str, version: int, entries: Iterable[Told]) -> None:
        """Take over what a checkpoint kept."""
        self.epoch, self.version = epoch, version
        for told in entries:
            self._take(told)

    def begin_round(self, epoch: str, *, resumed: bool) -> None:
        """A session has begun; `resumed`: it goes on where the last one ended, so what is not sent stays as it is."""
        self._round = None if resumed else set()
        self.epoch = epoch

    def apply(self, items: Iterable[Told], version: int, *, synced: bool) -> list[Key]:
        """Take in a batch; returns the keys that have changed, in order."""
        changed: list[Key] = []
        for told in items:
            if self._round is not None:
                self._round.add(told.key)
            if self._take(told):
                changed.append(told.key)
        if synced:
            changed += self._drop_unsent()
            self.synced = True
        self.version = max(version, self.version) if self._round is None else version
        self.cache.advance(version)
        return changed

    def _drop_unsent(self) -> list[Key]:
        sent, self._round = self._round, None
        if sent is None:
            return []
        dropped = [key for key in self.known() if key not in sent]
        for key in dropped:
            self.cache.remove(kinds.BY_RESOURCE[key.resource], key.namespace, key.name)
        return dropped

    def _take(self, told: Told) -> bool:
        kind = kinds.BY_RESOURCE.get(told.key.resource)
        if kind is None:
            _LOG.warning("object_of_unknown_kind", resource=told.key.resource, name=told.key.name)
            return False
        if not told.raw:
            return self.cache.remove(kind, told.key.namespace, told.key.name) is not None
        before = self.cache.entry(kind, told.key.namespace, told.key.name)
        if before is not None and before.raw == told.raw:
            return False
        self.cache.put(Entry(kind, told.key.namespace, told.key.name, told.version, told.raw))
        return True

    def known(self) -> list[Key]:
        """Every object there is."""
        return [entry.key for entry in self.entries()]

    def entries(self) -> Sequence[Entry]:
        """Every object there is, with its bytes."""
        return [entry for kind in tuple(self.cache.kinds()) for entry in self.cache.entries(kind)]

    def pods(self) -> Sequence[core.Pod]:
        """The pods assigned to this node."""
        return self.cache.list(kinds.POD)

    def get(self, key: Key) -> Any | None:
        """The object of a key."""
        kind: Kind[Any] = kinds.BY_RESOURCE[key.resource]
        return self.cache.get(kind, key.namespace, key.name)
