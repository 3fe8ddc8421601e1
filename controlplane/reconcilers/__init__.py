"""The controllers, each a pure reconciler."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.reconcilers import (
    allocations,
    apiservers,
    apiservices,
    attachdetach,
    autoscaler,
    certificates,
    clusterroleaggregation,
    configrollout,
    cronjob,
    daemonset,
    definitions,
    deployment,
    disruption,
    endpointmirror,
    endpoints,
    endpointslice,
    ephemeralvolume,
    eventexpiry,
    garbage,
    ingress,
    job,
    loadbalancer,
    namespace,
    nodeipam,
    nodelifecycle,
    persistentvolume,
    persistentvolumeclaim,
    podend,
    podgc,
    policystatus,
    protection,
    rebalance,
    replicaset,
    resourcequota,
    rollback,
    rootca,
    serviceaccount,
    servicecidr,
    startorder,
    statefulset,
    tainteviction,
    tokensecrets,
)
from controlplane.reconcilers.scalingmetrics import NO_SOURCES, Sources
from mizzen.api.types import core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.placing import Better, FindBetter
from mizzen.engine.values import Instant
from mizzen.engine.view import View

_ASKED_FOR = (
    rollback.CONTROLLER,
    configrollout.DEPLOYMENTS,
    configrollout.STATEFUL_SETS,
    configrollout.DAEMON_SETS,
    startorder.CONTROLLER,
)
"""What objects ask for by annotations."""
_SERVICES = (
    endpoints.CONTROLLER,
    endpointslice.CONTROLLER,
    endpointmirror.CONTROLLER,
    servicecidr.CONTROLLER,
    allocations.SERVICES,
    allocations.ADDRESSES,
    ingress.CONTROLLER_OF_INGRESSES,
    ingress.CONTROLLER_OF_THE_CLASS,
)
"""Services, who is behind them, and how they are reached."""
_STORAGE = (
    ephemeralvolume.CONTROLLER,
    persistentvolumeclaim.CONTROLLER,
    persistentvolume.CONTROLLER,
    attachdetach.CONTROLLER,
    protection.CLAIMS,
    protection.VOLUMES,
    protection.ATTRIBUTES,
)
"""Claims and volumes."""


def well_placed(pods: Sequence[core_v1.Pod], view: View) -> Better | None:
    """Which pod would be better off elsewhere, where nobody scores nodes: none."""
    del pods, view
    return None


def every_controller(
    since: Instant,
    *,
    node_grace_ms: int,
    cluster_cidr: str,
    node_prefix: int,
    ca_pem: str = "",
    sources: Sources = NO_SOURCES,
    find_better: FindBetter = well_placed,
    event_ttl_ms: int = eventexpiry.TTL_MS,
    balancer_pool: loadbalancer.Pool = (),
) -> tuple[Controller, ...]:
    """All controllers of a control plane that leads since then.

    `node_grace_ms`: silence after which a node counts as lost; `cluster_cidr` and `node_prefix`: the pods' addresses
    and the length of one node's share; `ca_pem`: the authority that pods are told of, nobody without one; `sources`:
    the figures that autoscalers go by; `find_better`: which pods would be better off on other nodes; `event_ttl_ms`:
    how long events are kept; `balancer_pool`: the addresses of load balancers, none without one.
    """
    return (
        deployment.CONTROLLER,
        *_ASKED_FOR,
        rebalance.controller(find_better),
        replicaset.CONTROLLER,
        replicaset.REPLICATION_CONTROLLERS,
        statefulset.CONTROLLER,
        daemonset.CONTROLLER,
        job.CONTROLLER,
        job.EXPIRY,
        cronjob.CONTROLLER,
        disruption.CONTROLLER,
        disruption.STALE,
        autoscaler.controller(sources),
        *_SERVICES,
        nodelifecycle.controller(node_grace_ms, since),
        tainteviction.CONTROLLER,
        nodeipam.controller(cluster_cidr, node_prefix),
        podgc.CONTROLLER,
        podend.controller(),
        garbage.CONTROLLER,
        definitions.CONTROLLER,
        policystatus.CONTROLLER,
        namespace.CONTROLLER,
        eventexpiry.controller(event_ttl_ms),
        resourcequota.CONTROLLER,
        *_STORAGE,
        apiservers.controller(since),
        apiservices.CONTROLLER,
        serviceaccount.CONTROLLER,
        tokensecrets.CONTROLLER,
        clusterroleaggregation.CONTROLLER,
        certificates.CONTROLLER,
        *((rootca.controller(ca_pem),) if ca_pem else ()),
        *((loadbalancer.controller(balancer_pool),) if balancer_pool else ()),
    )
