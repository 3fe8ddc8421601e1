"""Keeps one pod of a DaemonSet on every node that it is for, and brings them to a new template a few at a time.

Which nodes those are is in `daemonnodes`, which template is which in `history`. A pod is bound to its node by an
affinity that only this node satisfies; the scheduler places it like any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from controlplane.reconcilers import daemonnodes, history, ownership, podstate
from mizzen.api import intstr, kinds, selectors, times
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "daemonset-controller"
BURST = 250
"""Pods made or deleted in one decision; what is left over follows at once, on the view that shows these."""
PAUSE_FIRST_MS, PAUSE_MAX_MS = 1_000, 900_000
"""A pod that fails is replaced at once, the one after it not before this age, which doubles with every failure in a
row: a node that refuses it would make a new one in every turn."""


@dataclass(frozen=True, slots=True)
class Post:
    """A node, what should be there, and what is."""

    node: core_v1.Node
    starts: bool
    stays: bool
    new: tuple[core_v1.Pod, ...]
    """Active pods of the present template, oldest first."""
    old: tuple[core_v1.Pod, ...]
    finished: tuple[core_v1.Pod, ...]
    leaving: tuple[core_v1.Pod, ...]
    """Pods on their way out that have not stopped yet."""


@dataclass(slots=True)
class _Plan:
    create: list[tuple[str, int]] = field(default_factory=list)
    """Names of nodes, and how often pods in a row have failed there."""
    delete: list[core_v1.Pod] = field(default_factory=list)
    wake_after_ms: int | None = None

    def wake(self, after_ms: int) -> None:
        self.wake_after_ms = after_ms if self.wake_after_ms is None else min(after_ms, self.wake_after_ms)


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One DaemonSet: pods for the nodes that lack one, an end for those that are too many, and its status."""
    owner = view.get(kinds.DAEMON_SET, key.namespace, key.name)
    if owner is None:
        return Decision()
    selector = selectors.from_field(owner.spec.selector)
    claimed = ownership.claim(owner, selector, ownership.pods(view, owner, selector))
    if owner.metadata.deletion_timestamp is not None or claimed.effects:
        return Decision(claimed.effects)
    past = history.of(owner, view, history.HASH_LABEL)
    if past.collision_count is not None:
        status = msgspec.structs.replace(owner.status, collision_count=past.collision_count)
        return Decision((UpdateStatus(msgspec.structs.replace(owner, status=status)),))
    if past.current is None:
        return Decision(past.effects)
    digest = past.current.metadata.labels[history.HASH_LABEL]
    posts, astray = _posts(owner, claimed.owned, digest, view)
    plan = _Plan(delete=astray)
    surges = _surges(owner)
    for post in posts:
        _man(post, plan, now, surges=surges)
    _roll(owner, posts, plan, now)
    status, waits = _status(owner, posts, now)
    for wait in waits:
        plan.wake(wait)
    effects = _perform(owner, plan, digest, ids)
    hashes = {pod.metadata.labels.get(history.HASH_LABEL, "") for pod in claimed.owned}
    old = [revision for revision in past.all if revision is not past.current]
    names = {r.metadata.name for r in old if r.metadata.labels.get(history.HASH_LABEL) in hashes}
    effects += history.forget(owner, past, {*names, past.current.metadata.name}, counted=len(names))
    if status != owner.status:
        effects.append(UpdateStatus(msgspec.structs.replace(owner, status=status)))
    return Decision(tuple(effects), wake_after_ms=plan.wake_after_ms)


def _posts(
    owner: apps_v1.DaemonSet, pods: Sequence[core_v1.Pod], digest: str, view: View
) -> tuple[list[Post], list[core_v1.Pod]]:
    """Every node with the set's pods there; and the pods that have not been placed and whose node is gone."""
    by_node: dict[str, list[core_v1.Pod]] = defaultdict(list)
    for pod in pods:
        by_node[daemonnodes.node_of(pod)].append(pod)
    posts = []
    for node in view.list(kinds.NODE):
        starts, stays = daemonnodes.fate(owner.spec.template.spec, node)
        here = daemonnodes.oldest_first(by_node.pop(node.metadata.name, []))
        active = [pod for pod in here if podstate.is_active(pod)]
        posts.append(
            Post(
                node,
                starts,
                stays,
                tuple(pod for pod in active if pod.metadata.labels.get(history.HASH_LABEL) == digest),
                tuple(pod for pod in active if pod.metadata.labels.get(history.HASH_LABEL) != digest),
                tuple(pod for pod in here if podstate.is_finished(pod) and pod.metadata.deletion_timestamp is None),
                tuple(pod for pod in here if podstate.is_terminating(pod)),
            )
        )
    # Pods that run on a node that is gone are for the pod collector, which knows when they are really over.
    astray = [pod for name in sorted(by_node) for pod in by_node[name] if not pod.spec.node_name]
    return posts, [pod for pod in astray if podstate.is_active(pod)]


def _man(post: Post, plan: _Plan, now: Instant, *, surges: bool) -> None:
    """What a node needs whatever the template: one pod where there should be one, none where there should not."""
    if not post.stays:
        plan.delete += (*post.new, *post.old, *post.finished)
        return
    failures, held = 0, False
    for pod in post.finished:
        failed = pod.status.phase == "Failed"
        if failed and (left_ms := _made_ms(pod) + _pause_ms(daemonnodes.failures_before(pod)) - now) > 0:
            plan.wake(left_ms)
            held = True
            continue
        plan.delete.append(pod)
        if failed:
            failures = max(failures, _failures_with(pod, now))
    # Where pods may stand beside each other, one that leaves is not waited for.
    waits = held or (post.leaving and not surges)
    if post.starts and not (post.new or post.old or waits):
        plan.create.append((post.node.metadata.name, failures))
    if surges:
        plan.delete += (*post.new[1:], *post.old[1:])
    else:
        plan.delete += daemonnodes.oldest_first((*post.new, *post.old))[1:]


def _pause_ms(failures: int) -> int:
    return min(PAUSE_FIRST_MS << min(failures - 1, 16), PAUSE_MAX_MS) if failures else 0


def _failures_with(pod: core_v1.Pod, now: Instant) -> int:
    """How many pods in a row have failed with this one, the first of a new row if it has lived for long."""
    before = daemonnodes.failures_before(pod) if now - _made_ms(pod) <= 2 * PAUSE_MAX_MS else 0
    return before + 1


def _made_ms(pod: core_v1.Pod) -> Instant:
    return times.parse(pod.metadata.creation_timestamp) if pod.metadata.creation_timestamp else 0


def _roll(owner: apps_v1.DaemonSet, posts: Sequence[Post], plan: _Plan, now: Instant) -> None:
    """Replace pods of past templates, within the limits of the strategy."""
    if owner.spec.update_strategy.type == "OnDelete":
        return
    starting = [post for post in posts if post.starts]
    surge, unavailable = _limits(owner, len(starting))
    if surge:
        _roll_with_surge(owner, starting, plan, now, surge)
        return
    down = sum(not any(_is_available(owner, pod, now) for pod in (*post.new, *post.old)) for post in starting)
    for post in starting:
        if not post.old:
            continue
        old = post.old[0]
        if post.new:
            continue
        if not _is_available(owner, old, now):
            plan.delete.append(old)
        elif down < unavailable:
            down += 1
            plan.delete.append(old)


def _roll_with_surge(owner: apps_v1.DaemonSet, posts: Sequence[Post], plan: _Plan, now: Instant, surge: int) -> None:
    """A new pod beside the old one; the old one goes when the new one is available."""
    beside = sum(bool(post.old and post.new) for post in posts)
    for post in posts:
        if not post.old:
            continue
        old = post.old[0]
        if post.new:
            if _is_available(owner, post.new[0], now) or not podstate.is_ready(old):
                plan.delete.append(old)
        elif post.finished or post.leaving:
            continue
        elif not _is_available(owner, old, now):
            plan.create.append((post.node.metadata.name, 0))
        elif beside < surge:
            beside += 1
            plan.create.append((post.node.metadata.name, 0))


def _surges(owner: apps_v1.DaemonSet) -> bool:
    rolling = owner.spec.update_strategy.rolling_update
    return (
        owner.spec.update_strategy.type != "OnDelete"
        and rolling is not None
        and rolling.max_surge not in (None, 0, "0%")
    )


def _limits(owner: apps_v1.DaemonSet, nodes: int) -> tuple[int, int]:
    """How many nodes may have two pods, and how many none, at once."""
    rolling = owner.spec.update_strategy.rolling_update or apps_v1.RollingUpdateDaemonSet()
    surge = intstr.scaled(rolling.max_surge or 0, nodes, round_up=True)
    wanted = 1 if rolling.max_unavailable is None else rolling.max_unavailable
    unavailable = intstr.scaled(wanted, nodes, round_up=True)
    return surge, unavailable if surge or unavailable else 1


def _is_available(owner: apps_v1.DaemonSet, pod: core_v1.Pod, now: Instant) -> bool:
    return podstate.available_in_ms(pod, owner.spec.min_ready_seconds, now) == 0


def _perform(owner: apps_v1.DaemonSet, plan: _Plan, digest: str, ids: Ids) -> list[Effect]:
    effects: list[Effect] = []
    for pod in plan.delete[:BURST]:
        name = pod.metadata.name
        if podstate.is_finished(pod):
            effects.append(_finished(owner, pod))
        effects.append(Delete(Key(kinds.POD.resource, pod.metadata.namespace, name), pod.metadata.uid))
        effects.append(Emit(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}", COMPONENT))
    for node, failures in plan.create[:BURST]:
        pod = daemonnodes.pod_for(owner, node, digest, failures, ids)
        effects.append(Create(pod))
        effects.append(Emit(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}", COMPONENT))
    return effects


def _finished(owner: apps_v1.DaemonSet, pod: core_v1.Pod) -> Emit:
    where = f"{pod.metadata.namespace}/{pod.metadata.name} on node {daemonnodes.node_of(pod)}"
    if pod.status.phase == "Failed":
        told = f"Found failed daemon pod {where}, will try to kill it"
        return Emit(owner, "Warning", "FailedDaemonPod", told, COMPONENT)
    told = f"Found succeeded daemon pod {where}, will try to delete it"
    return Emit(owner, "Normal", "SucceededDaemonPod", told, COMPONENT)


def _status(owner: apps_v1.DaemonSet, posts: Sequence[Post], now: Instant) -> tuple[apps_v1.DaemonSetStatus, list[int]]:
    """The counts, by nodes; and after how many milliseconds pods will have been ready for long enough.

    Of several pods on a node the oldest is the one that counts.
    """
    wanted = [post for post in posts if post.starts]
    first = [pods[0] for post in wanted if (pods := _there(post))]
    left = [podstate.available_in_ms(pod, owner.spec.min_ready_seconds, now) for pod in first]
    newest = {pod.metadata.uid for post in wanted for pod in post.new}
    status = msgspec.structs.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        desired_number_scheduled=len(wanted),
        current_number_scheduled=len(first),
        number_misscheduled=sum(bool(_there(post)) for post in posts if not post.starts),
        number_ready=sum(map(podstate.is_ready, first)),
        updated_number_scheduled=sum(pod.metadata.uid in newest for pod in first),
        number_available=left.count(0),
        number_unavailable=len(wanted) - left.count(0),
    )
    waits = [podstate.available_in_ms(pod, owner.spec.min_ready_seconds, now) for post in wanted for pod in post.new]
    return status, [ms for ms in (*left, *waits) if ms]


def _there(post: Post) -> list[core_v1.Pod]:
    return daemonnodes.oldest_first((*post.new, *post.old, *post.finished, *post.leaving))


def _every_set(obj: Object, view: View) -> Iterable[Key]:
    """A node may be one for any of the sets."""
    return [
        Key(kinds.DAEMON_SET.resource, owner.metadata.namespace, owner.metadata.name)
        for owner in view.list(kinds.DAEMON_SET)
    ]


_owner_keys = ownership.keys_of(kinds.DAEMON_SET)

CONTROLLER = Controller(
    name="daemonset",
    kind=kinds.DAEMON_SET,
    reconcile=reconcile,
    watches=((kinds.POD, _owner_keys), (kinds.CONTROLLER_REVISION, _owner_keys), (kinds.NODE, _every_set)),
)
