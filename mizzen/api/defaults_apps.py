"""Defaults of the workload kinds."""

from __future__ import annotations

from mizzen.api import defaults_pod, defaults_storage
from mizzen.api.edit import each, edited, filled
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core

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


def stateful_set(obj: apps.StatefulSet) -> apps.StatefulSet:
    """One replica, one after the other, rolling update one by one; claims are kept."""
    keep = obj.spec.persistent_volume_claim_retention_policy or apps.StatefulSetPersistentVolumeClaimRetentionPolicy()
    strategy = filled(obj.spec.update_strategy, type="RollingUpdate")
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update or apps.RollingUpdateStatefulSetStrategy()
        strategy = edited(strategy, rolling_update=filled(rolling, partition=0))
    spec = edited(
        obj.spec,
        template=defaults_pod.template(obj.spec.template),
        update_strategy=strategy,
        volume_claim_templates=each(obj.spec.volume_claim_templates, defaults_storage.claim),
        persistent_volume_claim_retention_policy=filled(keep, when_deleted="Retain", when_scaled="Retain"),
    )
    spec = filled(
        spec, replicas=REPLICAS, revision_history_limit=REVISION_HISTORY, pod_management_policy="OrderedReady"
    )
    return edited(obj, spec=spec)


def daemon_set(obj: apps.DaemonSet) -> apps.DaemonSet:
    """Rolling update node by node, ten old revisions."""
    strategy = filled(obj.spec.update_strategy, type="RollingUpdate")
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update or apps.RollingUpdateDaemonSet()
        strategy = edited(strategy, rolling_update=filled(rolling, max_unavailable=1, max_surge=0))
    spec = edited(obj.spec, template=defaults_pod.template(obj.spec.template), update_strategy=strategy)
    return edited(obj, spec=filled(spec, revision_history_limit=REVISION_HISTORY))


def replication_controller(obj: core.ReplicationController) -> core.ReplicationController:
    """One replica; selector and labels are those of the template."""
    spec, metadata = obj.spec, obj.metadata
    if spec.template is not None:
        labels = spec.template.metadata.labels
        spec = edited(spec, template=defaults_pod.template(spec.template), selector=spec.selector or labels)
        metadata = edited(metadata, labels=metadata.labels or labels)
    return edited(obj, metadata=metadata, spec=filled(spec, replicas=REPLICAS))


def pod_template(obj: core.PodTemplate) -> core.PodTemplate:
    """What templates of pods have."""
    return edited(obj, template=defaults_pod.template(obj.template))
