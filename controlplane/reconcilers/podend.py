"""Removes the objects of ended pods when there are too many: those that are nobody's only record any longer.

Whoever owns a pod, a Job say, has counted it or holds it with a finalizer, so an old one may go.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller, Reconcile
from mizzen.engine.effects import Decision, Delete
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

KEPT = 12_500
"""How many ended pods are kept."""
AT_ONCE = 500
"""How many one decision removes at most."""
SETTLE_MS = 20_000
"""How long ended pods are collected before they are counted."""
_EVERYTHING = Key(kinds.NAMESPACE.resource, "", "kube-system")
"""The one key: a namespace that is always there stands for the cluster."""


def _reconcile(kept: int, at_once: int) -> Reconcile:
    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        """The cluster: the oldest ended pods beyond what is kept go, evicted ones before others."""
        if key != _EVERYTHING or view.count(indexes.PODS_BY_END, indexes.ENDED) <= kept:
            return Decision()
        ended = [
            pod for pod in view.select(indexes.PODS_BY_END, indexes.ENDED) if pod.metadata.deletion_timestamp is None
        ]
        surplus = max(0, len(ended) - kept)
        going = sorted(ended, key=_age)[: min(surplus, at_once)]
        return Decision(tuple(_removed(pod) for pod in going))

    return reconcile


def _age(pod: core_v1.Pod) -> tuple[bool, str, str, str]:
    return (
        pod.status.reason != "Evicted",
        pod.metadata.creation_timestamp or "",
        pod.metadata.namespace,
        pod.metadata.name,
    )


def _removed(pod: core_v1.Pod) -> Delete:
    key = Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name)
    return Delete(key, pod.metadata.uid, grace_period_s=0)


def _cluster_of(obj: Object, view: View) -> Iterable[Key]:
    return [_EVERYTHING] if isinstance(obj, core_v1.Pod) and obj.status.phase in ("Succeeded", "Failed") else []


def controller(kept: int = KEPT, at_once: int = AT_ONCE) -> Controller:
    """The controller that keeps so many ended pods and removes at most so many at a time."""
    return Controller(
        name="ended_pod_collector",
        kind=kinds.NAMESPACE,
        reconcile=_reconcile(kept, at_once),
        watches=((kinds.POD, _cluster_of),),
        settle_ms=SETTLE_MS,
    )
