"""Defaults of the workload kinds."""

from __future__ import annotations

from mizzen.api import defaults_pod
from mizzen.api.edit import edited, filled
from mizzen.api.types import apps_v1 as apps

REPLICAS = 1
REVISION_HISTORY = 10
PROGRESS_DEADLINE_S = 600
ROLLING_SHARE = "25%"


def deployment(obj: apps.Deployment) -> apps.Deployment:
    """One replica, rolling update by a quarter, ten old revisions, ten minutes to make progress."""
    spec = filled(
        edited(obj.spec, template=defaults_pod.template(obj.spec.template), strategy=_strategy(obj.spec.strategy)),
        replicas=REPLICAS,
        revision_history_limit=REVISION_HISTORY,
        progress_deadline_seconds=PROGRESS_DEADLINE_S,
    )
    return edited(obj, spec=spec)


def replica_set(obj: apps.ReplicaSet) -> apps.ReplicaSet:
    """One replica."""
    spec = edited(obj.spec, template=defaults_pod.template(obj.spec.template))
    return edited(obj, spec=filled(spec, replicas=REPLICAS))


def _strategy(strategy: apps.DeploymentStrategy) -> apps.DeploymentStrategy:
    strategy = filled(strategy, type="RollingUpdate")
    if strategy.type != "RollingUpdate":
        return strategy
    rolling = strategy.rolling_update or apps.RollingUpdateDeployment()
    return edited(strategy, rolling_update=filled(rolling, max_unavailable=ROLLING_SHARE, max_surge=ROLLING_SHARE))
