"""What the claims of a pod ask of its node, and what has to be written before the pod can be bound there.

A claim that has its volume ties the pod to the nodes that reach it. One that waits for its first consumer gets what
suits on the node that is chosen: a free volume is reserved, or the node's name is written to the claim and a volume is
made there. The pod is bound in a later pass, when all its claims have their volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.scheduling.drivers import NO_SPACE, Drivers, handles_of
from controlplane.scheduling.wants import Reach
from mizzen.api import kinds, quantity, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1, storage_v1
from mizzen.engine import indexes
from mizzen.engine.effects import Effect, Update
from mizzen.engine.view import View

NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
USED_BY_ANOTHER = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"

_Claim = core_v1.PersistentVolumeClaim


@dataclass(frozen=True, slots=True)
class Needs:
    """What the claims of one pod come to."""

    refusal: str = ""
    """Why the pod fits nowhere, whatever the nodes."""
    occupied: bool = False
    """Another pod has a claim that is for one pod only."""
    reaches: tuple[Reach, ...] = ()
    waiting: tuple[_Claim, ...] = ()
    """The claims that get their volume on the node that is chosen."""
    handles: tuple[tuple[str, frozenset[str]], ...] = ()
    """The volumes of storage drivers, by driver."""


NOTHING = Needs()


class Claims:
    """The claims and volumes of one pass."""

    def __init__(self, view: View, node_of: Callable[[str, str], str]) -> None:
        """`node_of` gives the node that a pod, by namespace and name, is on or assumed on."""
        self._view = view
        self._node_of = node_of
        self._drivers = Drivers(view, node_of)
        self._reserved: set[str] = set()

    def needs(self, pod: core_v1.Pod) -> Needs:
        """What the pod's claims ask for."""
        mounted = list(volumes.claims_of(pod))
        if not mounted:
            return NOTHING
        found = []
        for name, is_own in mounted:
            claim = self._view.get(kinds.PERSISTENT_VOLUME_CLAIM, pod.metadata.namespace, name)
            if why := _unusable(claim, name, pod, is_own=is_own):
                return Needs(refusal=why)
            if claim is not None:
                found.append(claim)
        reaches: list[Reach] = []
        waiting: list[_Claim] = []
        bound: list[core_v1.PersistentVolume] = []
        for claim in found:
            if volumes.is_bound(claim):
                volume = self._view.get(kinds.PERSISTENT_VOLUME, "", claim.spec.volume_name)
                if volume is None:
                    name, lost = claim.metadata.name, claim.spec.volume_name
                    why = f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{lost}"'
                    return Needs(refusal=why)
                bound.append(volume)
                reaches += _reach([volumes.required_of(volume)], NODE_CONFLICT)
            elif not self._is_delayed(claim):
                return Needs(refusal=UNBOUND)
            else:
                waiting.append(claim)
                reaches += self._open_to(claim)
        reaches += self._open_to_all(waiting)
        handles = handles_of(bound, [(claim, self._provisioner(claim)) for claim in waiting])
        reaches += self._drivers.reaches(handles)
        return Needs(
            occupied=self._is_occupied(pod, found),
            reaches=tuple(reaches),
            waiting=tuple(waiting),
            handles=tuple(handles.items()),
        )

    def placed(self, needs: Needs, node: str) -> None:
        """A pod has got a node."""
        self._drivers.placed(dict(needs.handles), node)

    def preparation(self, needs: Needs, node: str, labels: dict[str, str]) -> tuple[Effect, ...]:
        """What is written so that the claims get their volumes on a node; nothing where it is written already."""
        effects: list[Effect] = []
        undecided = _undecided(needs.waiting)
        given = _shared_out([_here(self._suiting(claim), node, labels) for claim in undecided])
        for claim, volume in zip(undecided, given, strict=True):
            if volume is not None:
                self._reserved.add(volume.metadata.name)
                effects.append(Update(volumes.reserved(volume, claim)))
            else:
                annotations = {**claim.metadata.annotations, volumes.SELECTED_NODE: node}
                effects.append(Update(edited(claim, metadata=edited(claim.metadata, annotations=annotations))))
        return tuple(effects)

    def _class(self, claim: _Claim) -> storage_v1.StorageClass | None:
        name = volumes.class_of(claim)
        return self._view.get(kinds.STORAGE_CLASS, "", name) if name else None

    def _provisioner(self, claim: _Claim) -> str:
        found = self._class(claim)
        return found.provisioner if found is not None else ""

    def _is_delayed(self, claim: _Claim) -> bool:
        found = self._class(claim)
        return found is not None and found.volume_binding_mode == "WaitForFirstConsumer" and not claim.spec.volume_name

    def _suiting(self, claim: _Claim) -> list[core_v1.PersistentVolume]:
        place = indexes.namespaced(claim.metadata.namespace, claim.metadata.name)
        mine = volumes.suiting(claim, self._view.select(indexes.VOLUMES_BY_CLAIM, place))
        free = self._view.select(indexes.FREE_VOLUMES_BY_CLASS, volumes.class_of(claim))
        return mine or [one for one in volumes.suiting(claim, free) if one.metadata.name not in self._reserved]

    def _open_to(self, claim: _Claim) -> list[Reach]:
        """The nodes on which a claim can get a volume."""
        chosen = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        if chosen:
            return _reach([_only(chosen)], NO_VOLUME)
        suiting = self._suiting(claim)
        selectors = [volumes.required_of(one) for one in suiting]
        made_on = self._made_on(claim, suiting)
        reason = NO_SPACE if self._is_made(claim, suiting) and not suiting and not made_on else NO_VOLUME
        return _reach([*selectors, *made_on], reason)

    def _made_on(self, claim: _Claim, suiting: Sequence[core_v1.PersistentVolume]) -> list[core_v1.NodeSelector | None]:
        """The nodes on which a volume can be made for a claim; none where one is reserved or nobody makes any."""
        found = self._class(claim)
        if found is None or not self._is_made(claim, suiting):
            return []
        room = self._drivers.room_for(claim, found)
        return [_topologies(found)] if room is None else [_both(found, term) for term in room]

    def _is_made(self, claim: _Claim, suiting: Sequence[core_v1.PersistentVolume]) -> bool:
        is_reserved = bool(suiting) and suiting[0].spec.claim_ref is not None
        return self._provisioner(claim) not in ("", volumes.NO_PROVISIONER) and not is_reserved

    def _open_to_all(self, waiting: Sequence[_Claim]) -> list[Reach]:
        """The nodes with a volume for each claim of a pod; nothing to ask for where no two count on the same one."""
        undecided = _undecided(waiting)
        suiting = [self._suiting(claim) for claim in undecided]
        names = [volume.metadata.name for found in suiting for volume in found]
        if len(names) == len(set(names)):
            return []
        made_on = [self._made_on(claim, found) for claim, found in zip(undecided, suiting, strict=True)]
        open_to = []
        for node in self._view.list(kinds.NODE):
            name, labels = node.metadata.name, node.metadata.labels
            given = _shared_out([_here(found, name, labels) for found in suiting])
            if all(
                volume is not None or any(volumes.selects(one, name, labels) for one in selectors)
                for volume, selectors in zip(given, made_on, strict=True)
            ):
                open_to.append(name)
        return [Reach(tuple(_only(name) for name in sorted(open_to)), NO_VOLUME)]

    def _is_occupied(self, pod: core_v1.Pod, claims: Sequence[_Claim]) -> bool:
        alone = {c.metadata.name for c in claims if volumes.READ_WRITE_ONCE_POD in c.spec.access_modes}
        if not alone:
            return False
        namespace = pod.metadata.namespace
        return any(
            other.metadata.uid != pod.metadata.uid
            and self._node_of(namespace, other.metadata.name)
            and any(mounted.name in alone for mounted in volumes.claims_of(other))
            for other in self._view.list(kinds.POD, namespace)
        )


def _unusable(claim: _Claim | None, name: str, pod: core_v1.Pod, *, is_own: bool) -> str:
    """Why a pod can't be placed as long as this claim is as it is; empty when it can."""
    if claim is None:
        if is_own:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if claim.status.phase == "Lost":
        lost = claim.spec.volume_name
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{lost}"'
    if claim.metadata.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if is_own and all(owner.uid != pod.metadata.uid for owner in claim.metadata.owner_references):
        return f"PVC {claim.metadata.namespace}/{name} was not created for pod {pod.metadata.name} (pod is not owner)"
    return ""


def _undecided(waiting: Sequence[_Claim]) -> list[_Claim]:
    """The claims for which no node was chosen yet, the smallest first, so that they leave the large volumes alone."""
    open_ones = [one for one in waiting if not one.metadata.annotations.get(volumes.SELECTED_NODE)]
    return sorted(open_ones, key=lambda one: (quantity.parse(volumes.requested(one)).nano, one.metadata.name))


def _here(
    suiting: Sequence[core_v1.PersistentVolume], node: str, labels: Mapping[str, str]
) -> list[core_v1.PersistentVolume]:
    return [one for one in suiting if volumes.selects(volumes.required_of(one), node, labels)]


def _shared_out(wishes: Sequence[Sequence[core_v1.PersistentVolume]]) -> list[core_v1.PersistentVolume | None]:
    """A volume for as many of the wishes as can have one, each the best that is left (augmenting paths, H. W. Kuhn)."""
    holders: dict[str, int] = {}
    given: list[core_v1.PersistentVolume | None] = [None] * len(wishes)

    def give(wish: int, tried: set[str]) -> bool:
        untouched = sorted(wishes[wish], key=lambda volume: volume.metadata.name in holders)
        for volume in untouched:
            name = volume.metadata.name
            if name in tried:
                continue
            tried.add(name)
            if name not in holders or give(holders[name], tried):
                holders[name], given[wish] = wish, volume
                return True
        return False

    for wish in range(len(wishes)):
        give(wish, set())
    return given


def _only(node: str) -> core_v1.NodeSelector:
    """One node by its name."""
    named = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,))
    return core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_fields=(named,)),))


def _reach(selectors: Sequence[core_v1.NodeSelector | None], reason: str) -> list[Reach]:
    """The nodes that any of the selectors chooses; nothing to ask for where one of them chooses all."""
    some = tuple(selector for selector in selectors if selector is not None)
    return [Reach(some, reason)] if len(some) == len(selectors) else []


def _topologies(found: storage_v1.StorageClass) -> core_v1.NodeSelector | None:
    """Where volumes of a class are made; None for everywhere."""
    terms = _terms(found)
    return core_v1.NodeSelector(node_selector_terms=terms) if terms else None


def _both(found: storage_v1.StorageClass, room: core_v1.NodeSelectorTerm) -> core_v1.NodeSelector | None:
    """Where volumes of a class are made and there is room; None for everywhere."""
    joined = [
        core_v1.NodeSelectorTerm(match_expressions=(*term.match_expressions, *room.match_expressions))
        for term in _terms(found) or (core_v1.NodeSelectorTerm(),)
    ]
    terms = tuple(term for term in joined if term.match_expressions)
    return core_v1.NodeSelector(node_selector_terms=terms) if terms else None


def _terms(found: storage_v1.StorageClass) -> tuple[core_v1.NodeSelectorTerm, ...]:
    return tuple(
        core_v1.NodeSelectorTerm(
            match_expressions=tuple(
                core_v1.NodeSelectorRequirement(key=one.key, operator="In", values=one.values)
                for one in term.match_label_expressions
            )
        )
        for term in found.allowed_topologies
    )
