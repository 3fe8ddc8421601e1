"""HorizontalPodAutoscalers: as many pods as it takes for each to use what it is meant to use.

What pods use is an input of the decision, and so is what is remembered: recommendations and steps of the last minutes.
As in Kubernetes they are kept in the leader's memory alone. After a change of leaders an autoscaler begins with what
the target has now as its only recommendation: it goes up at once, and down a whole window later at the earliest.

Metrics of pods, objects and others need a source beside the nodes, and without one they fail as on a cluster that has
none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from controlplane.reconcilers.scalingrules import Bounds, Past, Why, followed, longest_s
from controlplane.reconcilers.usageratios import Aim, Measured, NoMetric, Tolerance, Wanted, wanted
from mizzen.api import custom, kinds, quantity, resources, selectors, times
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import core_v1, metrics_v1beta1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Effect, Emit, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "horizontal-pod-autoscaler"
SYNC_MS = 15_000
ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
Autoscaler = autoscaling.HorizontalPodAutoscaler
Usage = Callable[[core_v1.Pod], metrics_v1beta1.PodMetrics | None]
"""What a pod uses now, if somebody knows."""


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


def controller(usage: Usage) -> Controller:
    """The controller, with a source of what pods use; it remembers for as long as it is this one."""
    memories: dict[Key, Memory] = {}

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        del ids
        decision, memory = decide(key, view, now, usage, memories.get(key, Memory()))
        if memory is None:
            memories.pop(key, None)
        else:
            memories[key] = memory
        return decision

    return Controller(name="horizontalpodautoscaler", kind=kinds.HORIZONTAL_POD_AUTOSCALER, reconcile=reconcile)


def decide(key: Key, view: View, now: Instant, usage: Usage, memory: Memory) -> tuple[Decision, Memory | None]:
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
        reason, past = _choose(hpa, target, view, usage, past, result)
        if result.desired != target.replicas and reason:
            effects.append(Update(target.scaled(result.desired)))
            step = (now, target.replicas, result.desired)
            text = f"the HPA controller was able to update the target scale to {result.desired}"
            result.condition(ABLE, "True", ("SucceededRescale", text))
            result.events.append(("Normal", "SuccessfulRescale", f"New size: {result.desired}; reason: {reason}"))
    effects += _told(hpa, result, rescaled=step is not None)
    return Decision(tuple(effects), wake_after_ms=SYNC_MS), Memory(past, now, hpa.metadata.generation, step)


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
    hpa: Autoscaler, target: _Target, view: View, usage: Usage, past: Past, result: _Result
) -> tuple[str, Past]:
    """Puts what is desired and the conditions into the result; returns why it is to change, and what is remembered."""
    least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
    current, most = target.replicas, hpa.spec.max_replicas
    result.current = result.desired = current
    if current == 0 and least != 0:
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
        asked, metric = _asked(hpa, target, view, usage, result)
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


def _asked(hpa: Autoscaler, target: _Target, view: View, usage: Usage, result: _Result) -> tuple[int, str]:
    """The most that a metric asks for, and its name. Raises _NotActive."""
    pods = _pods(hpa, target, view)
    measured = {pod.metadata.name: known for pod in pods if (known := usage(pod)) is not None}
    best: tuple[int, str] | None = None
    failures: list[tuple[Why, str, str]] = []
    statuses = []
    for spec in hpa.spec.metrics:
        try:
            found, name, status = _metric(spec, hpa, target, pods, measured, result.now)
        except _Failed as error:
            failures.append(((error.reason, str(error)), error.within, error.what))
            continue
        statuses.append(status)
        if best is None or found > best[0]:
            best = found, name
    count = len(hpa.spec.metrics)
    if failures and (best is None or best[0] < target.replicas):
        (reason, text), within, _ = failures[0]
        total = f"invalid metrics ({len(failures)} invalid out of {count}), first error is: {within}: {text}"
        events = [why for why, _, _ in failures]
        why = reason, f"the HPA was unable to compute the replica count: {text}"
        raise _NotActive(why, [*events, ("FailedComputeMetricsReplicas", total)], statuses)
    assert best is not None, "an autoscaler has a metric"
    result.metrics = tuple(statuses)
    result.events += [("Warning", *why) for why, _, _ in failures]
    valid = f"the HPA was able to successfully calculate a replica count from {best[1]}"
    result.condition(ACTIVE, "True", ("ValidMetricFound", valid))
    return best


class _Failed(Exception):
    """A metric says nothing."""

    def __init__(self, reason: str, why: str, within: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.within = within
        """What could not be had, in front of the reason."""
        self.what = why


_APIS: Mapping[str, tuple[str, str]] = {
    "Pods": ("pods", "custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"),
    "Object": ("object", "custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"),
    "External": ("external", "external metrics API: no external metrics API (external.metrics.k8s.io) registered"),
}


def _metric(
    spec: autoscaling.MetricSpec,
    hpa: Autoscaler,
    target: _Target,
    pods: Sequence[core_v1.Pod],
    measured: Measured,
    now: Instant,
) -> tuple[int, str, autoscaling.MetricStatus]:
    """What one metric asks for, its name, and what is told of it. Raises _Failed."""
    if spec.type in _APIS:
        word, api = _APIS[spec.type]
        source: Any = getattr(spec, word)
        text = f"unable to get metric {source.metric.name}: unable to fetch metrics from {api}"
        raise _Failed(f"FailedGet{spec.type}Metric", text, f"failed to get {word} metric value")
    source = spec.resource or spec.container_resource
    assert source is not None
    inside = "" if spec.resource is not None else " container"
    aim = _aim(spec)
    try:
        found = wanted(aim, target.replicas, pods, measured, _tolerance(hpa), now)
    except NoMetric as error:
        what = "utilization" if aim.utilization is not None else "usage"
        text = f"failed to get {aim.resource} {what}: {error}"
        reason = f"FailedGet{spec.type}Metric"
        raise _Failed(reason, text, f"failed to get {aim.resource}{inside} resource metric value") from error
    name = f"{aim.resource}{inside} resource"
    if aim.utilization is not None:
        name = f"{name} utilization (percentage of request)"
    return found.replicas, name, _status(spec, aim, found)


def _aim(spec: autoscaling.MetricSpec) -> Aim:
    if spec.container_resource is not None:
        name, container = spec.container_resource.name, spec.container_resource.container
        target = spec.container_resource.target
    else:
        assert spec.resource is not None
        name, container, target = spec.resource.name, "", spec.resource.target
    if target.average_value is not None:
        return Aim(name, container, value=quantity.milli(target.average_value))
    return Aim(name, container, utilization=target.average_utilization)


def _status(spec: autoscaling.MetricSpec, aim: Aim, found: Wanted) -> autoscaling.MetricStatus:
    amount = quantity.of_milli(found.average)
    if aim.resource == resources.MEMORY and found.average % 1000 == 0:
        amount = str(found.average // 1000)
    current = autoscaling.MetricValueStatus(average_value=amount, average_utilization=found.utilization)
    if spec.container_resource is not None:
        of_container = autoscaling.ContainerResourceMetricStatus(
            name=aim.resource, container=aim.container, current=current
        )
        return autoscaling.MetricStatus(type=spec.type, container_resource=of_container)
    of_pod = autoscaling.ResourceMetricStatus(name=aim.resource, current=current)
    return autoscaling.MetricStatus(type=spec.type, resource=of_pod)


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
    group = reference.api_version.rpartition("/")[0]
    kind = view.catalog.by_type.get((reference.api_version, reference.kind)) or next(
        (kind for kind in view.catalog.served if (kind.group, kind.kind) == (group, reference.kind)), None
    )
    if kind is None or "scale" not in kind.subresources:
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
        return _Target(obj, kind, number, selector if isinstance(selector, str) else "")
    return _Target(obj, kind, obj.spec.replicas or 0, str(selectors.of_workload(obj.spec.selector)))


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
    pods = [pod for pod in view.list(kinds.POD, hpa.metadata.namespace) if selector.matches(pod.metadata.labels)]
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
