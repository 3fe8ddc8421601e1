"""The template for pods that an object carries."""

from __future__ import annotations

from typing import Any

from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core

_WITH_TEMPLATE = (
    apps.Deployment, apps.ReplicaSet, apps.StatefulSet, apps.DaemonSet, batch.Job, core.ReplicationController,
)  # fmt: skip


def template_of(obj: Any) -> core.PodTemplateSpec | None:
    """What the pods of an object are made from; None for objects that make none."""
    template: core.PodTemplateSpec | None
    if isinstance(obj, _WITH_TEMPLATE):
        template = obj.spec.template
    elif isinstance(obj, core.PodTemplate):
        template = obj.template
    elif isinstance(obj, batch.CronJob):
        template = obj.spec.job_template.spec.template
    else:
        return None
    return template
