"""Ranges of limits: what a namespace's LimitRanges fill into pods, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from controlplane.admission.request import Request
from mizzen.api import kinds, quantity, resource_lists
from mizzen.api.errors import Forbidden
from mizzen.api.types import core_v1 as core
from mizzen.engine.view import View

ANNOTATION = "kubernetes.io/limit-ranger"
_CONTAINER, _POD, _CLAIM = "Container", "Pod", "PersistentVolumeClaim"
_MILLI = 1000


def fill(pod: core.Pod, namespace: str, view: View) -> core.Pod:
    """The new pod with the requests and limits that its containers leave to the namespace."""
    for ranges in view.list(kinds.LIMIT_RANGE, namespace):
        pod = _filled(pod, ranges.spec.limits)
    return pod


def _filled(pod: core.Pod, limits: Sequence[core.LimitRangeItem]) -> core.Pod:
    items = [item for item in limits if item.type == _CONTAINER]
    requests = {name: amount for item in items for name, amount in item.default_request.items()}
    most = {name: amount for item in items for name, amount in item.default.items()}
    notes: list[str] = []

    def fill_in(container: core.Container, what: str) -> core.Container:
        own = container.resources
        for word, added in (("request", requests.keys() - own.requests), ("limit", most.keys() - own.limits)):
            if added:
                notes.append(f"{', '.join(sorted(added))} {word} for {what} {container.name}")
        return replace(
            container,
            resources=replace(own, requests={**requests, **own.requests}, limits={**most, **own.limits}),
        )

    containers = tuple(fill_in(container, "container") for container in pod.spec.containers)
    init_containers = tuple(fill_in(container, "init container") for container in pod.spec.init_containers)
    if not notes:
        return pod
    annotations = {**pod.metadata.annotations, ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}"}
    return replace(
        pod,
        metadata=replace(pod.metadata, annotations=annotations),
        spec=replace(pod.spec, containers=containers, init_containers=init_containers),
    )


def check(request: Request, obj: Any, old: Any, view: View) -> None:
    """Refuse a new or resized pod, or a claim, that is out of range. Raises Forbidden, naming all that is wrong."""
    problems_of = _PROBLEMS.get(type(obj))
    if problems_of is None or (old is not None and old.metadata.deletion_timestamp):
        return
    if isinstance(obj, core.Pod) and old is not None and _wants(obj) == _wants(old):
        return
    for ranges in view.list(kinds.LIMIT_RANGE, request.namespace):
        found = dict.fromkeys(problem for item in ranges.spec.limits for problem in problems_of(item, obj))
        if found:
            why = next(iter(found)) if len(found) == 1 else f"[{', '.join(found)}]"
            raise Forbidden(request.kind, obj.metadata.name, why)


def _wants(pod: core.Pod) -> Any:
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return pod.spec.resources, [container.resources for container in containers]


def _of_pod(item: core.LimitRangeItem, pod: core.Pod) -> Iterator[str]:
    if item.type == _CONTAINER:
        for container in (*pod.spec.containers, *pod.spec.init_containers):
            yield from _bounds(item, container.resources.requests, container.resources.limits)
    elif item.type == _POD:
        # The range is for what is asked for now, whatever the pod still has from before.
        asked = replace(pod, status=core.PodStatus())
        requests = resource_lists.pod_requests(asked, overhead=False)
        yield from _bounds(item, requests, resource_lists.pod_limits(asked, overhead=False))


def _of_claim(item: core.LimitRangeItem, claim: core.PersistentVolumeClaim) -> Iterator[str]:
    if item.type != _CLAIM:
        return
    requests = claim.spec.resources.requests
    for name, bound in sorted(item.min.items()):
        yield from _at_least(item.type, name, bound, requests, {})
    for name, bound in sorted(item.max.items()):
        if name not in requests:
            yield _silent("maximum", item.type, name, bound, "request")
        yield from _at_most(item.type, name, bound, (("request", requests),))


_PROBLEMS: dict[type[Any], Any] = {core.Pod: _of_pod, core.PersistentVolumeClaim: _of_claim}


def _bounds(item: core.LimitRangeItem, requests: Mapping[str, str], limits: Mapping[str, str]) -> Iterator[str]:
    for name, bound in sorted(item.min.items()):
        yield from _at_least(item.type, name, bound, requests, limits)
    for name, bound in sorted(item.max.items()):
        if name not in limits:
            yield _silent("maximum", item.type, name, bound, "limit")
        else:
            yield from _at_most(item.type, name, bound, (("limit", limits), ("request", requests)))
    for name, bound in sorted(item.max_limit_request_ratio.items()):
        yield from _ratio(item.type, name, bound, requests.get(name, "0"), limits.get(name, "0"))


def _at_least(
    type_: str, name: str, bound: str, requests: Mapping[str, str], limits: Mapping[str, str]
) -> Iterator[str]:
    if name not in requests:
        yield _silent("minimum", type_, name, bound, "request")
        return
    for word, listed in (("request", requests), ("limit", limits)):
        if name in listed and quantity.compare(listed[name], bound) < 0:
            yield _beyond("minimum", type_, name, bound, word, listed[name])
            return


def _at_most(type_: str, name: str, bound: str, said: Sequence[tuple[str, Mapping[str, str]]]) -> Iterator[str]:
    for word, listed in said:
        if name in listed and quantity.compare(listed[name], bound) > 0:
            yield _beyond("maximum", type_, name, bound, word, listed[name])
            return


def _silent(end: str, type_: str, name: str, bound: str, word: str) -> str:
    return f"{end} {name} usage per {type_} is {quantity.canonical(bound)}.  No {word} is specified"


def _beyond(end: str, type_: str, name: str, bound: str, word: str, amount: str) -> str:
    said = f"but {word} is {quantity.canonical(amount)}"
    return f"{end} {name} usage per {type_} is {quantity.canonical(bound)}, {said}"


def _ratio(type_: str, name: str, bound: str, request: str, limit: str) -> Iterator[str]:
    told = f"{name} max limit to request ratio per {type_} is {quantity.canonical(bound)}, but"
    asked, most = quantity.milli(request), quantity.milli(limit)
    if not asked:
        yield f"{told} no request is specified or request is 0"
    elif not most:
        yield f"{told} no limit is specified or limit is 0"
    elif most * _MILLI > quantity.milli(bound) * asked:
        yield f"{told} provided ratio is {most / asked:f}"
