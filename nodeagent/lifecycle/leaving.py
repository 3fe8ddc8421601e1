"""When nobody sends a leaving pod new connections any more.

What the pod's Services lead to is written in endpoint slices, which every node turns into rules. A pod that is to end
has left once no slice offers it, and once the rules of all nodes are as new as the slices that say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mizzen.api.types import discovery_v1 as discovery

LEAVE_MAX_MS = 5_000
"""How long the end of a pod waits for other nodes, which may be cut off; at most half of the pod's grace, too."""


class Shown(NamedTuple):
    """What the slices say of a pod."""

    offered: bool
    """Some slice offers it to new connections."""
    version: int
    """The newest of the slices that name it; 0: there is none."""


def shown(uid: str, slices: Iterable[tuple[discovery.EndpointSlice, int]]) -> Shown:
    """What slices, each with its version, say of the pod of this uid; those that never drop a leaving pod left out."""
    offered, newest = False, 0
    for item, version in slices:
        for endpoint in item.endpoints:
            if endpoint.target_ref is None or endpoint.target_ref.uid != uid:
                continue
            newest = max(newest, version)
            offered = offered or endpoint.conditions.ready is not False
    return Shown(offered, newest)


def leave_by_ms(since_ms: int, by_ms: int) -> int:
    """Until when the end of a pod, asked for at `since_ms` and due at `by_ms`, may wait for the nodes."""
    return since_ms + min(LEAVE_MAX_MS, (by_ms - since_ms) // 2)
