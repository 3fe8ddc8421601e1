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
FAILED_AGE_MS = 10_000
"""A pod that fails at once is replaced only at this age: a node that refuses it would make a new one in every turn."""


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
    leaving: int
    """Pods on their way out."""


@dataclass(slots=True)
class _Plan:
    create: list[str] = field(default_factory=list)
    """Names of nodes."""
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
    for post in posts:
        _man(post, plan, now)
    _roll(owner, posts, plan, now)
    status, waits = _status(owner, posts, now)
    for wait in waits:
        plan.wake(wait)
    effects = _perform(owner, plan, digest, ids)
    hashes = {pod.metadata.labels.get(history.HASH_LABEL, "") for pod in claimed.owned}
    names = {r.metadata.name for r in past.all if r.metadata.labels.get(history.HASH_LABEL) in hashes}
    effects += history.forget(owner, past, {*names, past.current.metadata.name})
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
                sum(pod.metadata.deletion_timestamp is not None for pod in here),
            )
        )
    # Pods that run on a node that is gone are for the pod collector, which knows when they are really over.
    astray = [pod for name in sorted(by_node) for pod in by_node[name] if not pod.spec.node_name]
    return posts, [pod for pod in astray if podstate.is_active(pod)]


def _man(post: Post, plan: _Plan, now: Instant) -> None:
    """What a node needs whatever the template: one pod where there should be one, none where there should not."""
    if not post.stays:
        plan.delete += (*post.new, *post.old, *post.finished)
        return
    for pod in post.finished:
        if (left_ms := _made_ms(pod) + FAILED_AGE_MS - now) > 0:
            plan.wake(left_ms)
        else:
            plan.delete.append(pod)
    if post.starts and not (post.new or post.old or post.finished or post.leaving):
        plan.create.append(post.node.metadata.name)
    plan.delete += (*post.new[1:], *post.old[1:])


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
        if post.new or not _is_available(owner, old, now):
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
            if _is_available(owner, post.new[0], now):
                plan.delete.append(old)
        elif post.finished or post.leaving:
            continue
        elif not _is_available(owner, old, now):
            plan.create.append(post.node.metadata.name)
        elif beside < surge:
            beside += 1
            plan.create.append(post.node.metadata.name)


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
    for node in plan.create[:BURST]:
        pod = daemonnodes.pod_for(owner, node, digest, ids)
        effects.append(Create(pod))
        effects.append(Emit(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}", COMPONENT))
    return effects


def _finished(owner: apps_v1.DaemonSet, pod: core_v1.Pod) -> Emit:
    where = f"{pod.metadata.namespace}/{pod.metadata.name} on node {pod.spec.node_name}"
    if pod.status.phase == "Failed":
        told = f"Found failed daemon pod {where}, will try to kill it"
        return Emit(owner, "Warning", "FailedDaemonPod", told, COMPONENT)
    told = f"Found succeeded daemon pod {where}, will try to delete it"
    return Emit(owner, "Normal", "SucceededDaemonPod", told, COMPONENT)


def _status(owner: apps_v1.DaemonSet, posts: Sequence[Post], now: Instant) -> tuple[apps_v1.DaemonSetStatus, list[int]]:
    """The counts, by nodes; and after how many milliseconds pods will have been ready for long enough."""
    wanted = [post for post in posts if post.starts]
    available, waits = 0, []
    for post in wanted:
        left = [podstate.available_in_ms(p, owner.spec.min_ready_seconds, now) for p in (*post.new, *post.old)]
        available += 0 in left
        waits += [ms for ms in left if ms]
    status = msgspec.structs.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        desired_number_scheduled=len(wanted),
        current_number_scheduled=sum(bool(post.new or post.old) for post in wanted),
        number_misscheduled=sum(bool(post.new or post.old) for post in posts if not post.starts),
        number_ready=sum(any(map(podstate.is_ready, (*post.new, *post.old))) for post in wanted),
        updated_number_scheduled=sum(bool(post.new) for post in wanted),
        number_available=available,
        number_unavailable=len(wanted) - available,
    )
    return status, waits


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
