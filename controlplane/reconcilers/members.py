"""The members of a StatefulSet: which pod has which ordinal, and what a new one and its claims look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from controlplane.reconcilers import history, ownership, podstate, podtemplate
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine.effects import Create, Effect, Emit, Update
from mizzen.engine.view import View

COMPONENT = "statefulset-controller"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = "controller.kubernetes.io/hash"
"""On revisions; pods carry the revision's whole name under `history.HASH_LABEL`."""
_MEMBER = re.compile(r"(.*)-(0|[1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Members:
    """The pods of a StatefulSet by ordinal, those that it should have apart from those that are too many."""

    wanted: tuple[int, ...]
    pods: Mapping[int, core_v1.Pod]

    @property
    def present(self) -> list[core_v1.Pod]:
        """The pods that should be there and are, in order."""
        return [self.pods[ordinal] for ordinal in self.wanted if ordinal in self.pods]

    @property
    def condemned(self) -> list[core_v1.Pod]:
        """The pods beyond what is wanted, the highest ordinal first."""
        wanted = set(self.wanted)
        return [self.pods[ordinal] for ordinal in sorted(self.pods, reverse=True) if ordinal not in wanted]


def ordinal_of(owner: apps_v1.StatefulSet, pod: Object) -> int | None:
    """The ordinal in a pod's name; None for a name that is none of this set's."""
    found = _MEMBER.fullmatch(pod.metadata.name)
    return int(found[2]) if found and found[1] == owner.metadata.name else None


def members(owner: apps_v1.StatefulSet, pods: Iterable[core_v1.Pod]) -> Members:
    """Sorts a set's pods by ordinal."""
    start = owner.spec.ordinals.start if owner.spec.ordinals else 0
    replicas = owner.spec.replicas if owner.spec.replicas is not None else 1
    by_ordinal = {ordinal: pod for pod in pods if (ordinal := ordinal_of(owner, pod)) is not None}
    return Members(tuple(range(start, start + replicas)), by_ordinal)


def revision_of(pod: core_v1.Pod) -> str:
    """The name of the revision that a pod is of."""
    return pod.metadata.labels.get(history.HASH_LABEL, "")


def create(
    owner: apps_v1.StatefulSet, ordinal: int, template: core_v1.PodTemplateSpec, revision: str, view: View
) -> list[Effect]:
    """The claims that a member lacks, and the pod."""
    pod = _pod(owner, ordinal, template, revision)
    name, where = pod.metadata.name, f"in StatefulSet {owner.metadata.name}"
    effects: list[Effect] = []
    for made in _claims(owner, ordinal):
        if view.get(kinds.PERSISTENT_VOLUME_CLAIM, made.metadata.namespace, made.metadata.name) is None:
            told = f"create Claim {made.metadata.name} Pod {name} {where} success"
            effects += (Create(made), Emit(owner, "Normal", "SuccessfulCreate", told, COMPONENT))
    told = f"create Pod {name} {where} successful"
    return [*effects, Create(pod), Emit(owner, "Normal", "SuccessfulCreate", told, COMPONENT)]


def _pod(owner: apps_v1.StatefulSet, ordinal: int, template: core_v1.PodTemplateSpec, revision: str) -> core_v1.Pod:
    pod = podtemplate.named_pod(owner, template, f"{owner.metadata.name}-{ordinal}")
    labels = {**pod.metadata.labels, **_identity(pod, ordinal), history.HASH_LABEL: revision}
    claimed = {claim.metadata.name for claim in owner.spec.volume_claim_templates}
    volumes = (
        *(_claim_volume(owner, ordinal, claim.metadata.name) for claim in owner.spec.volume_claim_templates),
        *(volume for volume in pod.spec.volumes if volume.name not in claimed),
    )
    spec = msgspec.structs.replace(
        pod.spec, hostname=pod.metadata.name, subdomain=owner.spec.service_name, volumes=volumes
    )
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=labels), spec=spec)


def _identity(pod: core_v1.Pod, ordinal: int) -> dict[str, str]:
    return {POD_NAME_LABEL: pod.metadata.name, POD_INDEX_LABEL: str(ordinal)}


def identified(pod: core_v1.Pod, ordinal: int) -> Update | None:
    """Gives a pod (an adopted one, say) the labels that name it; None when it has them."""
    identity = _identity(pod, ordinal)
    if identity.items() <= pod.metadata.labels.items():
        return None
    metadata = msgspec.structs.replace(pod.metadata, labels={**pod.metadata.labels, **identity})
    return Update(msgspec.structs.replace(pod, metadata=metadata))


def _claim_name(owner: apps_v1.StatefulSet, ordinal: int, template: str) -> str:
    return f"{template}-{owner.metadata.name}-{ordinal}"


def _claim_volume(owner: apps_v1.StatefulSet, ordinal: int, template: str) -> core_v1.Volume:
    source = core_v1.PersistentVolumeClaimVolumeSource(claim_name=_claim_name(owner, ordinal, template))
    return core_v1.Volume(name=template, persistent_volume_claim=source)


def _claims(owner: apps_v1.StatefulSet, ordinal: int) -> list[core_v1.PersistentVolumeClaim]:
    selector = owner.spec.selector or meta_v1.LabelSelector()
    made = []
    for template in owner.spec.volume_claim_templates:
        metadata = msgspec.structs.replace(
            template.metadata,
            name=_claim_name(owner, ordinal, template.metadata.name),
            namespace=owner.metadata.namespace,
            labels={**template.metadata.labels, **selector.match_labels},
        )
        made.append(msgspec.structs.replace(template, metadata=metadata, status=core_v1.PersistentVolumeClaimStatus()))
    return made


def claim_owners(owner: apps_v1.StatefulSet, found: Members, view: View) -> list[Effect]:
    """Brings the owners of the claims in line with the retention policy.

    A claim that goes with the set is owned by the set, one that goes with a scale-down by its pod once that is too
    many; one that is kept is owned by neither.
    """
    policy = owner.spec.persistent_volume_claim_retention_policy
    with_set = policy is not None and policy.when_deleted == "Delete"
    with_scale = policy is not None and policy.when_scaled == "Delete"
    condemned = {pod.metadata.name for pod in found.condemned}
    effects: list[Effect] = []
    for ordinal, pod in sorted(found.pods.items()):
        going = pod.metadata.name in condemned
        wanted: list[Object] = []
        if with_scale and going:
            wanted = [pod]
        elif with_set:
            wanted = [owner]
        for template in owner.spec.volume_claim_templates:
            name = _claim_name(owner, ordinal, template.metadata.name)
            claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, owner.metadata.namespace, name)
            if claim is not None and (changed := _owned_by(claim, wanted, (owner, pod))) is not None:
                effects.append(Update(changed))
    return effects


def _owned_by(
    claim: core_v1.PersistentVolumeClaim, wanted: Sequence[Object], possible: Sequence[Object]
) -> core_v1.PersistentVolumeClaim | None:
    """The claim with these owners, and no others of the possible ones; None when it is so."""
    managed = {obj.metadata.uid for obj in possible}
    others = [reference for reference in claim.metadata.owner_references if reference.uid not in managed]
    references = (*others, *(_plain_reference(obj) for obj in wanted))
    if {r.uid for r in references} == {r.uid for r in claim.metadata.owner_references}:
        return None
    return msgspec.structs.replace(claim, metadata=msgspec.structs.replace(claim.metadata, owner_references=references))


def _plain_reference(obj: Object) -> meta_v1.OwnerReference:
    reference = ownership.controller_reference(obj)
    return msgspec.structs.replace(reference, controller=None, block_owner_deletion=None)


def is_healthy(pod: core_v1.Pod) -> bool:
    """Running, ready and not on its way out."""
    return pod.status.phase == "Running" and podstate.is_ready(pod) and pod.metadata.deletion_timestamp is None
