"""What is allowed but probably not meant; shown to whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking
from mizzen.api.types import storage_v1 as storage

_WITH_TEMPLATE = (
    apps.Deployment, apps.ReplicaSet, apps.StatefulSet, apps.DaemonSet, batch.Job,
)  # fmt: skip
_GROUPS_NOT_ACTED_ON = (
    "flowcontrol.apiserver.k8s.io/", "resource.k8s.io/",
)  # fmt: skip
_NOT_ACTED_ON = (
    networking.Ingress, networking.ServiceCIDR, storage.CSIDriver, storage.CSINode,
    storage.CSIStorageCapacity, storage.VolumeAttachment, storage.VolumeAttributesClass,
)  # fmt: skip
"""Kinds, and groups, whose objects have no effect yet; whoever relies on them must know."""


def warnings_for(obj: Any) -> tuple[str, ...]:
    """The warnings for an object that is about to be stored."""
    if isinstance(obj, _NOT_ACTED_ON) or obj.api_version.startswith(_GROUPS_NOT_ACTED_ON):
        return (f"{obj.kind} is stored, but this server does not act on it",)
    if isinstance(obj, core.Pod):
        return tuple(_pod_spec(obj.spec, "spec"))
    if isinstance(obj, core.PodTemplate):
        return tuple(_pod_spec(obj.template.spec, "template.spec"))
    if isinstance(obj, batch.CronJob):
        template = obj.spec.job_template.spec.template
        return tuple(_pod_spec(template.spec, "spec.jobTemplate.spec.template.spec"))
    if isinstance(obj, _WITH_TEMPLATE) and obj.spec.template is not None:
        return tuple(_pod_spec(obj.spec.template.spec, "spec.template.spec"))
    return ()


def _pod_spec(spec: core.PodSpec, path: str) -> Iterator[str]:
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for place, container in enumerate(containers):
            yield from _env(container, f"{path}.{field}[{place}]")


def _env(container: core.Container, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for place, variable in enumerate(container.env):
        if variable.name in seen:
            yield (
                f'{path}.env[{place}]: hides previous definition of "{variable.name}", '
                "which may be dropped when using apply"
            )
        seen.add(variable.name)
