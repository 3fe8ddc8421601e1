"""Which pod would be better off elsewhere, were it to be placed again."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.scheduling.claims import Claims
from controlplane.scheduling.passes import Scheduler
from controlplane.scheduling.ranking import Ranking
from controlplane.scheduling.wants import wants_of
from mizzen.api.types import core_v1
from mizzen.engine.placing import Better
from mizzen.engine.view import View


def better(pods: Sequence[core_v1.Pod], view: View) -> Better | None:
    """The pod that would gain most, with its best node; None where all are as well placed as they can be.

    Each is scored as if it alone had no node. So one that moves to the node that is named can't gain by going back. A
    pod is passed over whose node would not take it now, and one that is held by its claims: they reach some nodes only,
    or it is the only one that may use them.
    """
    scheduler = Scheduler.of(view)
    cluster = scheduler.cluster
    cluster.refresh()
    claims = Claims(view, cluster.node_of)
    found: list[Better] = []
    for pod in pods:
        needs = claims.needs(pod)
        if needs.refusal or needs.occupied or needs.waiting or needs.reaches or pod.spec.node_name not in cluster.names:
            continue
        cluster.drop_pod(pod.metadata.namespace, pod.metadata.name)
        ranking = Ranking(cluster, wants_of(pod), scheduler.packing)
        best, here = ranking.best(), ranking.score(cluster.names.index(pod.spec.node_name))
        if best is not None and here is not None:
            there = ranking.score(best)
            if there is not None and there > here:
                found.append(Better(pod, cluster.names[best], there - here))
        cluster.set_pod(pod)
    return min(found, key=lambda one: (-one.gain, one.pod.metadata.name), default=None)
