"""What storage drivers (CSI) say of nodes: how many volumes each takes, and where there is room to make more.

A driver's bound on a node counts the different volumes of the pods there, however many pods use each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from controlplane.scheduling.wants import Reach
from mizzen.api import kinds, quantity, volumes
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.engine import indexes
from mizzen.engine.view import View

TOO_MANY = "node(s) exceed max volume count"
NO_DRIVER = "node(s) don't have the CSI driver of a volume"
NO_SPACE = "node(s) did not have enough free storage"

Handles = Mapping[str, frozenset[str]]
"""Volumes by their driver."""


class Drivers:
    """What drivers say during one pass."""

    def __init__(self, view: View, node_of: Callable[[str, str], str]) -> None:
        """`node_of` gives the node of a pod by namespace and name, also of one that is assumed there."""
        self._view = view
        self._node_of = node_of
        self._used: dict[str, defaultdict[str, set[str]]] = {}

    def reaches(self, wanted: Handles) -> list[Reach]:
        """The nodes that take a pod's volumes; nothing to ask for where all of them do."""
        if not wanted:
            return []
        bounds = self._bounds(wanted)
        full = {
            node
            for driver, handles in wanted.items()
            for node, most in bounds.get(driver, {}).items()
            if len(self._on(driver)[node] | handles) > max(most, len(self._on(driver)[node]))
        }
        found = [self._all_but(full, TOO_MANY)] if full else []
        strict = [name for name in wanted if self._keeps_off(name)]
        without = {
            node.metadata.name
            for node in (self._view.list(kinds.NODE) if strict else ())
            if not set(strict) <= self._drivers_on(node.metadata.name)
        }
        return [*found, *([self._all_but(without, NO_DRIVER)] if without else [])]

    def placed(self, wanted: Handles, node: str) -> None:
        """A pod with these volumes has got a node."""
        for driver, handles in wanted.items():
            if driver in self._used:
                self._used[driver][node] |= handles

    def room_for(
        self, claim: core_v1.PersistentVolumeClaim, found: storage_v1.StorageClass
    ) -> list[core_v1.NodeSelectorTerm] | None:
        """Where a driver has room for a claim; None where it does not say so, which is not held against it."""
        driver = self._view.get(kinds.CSI_DRIVER, "", found.provisioner)
        if driver is None or not driver.spec.storage_capacity:
            return None
        return [
            _term(one.node_topology)
            for one in self._view.list(kinds.CSI_STORAGE_CAPACITY)
            if one.storage_class_name == found.metadata.name
            and one.node_topology is not None
            and _is_enough(one, claim)
        ]

    def _bounds(self, wanted: Handles) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for node in self._view.list(kinds.CSI_NODE):
            for driver in node.spec.drivers:
                if driver.name in wanted and driver.allocatable is not None and driver.allocatable.count is not None:
                    found.setdefault(driver.name, {})[node.metadata.name] = driver.allocatable.count
        return found

    def _drivers_on(self, node: str) -> set[str]:
        found = self._view.get(kinds.CSI_NODE, "", node)
        return {driver.name for driver in found.spec.drivers} if found is not None else set()

    def _keeps_off(self, name: str) -> bool:
        driver = self._view.get(kinds.CSI_DRIVER, "", name)
        return driver is not None and bool(driver.spec.prevent_pod_scheduling_if_missing)

    def _on(self, driver: str) -> defaultdict[str, set[str]]:
        """The driver's volumes on each node."""
        if driver not in self._used:
            used: defaultdict[str, set[str]] = defaultdict(set)
            for volume in self._view.list(kinds.PERSISTENT_VOLUME):
                csi, ref = volume.spec.csi, volume.spec.claim_ref
                if csi is None or ref is None or csi.driver != driver:
                    continue
                place = indexes.namespaced(ref.namespace, ref.name)
                for pod in self._view.select(indexes.PODS_BY_CLAIM, place):
                    if node := self._node_of(pod.metadata.namespace, pod.metadata.name):
                        used[node].add(csi.volume_handle)
            self._used[driver] = used
        return self._used[driver]

    def _all_but(self, refused: set[str], reason: str) -> Reach:
        names = tuple(sorted(node.metadata.name for node in self._view.list(kinds.NODE)))
        left = tuple(name for name in names if name not in refused)
        if not left:
            return Reach((), reason)
        named = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=left)
        return Reach(
            (core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_fields=(named,)),)),), reason
        )


def handles_of(
    bound: Sequence[core_v1.PersistentVolume], waiting: Sequence[tuple[core_v1.PersistentVolumeClaim, str]]
) -> Handles:
    """The volumes of a pod by their driver; those that are still to be made, with their provisioner, count, too."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for volume in bound:
        if volume.spec.csi is not None:
            found[volume.spec.csi.driver].add(volume.spec.csi.volume_handle)
    for claim, provisioner in waiting:
        # Like no handle that a driver gives.
        found[provisioner].add(f"{claim.metadata.namespace}/{claim.metadata.name}")
    return {driver: frozenset(handles) for driver, handles in sorted(found.items())}


def _is_enough(capacity: storage_v1.CSIStorageCapacity, claim: core_v1.PersistentVolumeClaim) -> bool:
    most = capacity.maximum_volume_size or capacity.capacity
    return most is not None and quantity.compare(volumes.requested(claim), most) <= 0


def _term(topology: meta_v1.LabelSelector) -> core_v1.NodeSelectorTerm:
    """A selector of labels in the words of nodes."""
    exact = tuple(
        core_v1.NodeSelectorRequirement(key=key, operator="In", values=(value,))
        for key, value in sorted(topology.match_labels.items())
    )
    more = tuple(
        core_v1.NodeSelectorRequirement(key=one.key, operator=one.operator, values=one.values)
        for one in topology.match_expressions
    )
    return core_v1.NodeSelectorTerm(match_expressions=(*exact, *more))
