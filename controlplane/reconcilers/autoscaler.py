"""HorizontalPodAutoscalers: as many pods as it takes for each to use what it is meant to use.

What pods use is an input of the decision, and so is what is remembered: recommendations and steps of the last minutes.
As in Kubernetes they are kept in the leader's memory alone. After a change of leaders an autoscaler begins with what
the target has now as its only recommendation: it goes up at once, and down a whole window later at the earliest.

Where zero replicas are allowed, the condition ScaledToZero tells apart what an autoscaler has switched off and what
somebody else has: the latter is left alone. It is written before the target, so that no leader that dies in between
leaves a target off for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from controlplane.reconcilers.scalingmetrics import Failed, NotYet, Situation, Sources, asked_by, kind_named
from controlplane.reconcilers.scalingrules import Bounds, Past, Why, followed, longest_s
from controlplane.reconcilers.usageratios import Tolerance
from mizzen.api import custom, kinds, quantity, selectors, times
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import core_v1
from mizzen.engine import selected
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Effect, Emit, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "horizontal-pod-autoscaler"
SYNC_MS = 15_000
NOT_YET_MS = 1_000
"""How soon a metric is asked for again whose answer is on its way."""
ABLE, ACTIVE, LIMITED, TO_ZERO = "AbleToScale", "ScalingActive", "ScalingLimited", "ScaledToZero"
Autoscaler = autoscaling.HorizontalPodAutoscaler


class _CannotScale(Exception):
    """The target can't be found or has no scale."""


class _NotActive(Exception):
    """No number can be computed; with the condition and the events that say why."""

    def __init__(self, why: Why, events: Sequence[Why], statuses: Sequence[autoscaling.MetricStatus] = ()) -> None:
        super().__init__(why[1])
        self.why = why
        self.events = tuple(events)
        self.statuses = tuple(statuses)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one autoscaler between its decisions."""

    past: Past = field(default_factory=Past)
    synced: Instant = 0
    generation: int = 0
    step: tuple[Instant, int, int] | None = None
    """The change that was decided last and not seen yet: when, from how many, to how many."""


@dataclass(frozen=True, slots=True)
class _Target:
    obj: Any
    kind: Kind[Any]
    replicas: int
    running: int
    """Replicas that its status tells of."""
    selector: str

    def scaled(self, replicas: int) -> Any:
        """The target with another number of replicas."""
        if isinstance(self.kind, CustomKind) and self.kind.scale is not None:
            return replace(self.obj, content=custom.with_value(self.obj.content, self.kind.scale.spec, replicas))
        return replace(self.obj, spec=replace(self.obj.spec, replicas=replicas))


@dataclass(slots=True)
class _Result:
    """What becomes of an autoscaler."""

    conditions: dict[str, autoscaling.HorizontalPodAutoscalerCondition]
    now: Instant
    current: int
    desired: int
    metrics: tuple[autoscaling.MetricStatus, ...] = ()
    events: list[tuple[str, str, str]] = field(default_factory=list)

    def condition(self, type_: str, status: str, why: Why) -> None:
        """Set a condition; its time is that of the change of its status."""
        before = self.conditions.get(type_)
        same = before is not None and before.status == status
        at = before.last_transition_time if before is not None and same else times.render(self.now)
        self.conditions[type_] = autoscaling.HorizontalPodAutoscalerCondition(
            type=type_, status=status, last_transition_time=at, reason=why[0], message=why[1]
        )


def controller(sources: Sources) -> Controller:
    """The controller, with where figures come from; it remembers for as long as it is this one."""
    memories: dict[Key, Memory] = {}

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        del ids
        decision, memory = decide(key, view, now, sources, memories.get(key, Memory()))
        if memory is None:
            memories.pop(key, None)
        else:
            memories[key] = memory
        return decision

    return Controller(name="horizontalpodautoscaler", kind=kinds.HORIZONTAL_POD_AUTOSCALER, reconcile=reconcile)


def decide(key: Key, view: View, now: Instant, sources: Sources, memory: Memory) -> tuple[Decision, Memory | None]:
    """One autoscaler, every 15 seconds and when it is changed; with what is to be remembered of it."""
    hpa = view.get(kinds.HORIZONTAL_POD_AUTOSCALER, key.namespace, key.name)
    if hpa is None or hpa.metadata.deletion_timestamp is not None:
        return Decision(), None
    left_ms = memory.synced + SYNC_MS - now
    if left_ms > 0 and memory.generation == hpa.metadata.generation:
        return Decision(wake_after_ms=left_ms), memory
    status = hpa.status
    known = {condition.type: condition for condition in status.conditions}
    result = _Result(known, now, status.current_replicas, status.desired_replicas, status.current_metrics)
    effects: list[Effect] = []
    past, step = memory.past, None
    try:
        target = _target(hpa, view)
    except _CannotScale as error:
        why = "FailedGetScale", f"the HPA controller was unable to get the target's current scale: {error}"
        result.condition(ABLE, "False", why)
        result.events.append(("Warning", "FailedGetScale", str(error)))
    else:
        why = "SucceededGetScale", "the HPA controller was able to get the target's current scale"
        result.condition(ABLE, "True", why)
        if memory.step is not None and memory.step[2] == target.replicas:
            past = Past(past.recommendations, (*past.steps, (memory.step[0], memory.step[2] - memory.step[1])))
        past = past if past.recommendations else Past(((now, target.replicas),), past.steps)
        past = past.kept(now, longest_s(hpa.spec.behavior))
        try:
            reason, past = _choose(hpa, target, view, sources, past, result)
        except NotYet:
            return Decision(wake_after_ms=NOT_YET_MS), memory
        if result.desired != target.replicas and reason:
            effects.append(Update(target.scaled(result.desired)))
            step = (now, target.replicas, result.desired)
            text = f"the HPA controller was able to update the target scale to {result.desired}"
            result.condition(ABLE, "True", ("SucceededRescale", text))
            result.events.append(("Normal", "SuccessfulRescale", f"New size: {result.desired}; reason: {reason}"))
        _tell_zero(hpa, target, result, rescaled=step is not None)
    told = list(_told(hpa, result, rescaled=step is not None))
    effects = [*told, *effects] if step is not None and step[2] == 0 else [*effects, *told]
    return Decision(tuple(effects), wake_after_ms=SYNC_MS), Memory(past, now, hpa.metadata.generation, step)


def _tell_zero(hpa: Autoscaler, target: _Target, result: _Result, *, rescaled: bool) -> None:
    """Whether it is this autoscaler that has switched its target off, where it may."""
    if rescaled and result.desired == 0:
        result.condition(TO_ZERO, "True", (TO_ZERO, "the HPA controller scaled the workload to zero"))
    elif (rescaled or target.replicas) and (TO_ZERO in result.conditions or hpa.spec.min_replicas == 0):
        not_zero = "NotScaledToZero", "the HPA controller did not scale the workload to zero"
        result.condition(TO_ZERO, "False", not_zero)


def _told(hpa: Autoscaler, result: _Result, *, rescaled: bool) -> Iterable[Effect]:
    status = autoscaling.HorizontalPodAutoscalerStatus(
        observed_generation=hpa.metadata.generation,
        last_scale_time=times.render(result.now) if rescaled else hpa.status.last_scale_time,
        current_replicas=result.current,
        desired_replicas=result.desired,
        current_metrics=result.metrics,
        conditions=tuple(result.conditions.values()),
    )
    if status != hpa.status:
        yield UpdateStatus(replace(hpa, status=status))
    for type_, reason, message in result.events:
        yield Emit(hpa, type_, reason, message, COMPONENT)


def _choose(
    hpa: Autoscaler, target: _Target, view: View, sources: Sources, past: Past, result: _Result
) -> tuple[str, Past]:
    """Puts what is desired and the conditions into the result; returns why it is to change, and what is remembered."""
    least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
    current, most = target.replicas, hpa.spec.max_replicas
    result.current = result.desired = current
    switched_off = result.conditions.get(TO_ZERO)
    if current == 0 and (switched_off is None or switched_off.status != "True"):
        off = "ScalingDisabled", "scaling is disabled since the replica count of the target is zero"
        result.condition(ACTIVE, "False", off)
        result.metrics = ()
        return "", past
    if current > most:
        result.desired = most
        return "Current number of replicas above Spec.MaxReplicas", past
    if current < least:
        result.desired = least
        return "Current number of replicas below Spec.MinReplicas", past
    try:
        asked, metric = _asked(hpa, target, view, sources, result)
    except _NotActive as error:
        result.condition(ACTIVE, "False", error.why)
        result.metrics = error.statuses
        result.events += [("Warning", *event) for event in error.events]
        return "", past
    done = followed(Bounds(current, least, most, hpa.spec.behavior), asked, past, result.now)
    result.condition(ABLE, "True", done.able)
    result.condition(LIMITED, "True" if done.limited else "False", done.limit)
    result.desired = done.replicas
    reason = f"{metric} above target" if asked > current else "All metrics below target"
    return reason, Past((*past.recommendations, (result.now, asked)), past.steps)


def _asked(hpa: Autoscaler, target: _Target, view: View, sources: Sources, result: _Result) -> tuple[int, str]:
    """The most that a metric asks for, and its name. Raises _NotActive or NotYet."""
    pods = _pods(hpa, target, view)
    measured = {pod.metadata.name: known for pod in pods if (known := sources.usage(pod)) is not None}
    where = Situation(
        hpa.metadata.namespace, view, target.selector, target.replicas, target.running, pods, measured, sources.metrics,
        _tolerance(hpa), result.now,
    )  # fmt: skip
    best: tuple[int, str] | None = None
    failures: list[tuple[Why, str]] = []
    statuses = []
    for spec in hpa.spec.metrics:
        try:
            asks = asked_by(spec, where)
        except Failed as error:
            failures.append(((error.reason, str(error)), error.within))
            continue
        statuses.append(asks.status)
        if best is None or asks.replicas > best[0]:
            best = asks.replicas, asks.name
    count = len(hpa.spec.metrics)
    if failures and (best is None or best[0] < target.replicas):
        (reason, text), within = failures[0]
        total = f"invalid metrics ({len(failures)} invalid out of {count}), first error is: {within}: {text}"
        events = [why for why, _ in failures]
        why = reason, f"the HPA was unable to compute the replica count: {text}"
        raise _NotActive(why, [*events, ("FailedComputeMetricsReplicas", total)], statuses)
    assert best is not None, "an autoscaler has a metric"
    result.metrics = tuple(statuses)
    result.events += [("Warning", *why) for why, _ in failures]
    valid = f"the HPA was able to successfully calculate a replica count from {best[1]}"
    result.condition(ACTIVE, "True", ("ValidMetricFound", valid))
    return best


def _tolerance(hpa: Autoscaler) -> Tolerance:
    behavior = hpa.spec.behavior
    up, down = (behavior.scale_up, behavior.scale_down) if behavior is not None else (None, None)
    given = Tolerance()
    return Tolerance(
        down=given.down if down is None or down.tolerance is None else quantity.milli(down.tolerance) / 1000,
        up=given.up if up is None or up.tolerance is None else quantity.milli(up.tolerance) / 1000,
    )


def _target(hpa: Autoscaler, view: View) -> _Target:
    """The target and its scale. Raises _CannotScale."""
    reference = hpa.spec.scale_target_ref
    kind = kind_named(reference.api_version, reference.kind, view)
    if kind is None or "scale" not in kind.subresources:
        group = reference.api_version.rpartition("/")[0]
        raise _CannotScale(f'no matches for kind "{reference.kind}" in group "{group}"')
    stored = view.catalog.by_kind[kind.api_version, kind.kind]
    obj: Any = view.get(stored, hpa.metadata.namespace, reference.name)
    if obj is None:
        raise _CannotScale(f'{kind.resource} "{reference.name}" not found')
    if isinstance(kind, CustomKind):
        assert kind.scale is not None
        number = custom.at(obj.content, kind.scale.spec)
        selector = custom.at(obj.content, kind.scale.selector) if kind.scale.selector else ""
        if not isinstance(number, int):
            raise _CannotScale(f'the spec replicas field ".{".".join(kind.scale.spec)}" does not exist')
        running = custom.at(obj.content, kind.scale.status)
        running = running if isinstance(running, int) else 0
        return _Target(obj, kind, number, running, selector if isinstance(selector, str) else "")
    running = obj.status.replicas or 0
    return _Target(obj, kind, obj.spec.replicas or 0, running, str(selectors.of_workload(obj.spec.selector)))


def _pods(hpa: Autoscaler, target: _Target, view: View) -> Sequence[core_v1.Pod]:
    """The target's pods. Raises _NotActive where it can't be told which they are."""
    if not target.selector:
        why = "InvalidSelector", "the HPA target's scale is missing a selector"
        raise _NotActive(why, [("SelectorRequired", "selector is required")])
    try:
        selector = selectors.parse(target.selector)
    except selectors.SelectorError as error:
        text = f"couldn't convert selector into a corresponding internal selector object: {error}"
        raise _NotActive(("InvalidSelector", text), [("InvalidSelector", text)]) from error
    pods = selected.pods(view, hpa.metadata.namespace, selector)
    sharing = sorted({*_sharing(hpa, pods, view)})
    if sharing:
        names = " ".join(f"{hpa.metadata.namespace}/{name}" for name in sorted((*sharing, hpa.metadata.name)))
        text = f"pods by selector {target.selector} are controlled by multiple HPAs: [{names}]"
        raise _NotActive(("AmbiguousSelector", text), [("AmbiguousSelector", text)])
    return pods


def _sharing(hpa: Autoscaler, pods: Sequence[core_v1.Pod], view: View) -> Iterable[str]:
    """Other autoscalers that have some of these pods."""
    for other in view.list(kinds.HORIZONTAL_POD_AUTOSCALER, hpa.metadata.namespace):
        if other.metadata.name == hpa.metadata.name:
            continue
        try:
            selector = selectors.parse(_target(other, view).selector)
        except (_CannotScale, selectors.SelectorError):
            continue
        if not selector.everything and any(selector.matches(pod.metadata.labels) for pod in pods):
            yield other.metadata.name
