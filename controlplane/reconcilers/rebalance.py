"""Moves a Deployment's pods to better nodes, such as one that has returned, where the Deployment asks for that.

One pod of a Deployment moves at a time. It is noted at its Deployment, and at the pod as one to be replaced, so that
its ReplicaSet makes another beside it. When that one is ready, the pod is evicted. So there are never fewer ready pods
than before, and disruption budgets have the last word.

Nothing goes back and forth. Only what gains clearly moves, by the scores that place pods; a node has to be well for a
while; after each move there is a pause, and a long one after a move that led to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from controlplane.reconcilers import deployment_status, podstate
from mizzen.api import kinds, selectors, times, workloads
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1, policy_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Effect, Emit, Evict, Update, Waiting
from mizzen.engine.placing import Better, FindBetter
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

T = TypeVar("T", apps_v1.Deployment, core_v1.Pod)

COMPONENT = "rebalancer"
GAIN_MIN = 50
"""By how much a place must be better; an empty node is better than a full one by 200, one sibling less by 250."""
MOVES_MAX = 3
"""Deployments that may have a pod on the move at the same time."""
STEADY_MS = 120_000
"""How long a node must have been ready."""
PAUSE_MS = 30_000
"""How long a Deployment rests after a move."""
FAILED_PAUSE_MS = 600_000
"""The same after a move that led to nothing."""
LOOK_MS = 5_000
"""How often that is looked at of which no change is told: budgets, and the moves of others."""


def reconcile(find_better: FindBetter, key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Deployment: begin a move, or go on with it."""
    del ids
    owner = view.get(kinds.DEPLOYMENT, key.namespace, key.name)
    if owner is None or owner.metadata.deletion_timestamp is not None:
        return Decision()
    if workloads.MOVING in owner.metadata.annotations:
        return _go_on(owner, view, now)
    if workloads.moves(owner.metadata) and deployment_status.is_complete(owner, owner.status):
        return _begin(owner, find_better, view, now)
    return Decision()


def _begin(owner: apps_v1.Deployment, find_better: FindBetter, view: View, now: Instant) -> Decision:
    rests_ms = _rests_for_ms(owner, now)
    if rests_ms:
        return Decision(wake_after_ms=rests_ms)
    pods = [pod for rs in _sets(owner, view) for pod in _pods(rs, view)]
    if any(workloads.leaves_for_ms(pod, now) is not None or not podstate.is_ready(pod) for pod in pods):
        return Decision(wake_after_ms=LOOK_MS)
    scratch = owner.metadata.annotations[workloads.REBALANCE] == workloads.REBALANCE_SCRATCH
    found = find_better([pod for pod in pods if _is_free(pod, scratch=scratch)], view)
    if found is None or found.gain < GAIN_MIN:
        return Decision()
    unsteady_ms = _unsteady_for_ms(found.node, view, now)
    if unsteady_ms:
        message = f"node {found.node} has not been ready for long"
        return Decision(wake_after_ms=unsteady_ms, waiting=(Waiting("RebalanceWaits", message),))
    moving = sum(
        workloads.MOVING in one.metadata.annotations for one in view.select(indexes.MOVING_DEPLOYMENTS, indexes.MOVES)
    )
    if moving >= MOVES_MAX:
        message = f"{moving} other deployments have a pod on the move"
        return Decision(wake_after_ms=LOOK_MS, waiting=(Waiting("RebalanceWaits", message),))
    return Decision(tuple(_move(owner, found, pods, now)))


def _move(owner: apps_v1.Deployment, found: Better, pods: Iterable[core_v1.Pod], now: Instant) -> Iterator[Effect]:
    name, here = found.pod.metadata.name, found.pod.spec.node_name
    counts = Counter(pod.spec.node_name for pod in pods)
    yield Update(_noted(owner, {workloads.MOVING: name, workloads.REBALANCE_AFTER: None}))
    yield Update(_noted(found.pod, {workloads.EVICTION_WANTED: times.render(now)}))
    places = f"{here}, which has {counts[here]} of its pods, to {found.node}, which has {counts[found.node]}"
    yield Emit(owner, "Normal", "Rebalancing", f"Moving pod {name} from {places}: a replacement first", COMPONENT)


def _go_on(owner: apps_v1.Deployment, view: View, now: Instant) -> Decision:
    name = owner.metadata.annotations[workloads.MOVING]
    pod = view.get(kinds.POD, owner.metadata.namespace, name)
    sets = _sets(owner, view)
    rs = next((rs for rs in sets if pod is not None and _is_of(pod, rs)), None)
    if pod is None or rs is None or not podstate.is_active(pod):
        return Decision((Update(_at_rest(owner, now + PAUSE_MS)),))
    left_ms = workloads.leaves_for_ms(pod, now)
    pods = _pods(rs, view)
    why = _why_not(owner, pod, pods, is_late=left_ms is None, is_rolling=len(sets) > 1)
    if why:
        return Decision(tuple(_given_up(owner, pod, why, now)))
    assert left_ms is not None, "a move that is late is given up"
    wanted = rs.spec.replicas if rs.spec.replicas is not None else 1
    if sum(map(podstate.is_ready, pods)) - podstate.is_ready(pod) < wanted:
        waiting = Waiting("RebalanceWaits", f"the replacement of pod {name} is not ready")
        return Decision(wake_after_ms=left_ms, waiting=(waiting,))
    held = next((one.metadata.name for one in _budgets(pod, view) if not _allows(one)), "")
    if held:
        waiting = Waiting("RebalanceWaits", f"the disruption budget {held} does not let pod {name} go")
        return Decision(wake_after_ms=min(left_ms, LOOK_MS), waiting=(waiting,))
    told = f"Pod {name} leaves {pod.spec.node_name}: its replacement is ready"
    evict = Evict(pod.metadata.namespace, name, pod.metadata.uid)
    return Decision((evict, Emit(owner, "Normal", "Rebalanced", told, COMPONENT)))


def _why_not(
    owner: apps_v1.Deployment, pod: core_v1.Pod, pods: list[core_v1.Pod], *, is_late: bool, is_rolling: bool
) -> str:
    """Why a move is given up; empty while it goes on."""
    if not workloads.moves(owner.metadata):
        return "it is not asked for any more"
    if is_rolling:
        return "another revision rolls out"
    if is_late:
        return "the replacement was not ready in time"
    others = [one for one in pods if one is not pod and one.spec.node_name]
    if not others:
        return ""
    made = max(others, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name))
    counts = Counter(one.spec.node_name for one in pods)
    if made.metadata.creation_timestamp < pod.metadata.annotations[workloads.EVICTION_WANTED]:
        return ""
    if made.spec.node_name == pod.spec.node_name or counts[made.spec.node_name] > counts[pod.spec.node_name]:
        return f"the replacement came to {made.spec.node_name}, which is no better"
    return ""


def _given_up(owner: apps_v1.Deployment, pod: core_v1.Pod, why: str, now: Instant) -> Iterator[Effect]:
    if workloads.EVICTION_WANTED in pod.metadata.annotations:
        yield Update(_noted(pod, {workloads.EVICTION_WANTED: None}))
    yield Update(_at_rest(owner, now + FAILED_PAUSE_MS))
    message = f"Pod {pod.metadata.name} stays on {pod.spec.node_name}: {why}"
    yield Emit(owner, "Normal", "RebalanceGivenUp", message, COMPONENT)


def _noted(obj: T, notes: dict[str, str | None]) -> T:
    """An object with these annotations; None takes one away."""
    merged = {**obj.metadata.annotations, **notes}
    kept = {name: value for name, value in merged.items() if value is not None}
    return replace(obj, metadata=replace(obj.metadata, annotations=kept))


def _at_rest(owner: apps_v1.Deployment, until: Instant) -> apps_v1.Deployment:
    return _noted(owner, {workloads.MOVING: None, workloads.REBALANCE_AFTER: times.render(until)})


def _rests_for_ms(owner: apps_v1.Deployment, now: Instant) -> int:
    try:
        return max(0, times.parse(owner.metadata.annotations.get(workloads.REBALANCE_AFTER, "")) - now)
    except times.TimeError:
        return 0


def _unsteady_for_ms(name: str, view: View, now: Instant) -> int:
    """How long a node must still be ready before pods move there."""
    node = view.get(kinds.NODE, "", name)
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None) if node is not None else None
    if ready is None or ready.status != "True":
        return STEADY_MS
    try:
        return max(0, times.parse(ready.last_transition_time) + STEADY_MS - now)
    except times.TimeError:
        return STEADY_MS


def _sets(owner: apps_v1.Deployment, view: View) -> list[apps_v1.ReplicaSet]:
    """The ReplicaSets that have pods or are to have some."""
    found = view.select(indexes.REPLICA_SETS_BY_CONTROLLER, owner.metadata.uid)
    return [rs for rs in found if rs.spec.replicas or rs.status.replicas]


def _is_of(pod: core_v1.Pod, rs: apps_v1.ReplicaSet) -> bool:
    return any(one.controller and one.uid == rs.metadata.uid for one in pod.metadata.owner_references)


def _pods(rs: apps_v1.ReplicaSet, view: View) -> list[core_v1.Pod]:
    return [pod for pod in view.select(indexes.PODS_BY_CONTROLLER, rs.metadata.uid) if podstate.is_active(pod)]


def _is_free(pod: core_v1.Pod, *, scratch: bool) -> bool:
    """Whether nothing on its node belongs to a pod; what its claims say is known to who scores nodes."""
    return not any(
        volume.host_path is not None or (volume.empty_dir is not None and not scratch) for volume in pod.spec.volumes
    )


def _budgets(pod: core_v1.Pod, view: View) -> list[policy_v1.PodDisruptionBudget]:
    found = view.list(kinds.POD_DISRUPTION_BUDGET, pod.metadata.namespace)
    return [one for one in found if selectors.from_field(one.spec.selector).matches(pod.metadata.labels)]


def _allows(budget: policy_v1.PodDisruptionBudget) -> bool:
    is_counted = budget.status.observed_generation >= budget.metadata.generation
    return is_counted and budget.status.disruptions_allowed > 0


def _concerned(node: Object, view: View) -> Iterator[Key]:
    """The Deployments whose pods may have better places now."""
    del node
    for owner in view.select(indexes.MOVING_DEPLOYMENTS, indexes.MOVES):
        yield Key(kinds.DEPLOYMENT.resource, owner.metadata.namespace, owner.metadata.name)


def controller(find_better: FindBetter) -> Controller:
    """The controller; it goes by what `find_better` says of pods and nodes."""
    decide: Callable[[Key, View, Instant, Ids], Decision] = partial(reconcile, find_better)
    return Controller(
        name="rebalance",
        kind=kinds.DEPLOYMENT,
        reconcile=decide,
        watches=((kinds.NODE, _concerned),),
        settle_ms=2_000,
        # One after the other, or together they would begin more moves than there may be.
        workers=1,
    )
