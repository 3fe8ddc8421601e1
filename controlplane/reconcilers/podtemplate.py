"""From a pod template to a pod."""

from __future__ import annotations

from controlplane.reconcilers import ownership
from mizzen.api import config_versions
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.values import Ids

BASE_MAX = 58
"""Characters of a random name before its suffix: so it fits into a label, as where the API makes one up."""


def pod_of(owner: Object, template: core_v1.PodTemplateSpec, ids: Ids) -> core_v1.Pod:
    """A new pod of a template, controlled by `owner`, with a random name."""
    prefix = f"{owner.metadata.name}-"
    name = prefix[:BASE_MAX] + ids.suffix(f"pod/{owner.metadata.uid}")
    return named_pod(owner, template, name, generate_name=prefix)


def named_pod(owner: Object, template: core_v1.PodTemplateSpec, name: str, *, generate_name: str = "") -> core_v1.Pod:
    """The same under a given name."""
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(
            generate_name=generate_name,
            name=name,
            namespace=owner.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=(ownership.controller_reference(owner),),
        ),
        spec=config_versions.pod_spec(template),
    )
