"""Which endpoints of a service a node prefers, by the hints that the control plane writes into slices. Pure.

The order is kube-proxy's: a hint counts only where every ready endpoint has one, so that no node is led by half of the
truth while slices change; whoever finds none for itself uses all.
"""

from __future__ import annotations

from collections.abc import Sequence

from mizzen.api.types import discovery_v1 as discovery


def preferred(ready: Sequence[discovery.Endpoint], node: str, zone: str) -> Sequence[discovery.Endpoint]:
    """Of the ready endpoints those that are meant for a node, else those for its zone (empty: unknown), else all."""
    by_node = [{hint.name for hint in one.hints.for_nodes} if one.hints is not None else set() for one in ready]
    if all(by_node) and any(node in names for names in by_node):
        return [one for one, names in zip(ready, by_node, strict=True) if node in names]
    by_zone = [{hint.name for hint in one.hints.for_zones} if one.hints is not None else set() for one in ready]
    if zone and all(by_zone) and any(zone in names for names in by_zone):
        return [one for one, names in zip(ready, by_zone, strict=True) if zone in names]
    return ready
