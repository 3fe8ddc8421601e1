"""Keeps a StatefulSet's pods, each with a name, a place in the order and claims of its own.

With the policy OrderedReady one pod at a time is made, replaced or removed, and only while its predecessors are
healthy; with Parallel they do not wait for each other. There is never a second pod of an ordinal: the name is the
same, and it is free only when the store has let go of the first, which for a node that is lost is when somebody says
so. Who is who is in `members`, what each keeps in
`memberclaims`, which template is which in `history`.

One thing is not as in Kubernetes: a pod that is not healthy and of a past revision is replaced although it blocks the
order. There a broken revision has to be deleted by hand after the template is mended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from controlplane.reconcilers import history, memberclaims, members, ownership, podstate
from controlplane.reconcilers.memberclaims import COMPONENT
from controlplane.reconcilers.members import Members, is_healthy, revision_of
from mizzen.api import intstr, kinds, selectors
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, Emit, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One StatefulSet: its next step, and what its status says."""
    owner = view.get(kinds.STATEFUL_SET, key.namespace, key.name)
    if owner is None:
        return Decision()
    selector = selectors.from_field(owner.spec.selector)
    candidates = ownership.pods(view, owner, selector)
    mine = [pod for pod in candidates if members.ordinal_of(owner, pod) is not None]
    claimed = ownership.claim(owner, selector, mine)
    found = members.members(owner, claimed.owned)
    if claimed.effects:
        return Decision(claimed.effects)
    if owner.metadata.deletion_timestamp is not None:
        status = _status(owner, found, owner.status.update_revision, now)
        changed = (UpdateStatus(msgspec.structs.replace(owner, status=status)),)
        return Decision(changed if status != owner.status else ())
    past = history.of(owner, view, members.REVISION_LABEL)
    if past.collision_count is not None:
        status = msgspec.structs.replace(owner.status, collision_count=past.collision_count)
        return Decision((UpdateStatus(msgspec.structs.replace(owner, status=status)),))
    if past.current is None:
        return Decision(past.effects)
    step = _Step(owner, found, past, past.current, view, now)
    step.take()
    status = _status(owner, found, past.current.metadata.name, now)
    effects = [*_claim_owners(owner, found, view), *step.effects]
    in_use = {status.current_revision, status.update_revision, *map(revision_of, found.pods.values())}
    effects += history.forget(owner, past, in_use)
    if status != owner.status:
        effects.append(UpdateStatus(msgspec.structs.replace(owner, status=status)))
    return Decision(tuple(effects), wake_after_ms=_next_available(owner, found, now), waiting=tuple(step.waiting))


def _claim_owners(owner: apps_v1.StatefulSet, found: Members, view: View) -> Iterable[Effect]:
    wanted = set(found.wanted)
    for ordinal, pod in sorted(found.pods.items()):
        yield from memberclaims.owners(owner, ordinal, pod, view, condemned=ordinal not in wanted)


class _Step:
    """What is done to the pods now. It only collects effects; the order of the methods is the order of their rank."""

    def __init__(
        self,
        owner: apps_v1.StatefulSet,
        found: Members,
        past: history.History,
        update: apps_v1.ControllerRevision,
        view: View,
        now: Instant,
    ) -> None:
        self.effects: list[Effect] = []
        self.waiting: list[Waiting] = []
        self._owner = owner
        self._found = found
        self._update = update
        by_name = {revision.metadata.name: revision for revision in past.all}
        self._current = by_name.get(owner.status.current_revision, update)
        self._view = view
        self._now = now
        self._ordered = owner.spec.pod_management_policy != "Parallel"

    def take(self) -> None:
        """Fill the gaps, then shrink, then update; with an order, the first that is not done ends the step."""
        if self._fill() and self._shrink():
            self._roll()

    def _fill(self) -> bool:
        """Make and mend what should be there, from the lowest ordinal. Tells whether the step goes on."""
        for ordinal in self._found.wanted:
            pod = self._found.pods.get(ordinal)
            if pod is not None and self._is_fine(pod, ordinal):
                continue
            if pod is None:
                self._create(ordinal)
            elif pod.metadata.deletion_timestamp is not None:
                self._wait(pod, "is on its way out")
            elif podstate.is_finished(pod) or self._is_outdated(pod, ordinal):
                self._delete(pod)
            else:
                self._wait(pod, "is not ready")
            if self._ordered:
                return False
        return True

    def _create(self, ordinal: int) -> None:
        """A pod waits for a claim that goes: it would be left without, or be given what others should forget."""
        claim = memberclaims.leaving(self._owner, ordinal, self._view)
        if claim is not None:
            key = Key(kinds.PERSISTENT_VOLUME_CLAIM.resource, claim.metadata.namespace, claim.metadata.name)
            told = f"claim {claim.metadata.name} of a pod that was before is on its way out"
            self.waiting.append(Waiting("WaitingForClaim", told, key))
            return
        revision = self._revision_for(ordinal)
        template = history.template_of(revision)
        self.effects += members.create(self._owner, ordinal, template, revision.metadata.name, self._view)

    def _is_fine(self, pod: core_v1.Pod, ordinal: int) -> bool:
        if pod.metadata.deletion_timestamp is None:
            self.effects += members.identified(self._owner, pod, ordinal)
            if pod.status.phase == "Pending":
                self.effects += memberclaims.missing(self._owner, ordinal, self._view)
        return is_healthy(pod) and (not self._ordered or self._is_available(pod))

    def _revision_for(self, ordinal: int) -> apps_v1.ControllerRevision:
        return self._update if self._wants_update(ordinal) else self._current

    def _wants_update(self, ordinal: int) -> bool:
        """Whether a pod that is made now is of the newest template; below the partition it is not."""
        rolling = self._owner.spec.update_strategy.rolling_update
        if self._owner.spec.update_strategy.type == "OnDelete" or rolling is None or not rolling.partition:
            return True
        return ordinal >= self._found.wanted[0] + rolling.partition

    def _is_outdated(self, pod: core_v1.Pod, ordinal: int) -> bool:
        rolls = self._owner.spec.update_strategy.type != "OnDelete"
        return rolls and self._wants_update(ordinal) and revision_of(pod) != self._update.metadata.name

    def _shrink(self) -> bool:
        condemned = self._found.condemned
        down = [pod for pod in condemned if not self._is_available(pod)]
        for pod in condemned:
            if pod.metadata.deletion_timestamp is not None:
                self._wait(pod, "is on its way out")
            elif self._ordered and pod in down and pod is not down[-1]:
                self._wait(down[-1], "is not available")
            else:
                self._delete(pod)
            if self._ordered:
                return False
        return True

    def _roll(self) -> None:
        """Replace pods of other revisions from the highest ordinal."""
        gone = {effect.uid for effect in self.effects if isinstance(effect, Delete)}
        rolling = self._owner.spec.update_strategy.rolling_update
        if rolling is not None and rolling.max_unavailable is not None:
            self._roll_within(intstr.scaled(rolling.max_unavailable, len(self._found.wanted), round_up=True), gone)
        else:
            self._roll_one(gone)

    def _roll_one(self, gone: Collection[str]) -> None:
        """The next one, when those above it are available; those below it do not matter."""
        for ordinal in reversed(self._found.wanted):
            pod = self._found.pods.get(ordinal)
            if not self._wants_update(ordinal) or pod is None or pod.metadata.uid in gone:
                return
            if pod.metadata.deletion_timestamp is None and self._is_outdated(pod, ordinal):
                self._delete(pod)
                return
            if not self._is_available(pod):
                self._wait(pod, "is not available")
                return

    def _roll_within(self, limit: int, gone: Collection[str]) -> None:
        """As many at once as `maxUnavailable` allows, whoever it is that is not available."""
        down = len(self._found.wanted) - sum(self._is_available(pod) for pod in self._found.present)
        for ordinal in reversed(self._found.wanted):
            pod = self._found.pods.get(ordinal)
            if pod is None or pod.metadata.uid in gone or pod.metadata.deletion_timestamp is not None:
                continue
            if not self._is_outdated(pod, ordinal):
                continue
            if self._is_available(pod):
                if down >= max(1, limit):
                    return
                down += 1
            self._delete(pod)

    def _is_available(self, pod: core_v1.Pod) -> bool:
        return is_healthy(pod) and podstate.available_in_ms(pod, self._owner.spec.min_ready_seconds, self._now) == 0

    def _delete(self, pod: core_v1.Pod) -> None:
        name = pod.metadata.name
        told = f"delete Pod {name} in StatefulSet {self._owner.metadata.name} successful"
        self.effects.append(Delete(Key(kinds.POD.resource, pod.metadata.namespace, name), pod.metadata.uid))
        self.effects.append(Emit(self._owner, "Normal", "SuccessfulDelete", told, COMPONENT))

    def _wait(self, pod: core_v1.Pod, why: str) -> None:
        key = Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name)
        self.waiting.append(Waiting("WaitingForPod", f"pod {pod.metadata.name} {why}", key))


def _status(owner: apps_v1.StatefulSet, found: Members, update: str, now: Instant) -> apps_v1.StatefulSetStatus:
    pods = [pod for pod in found.pods.values() if pod.status.phase]
    current = owner.status.current_revision or update
    ready = [pod for pod in pods if pod.status.phase == "Running" and podstate.is_ready(pod)]
    staying = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    updated, wanted = _of_revision(staying, update), len(found.wanted)
    rolls = owner.spec.update_strategy.type != "OnDelete"
    if rolls and updated == len(ready) == len(pods) == wanted:
        current = update
    available = [podstate.available_in_ms(pod, owner.spec.min_ready_seconds, now) == 0 for pod in ready]
    return msgspec.structs.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        replicas=len(pods),
        ready_replicas=len(ready),
        available_replicas=sum(available),
        current_replicas=_of_revision(staying, current),
        updated_replicas=updated,
        current_revision=current,
        update_revision=update,
        collision_count=owner.status.collision_count or 0,
    )


def _of_revision(pods: Sequence[core_v1.Pod], name: str) -> int:
    return sum(revision_of(pod) == name for pod in pods)


def _next_available(owner: apps_v1.StatefulSet, found: Members, now: Instant) -> int | None:
    if not owner.spec.min_ready_seconds:
        return None
    waits = [podstate.available_in_ms(pod, owner.spec.min_ready_seconds, now) for pod in found.pods.values()]
    return min((wait for wait in waits if wait), default=None)


def _set_of_claim(obj: Object, view: View) -> Iterable[Key]:
    """The set that may own a claim by its name: `<template>-<set>-<ordinal>`."""
    return [
        Key(kinds.STATEFUL_SET.resource, obj.metadata.namespace, owner.metadata.name)
        for owner in view.list(kinds.STATEFUL_SET, obj.metadata.namespace)
        if any(
            obj.metadata.name.startswith(f"{template.metadata.name}-{owner.metadata.name}-")
            for template in owner.spec.volume_claim_templates
        )
    ]


_owner_keys = ownership.keys_of(kinds.STATEFUL_SET)

CONTROLLER = Controller(
    name="statefulset",
    kind=kinds.STATEFUL_SET,
    reconcile=reconcile,
    watches=(
        (kinds.POD, _owner_keys),
        (kinds.CONTROLLER_REVISION, _owner_keys),
        (kinds.PERSISTENT_VOLUME_CLAIM, _set_of_claim),
    ),
)
