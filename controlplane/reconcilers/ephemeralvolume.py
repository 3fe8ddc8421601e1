"""Makes the claims of pods' ephemeral volumes: one for each, called like the pod and the volume, and gone with the pod.

A claim of that name that is not the pod's own is never taken; the pod waits until it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.reconcilers import ownership
from mizzen.api import kinds, volumes
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller, membership
from mizzen.engine.effects import Create, Decision, Effect, Emit
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "ephemeral_volume"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One pod: the claims that it has none of yet."""
    pod = view.get(kinds.POD, key.namespace, key.name)
    if pod is None or pod.metadata.deletion_timestamp is not None:
        return Decision()
    effects: list[Effect] = []
    for volume in pod.spec.volumes:
        template = volume.ephemeral.volume_claim_template if volume.ephemeral is not None else None
        if template is None:
            continue
        name = volumes.ephemeral_claim(pod, volume)
        claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, key.namespace, name)
        if claim is None:
            effects.append(Create(_claim(pod, name, template)))
        elif all(owner.uid != pod.metadata.uid for owner in claim.metadata.owner_references):
            why = f"PVC {key.namespace}/{name} was not created for pod {key.namespace}/{key.name} (pod is not owner)"
            effects.append(Emit(pod, "Warning", "FailedBinding", f"ephemeral volume {volume.name}: {why}", COMPONENT))
    return Decision(tuple(effects))


def _claim(
    pod: core_v1.Pod, name: str, template: core_v1.PersistentVolumeClaimTemplate
) -> core_v1.PersistentVolumeClaim:
    metadata = meta_v1.ObjectMeta(
        name=name,
        namespace=pod.metadata.namespace,
        labels=template.metadata.labels,
        annotations=template.metadata.annotations,
        owner_references=(ownership.controller_reference(pod),),
    )
    return core_v1.PersistentVolumeClaim(metadata=metadata, spec=template.spec)


def _of_claim(claim: core_v1.PersistentVolumeClaim, view: View) -> Iterable[Key]:
    """The pods that want a claim of this name: it may have gone, or stood in their way."""
    place = indexes.namespaced(claim.metadata.namespace, claim.metadata.name)
    pods = view.select(indexes.PODS_BY_CLAIM, place)
    return [Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name) for pod in pods if _wanted(pod)]


def _wanted(pod: core_v1.Pod) -> Any:
    """What is seen of a pod: nothing of those without such volumes, and of the others little that changes."""
    if any(volume.ephemeral is not None for volume in pod.spec.volumes):
        return pod.metadata.uid, pod.metadata.deletion_timestamp
    return None


CONTROLLER = Controller(
    name="ephemeral_volume",
    kind=kinds.POD,
    reconcile=reconcile,
    watches=((kinds.PERSISTENT_VOLUME_CLAIM, _of_claim),),
    sees={kinds.POD: _wanted, kinds.PERSISTENT_VOLUME_CLAIM: membership},
)
