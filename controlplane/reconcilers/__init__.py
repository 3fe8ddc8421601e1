"""The controllers, each a pure reconciler."""

from __future__ import annotations

from controlplane.reconcilers import (
    definitions,
    deployment,
    endpointslice,
    eventexpiry,
    garbage,
    namespace,
    nodeipam,
    nodelifecycle,
    podgc,
    replicaset,
    tainteviction,
)
from mizzen.engine.controller import Controller
from mizzen.engine.values import Instant


def every_controller(
    since: Instant, *, node_grace_ms: int, cluster_cidr: str, node_prefix: int
) -> tuple[Controller, ...]:
    """All controllers of a control plane that leads since then.

    `node_grace_ms`: silence after which a node counts as lost; `cluster_cidr` and `node_prefix`: the pods' addresses
    and the length of one node's share.
    """
    return (
        deployment.CONTROLLER,
        replicaset.CONTROLLER,
        endpointslice.CONTROLLER,
        nodelifecycle.controller(node_grace_ms, since),
        tainteviction.CONTROLLER,
        nodeipam.controller(cluster_cidr, node_prefix),
        podgc.CONTROLLER,
        garbage.CONTROLLER,
        definitions.CONTROLLER,
        namespace.CONTROLLER,
        eventexpiry.CONTROLLER,
    )
