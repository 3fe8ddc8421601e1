"""The members of a StatefulSet: which pod has which ordinal, and what a new one looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from controlplane.reconcilers import history, memberclaims, podstate, podtemplate
from controlplane.reconcilers.memberclaims import COMPONENT
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine.effects import Create, Effect, Emit, Update
from mizzen.engine.view import View

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
    told = f"create Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} successful"
    claims = memberclaims.missing(owner, ordinal, view)
    return [*claims, Create(pod), Emit(owner, "Normal", "SuccessfulCreate", told, COMPONENT)]


def _pod(owner: apps_v1.StatefulSet, ordinal: int, template: core_v1.PodTemplateSpec, revision: str) -> core_v1.Pod:
    prefix = f"{owner.metadata.name}-"
    pod = podtemplate.named_pod(owner, template, f"{prefix}{ordinal}", generate_name=prefix)
    labels = {**pod.metadata.labels, **_identity(pod, ordinal), history.HASH_LABEL: revision}
    claimed = {claim.metadata.name for claim in owner.spec.volume_claim_templates}
    volumes = (
        *(memberclaims.volume(owner, ordinal, claim.metadata.name) for claim in owner.spec.volume_claim_templates),
        *(volume for volume in pod.spec.volumes if volume.name not in claimed),
    )
    spec = msgspec.structs.replace(
        pod.spec, hostname=pod.metadata.name, subdomain=owner.spec.service_name, volumes=volumes
    )
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=labels), spec=spec)


def _identity(pod: core_v1.Pod, ordinal: int) -> dict[str, str]:
    return {POD_NAME_LABEL: pod.metadata.name, POD_INDEX_LABEL: str(ordinal)}


def identified(owner: apps_v1.StatefulSet, pod: core_v1.Pod, ordinal: int) -> list[Effect]:
    """Gives a pod (an adopted one, say) the labels that name it; nothing when it has them."""
    identity = _identity(pod, ordinal)
    if identity.items() <= pod.metadata.labels.items():
        return []
    metadata = msgspec.structs.replace(pod.metadata, labels={**pod.metadata.labels, **identity})
    told = f"update Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} successful"
    changed = Update(msgspec.structs.replace(pod, metadata=metadata))
    return [changed, Emit(owner, "Normal", "SuccessfulUpdate", told, COMPONENT)]


def is_healthy(pod: core_v1.Pod) -> bool:
    """Running, ready and not on its way out."""
    return pod.status.phase == "Running" and podstate.is_ready(pod) and pod.metadata.deletion_timestamp is None
