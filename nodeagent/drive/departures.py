"""Watches pods of this node leave the rules of all nodes, so that none is ended while it is sent new connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mizzen.api import kinds
from mizzen.api.types import discovery_v1 as discovery
from mizzen.engine.values import Key
from nodeagent.drive.objects import SLICES_OF_POD, Objects
from nodeagent.drive.reach import Reach
from nodeagent.lifecycle.leaving import shown
from nodeagent.network.services import SERVICE_NAME_LABEL


class Departures:
    """The pods that are leaving, by uid."""

    def __init__(self, objects: Objects, reach: Reach) -> None:
        """`objects` are what the control plane told; `reach` says how far all nodes are."""
        self._objects = objects
        self._reach = reach
        self._leaving: dict[str, int] = {}
        """The version in which no slice offers the pod any more; 0 while some does."""
        self.changed: Callable[[str], None] = lambda _: None
        """Called with the uid of a pod for which `is_served` may have changed."""
        reach.changed = self._look_again

    def is_served(self, uid: str) -> bool:
        """Whether some node may still lead new connections to a pod that is to end, which is followed from now on.

        A version that was once enough stays enough: the slices go on changing with other pods.
        """
        version = self._leaving.get(uid, 0)
        if not version:
            found = shown(uid, self._slices(uid))
            if not found.version:
                return False
            version = self._leaving[uid] = 0 if found.offered else found.version
            self._ask()
        return not version or version > self._reach.reached

    def forget(self, uid: str) -> None:
        """A pod has gone, or is to live after all."""
        if self._leaving.pop(uid, None) is not None:
            self._ask()

    def objects_changed(self, keys: Iterable[Key]) -> None:
        """Objects have changed; those of other kinds are passed over."""
        if self._leaving and any(key.resource == kinds.ENDPOINT_SLICE.resource for key in keys):
            self._look_again()

    def _slices(self, uid: str) -> Iterator[tuple[discovery.EndpointSlice, int]]:
        cache = self._objects.cache
        for entry in cache.selected(SLICES_OF_POD, uid):
            item: discovery.EndpointSlice = entry.object()
            name = item.metadata.labels.get(SERVICE_NAME_LABEL, "")
            service = cache.get(kinds.SERVICE, entry.namespace, name)
            if service is not None and not service.spec.publish_not_ready_addresses:
                yield item, entry.version

    def _look_again(self) -> None:
        for uid in tuple(self._leaving):
            self.changed(uid)

    def _ask(self) -> None:
        self._reach.ask({version for version in self._leaving.values() if version > self._reach.reached})
