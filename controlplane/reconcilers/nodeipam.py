"""Gives every node its range of pod addresses.

All nodes are one key: two decisions on two nodes could both see the same range as free.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

import msgspec

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Effect, Emit, Update, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "node-ipam-controller"
ALL_NODES = Key(kinds.NODE.resource, "", "")


def controller(cluster_cidr: str, node_prefix: int) -> Controller:
    """The controller: ranges of `/node_prefix` out of `cluster_cidr`."""
    cluster = ipaddress.IPv4Network(cluster_cidr)

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        return decide(view, cluster, node_prefix) if key == ALL_NODES else Decision()

    return Controller(
        name="node_ipam", kind=kinds.NODE, reconcile=reconcile, watches=((kinds.NODE, _all_nodes),), workers=1
    )


def decide(view: View, cluster: ipaddress.IPv4Network, node_prefix: int) -> Decision:
    """The lowest free range for each node that has none."""
    nodes = view.list(kinds.NODE)
    missing = [node for node in nodes if not node.spec.pod_cidr and node.metadata.deletion_timestamp is None]
    if not missing:
        return Decision()
    used = {node.spec.pod_cidr for node in nodes if node.spec.pod_cidr}
    free = _free(cluster, node_prefix, used)
    effects: list[Effect] = []
    for node in missing:
        cidr = next(free, None)
        if cidr is None:
            message = f"no free /{node_prefix} is left in the cluster's pod addresses {cluster}"
            effects.append(Emit(node, "Warning", "CIDRNotAvailable", message, COMPONENT))
            waiting = Waiting("CIDRNotAvailable", message, Key(kinds.NODE.resource, "", node.metadata.name))
            return Decision(tuple(effects), wake_after_ms=60_000, waiting=(waiting,))
        spec = msgspec.structs.replace(node.spec, pod_cidr=cidr, pod_cidrs=(cidr,))
        effects.append(Update(msgspec.structs.replace(node, spec=spec)))
    return Decision(tuple(effects))


def _free(cluster: ipaddress.IPv4Network, node_prefix: int, used: set[str]) -> Iterator[str]:
    return (text for subnet in cluster.subnets(new_prefix=node_prefix) if (text := str(subnet)) not in used)


def _all_nodes(obj: Object, view: View) -> Iterable[Key]:
    return [ALL_NODES]
