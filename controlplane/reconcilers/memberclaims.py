"""The claims of a StatefulSet's members: made once for each ordinal, and owned as the retention policy says."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from controlplane.reconcilers import ownership
from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine.effects import Create, Effect, Emit, Update
from mizzen.engine.view import View

COMPONENT = "statefulset-controller"


def volume(owner: apps_v1.StatefulSet, ordinal: int, template: str) -> core_v1.Volume:
    """The volume of a member's pod for one of the claim templates."""
    source = core_v1.PersistentVolumeClaimVolumeSource(claim_name=_name(owner, ordinal, template))
    return core_v1.Volume(name=template, persistent_volume_claim=source)


def missing(owner: apps_v1.StatefulSet, ordinal: int, view: View) -> list[Effect]:
    """Makes the claims that a member lacks."""
    where = f"Pod {_pod_name(owner, ordinal)} in StatefulSet {owner.metadata.name}"
    effects: list[Effect] = []
    for made in _wanted(owner, ordinal):
        if view.get(kinds.PERSISTENT_VOLUME_CLAIM, made.metadata.namespace, made.metadata.name) is None:
            told = f"create Claim {made.metadata.name} {where} success"
            effects += (Create(made, told=owner), Emit(owner, "Normal", "SuccessfulCreate", told, COMPONENT))
    return effects


def leaving(owner: apps_v1.StatefulSet, ordinal: int, view: View) -> core_v1.PersistentVolumeClaim | None:
    """A claim that a pod of this ordinal must not be given, for it goes: by itself, or with a pod that was before."""
    name = _pod_name(owner, ordinal)
    for claim in _present(owner, ordinal, view):
        with_pod = any((one.kind, one.name) == ("Pod", name) for one in claim.metadata.owner_references)
        if claim.metadata.deletion_timestamp is not None or (with_pod and _goes_when_scaled(owner)):
            return claim
    return None


def owners(
    owner: apps_v1.StatefulSet, ordinal: int, pod: core_v1.Pod, view: View, *, condemned: bool
) -> Iterator[Effect]:
    """Brings the owner of a member's claims in line with the retention policy.

    A claim that goes with the set is owned by the set, one that goes with a scale-down by its pod once that is too many
    (`condemned`); one that is kept is owned by neither. What somebody else controls is nobody's to take with them, and
    what belonged to a set or pod of the same name is left to the garbage collector.
    """
    wanted: list[Object] = []
    if _goes_when_scaled(owner) and condemned:
        wanted = [pod]
    elif _goes_when_deleted(owner):
        wanted = [owner]
    for claim in _present(owner, ordinal, view):
        if _is_stale(claim, owner, pod):
            continue
        ours = {owner.metadata.uid, pod.metadata.uid}
        foreign = _controls(owner) and any(one.controller and one.uid not in ours for one in _references(claim))
        changed = _owned_by(claim, [] if foreign else wanted, ours)
        if changed is None:
            continue
        if foreign:
            told = (
                f"PersistentVolumeClaim {claim.metadata.name} has a conflicting OwnerReference that acts as a managing "
                "controller, the retention policy is ignored for this claim"
            )
            yield Emit(owner, "Warning", "ConflictingController", told, COMPONENT)
        yield Update(changed)


def _owned_by(
    claim: core_v1.PersistentVolumeClaim, wanted: list[Object], possible: Collection[str]
) -> core_v1.PersistentVolumeClaim | None:
    """The claim controlled by these, and not owned by others of the possible ones; None when it is so."""
    others = [reference for reference in _references(claim) if reference.uid not in possible]
    references = (*others, *map(ownership.controller_reference, wanted))
    if {(r.uid, r.controller) for r in references} == {(r.uid, r.controller) for r in _references(claim)}:
        return None
    return msgspec.structs.replace(claim, metadata=msgspec.structs.replace(claim.metadata, owner_references=references))


def _references(claim: core_v1.PersistentVolumeClaim) -> tuple[meta_v1.OwnerReference, ...]:
    return claim.metadata.owner_references


def _is_stale(claim: core_v1.PersistentVolumeClaim, *owners: Object) -> bool:
    """Whether it belongs to one that had the name of one of these."""
    now = {(kinds.kind_of(one).kind, one.metadata.name): one.metadata.uid for one in owners}
    return any(now.get((r.kind, r.name), r.uid) != r.uid for r in _references(claim))


def _goes_when_scaled(owner: apps_v1.StatefulSet) -> bool:
    policy = owner.spec.persistent_volume_claim_retention_policy
    return policy is not None and policy.when_scaled == "Delete"


def _goes_when_deleted(owner: apps_v1.StatefulSet) -> bool:
    policy = owner.spec.persistent_volume_claim_retention_policy
    return policy is not None and policy.when_deleted == "Delete"


def _controls(owner: apps_v1.StatefulSet) -> bool:
    return _goes_when_scaled(owner) or _goes_when_deleted(owner)


def _present(owner: apps_v1.StatefulSet, ordinal: int, view: View) -> Iterator[core_v1.PersistentVolumeClaim]:
    for template in owner.spec.volume_claim_templates:
        name = _name(owner, ordinal, template.metadata.name)
        claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, owner.metadata.namespace, name)
        if claim is not None:
            yield claim


def _wanted(owner: apps_v1.StatefulSet, ordinal: int) -> Iterator[core_v1.PersistentVolumeClaim]:
    selector = owner.spec.selector or meta_v1.LabelSelector()
    for template in owner.spec.volume_claim_templates:
        metadata = msgspec.structs.replace(
            template.metadata,
            name=_name(owner, ordinal, template.metadata.name),
            namespace=owner.metadata.namespace,
            labels={**template.metadata.labels, **selector.match_labels},
        )
        yield msgspec.structs.replace(template, metadata=metadata, status=core_v1.PersistentVolumeClaimStatus())


def _name(owner: apps_v1.StatefulSet, ordinal: int, template: str) -> str:
    return f"{template}-{_pod_name(owner, ordinal)}"


def _pod_name(owner: apps_v1.StatefulSet, ordinal: int) -> str:
    return f"{owner.metadata.name}-{ordinal}"
