"""Turns the changes of a simulated cluster into the steps of a plan, and its end into problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mizzen.api import kinds
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.types import core_v1
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.plans import PlanStep
from mizzen.engine.values import Instant, Key
from mizzen.engine.view import View

TOLD = (kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.POD, kinds.SERVICE, kinds.NODE, kinds.NAMESPACE)
"""Kinds whose changes people want to see, beside those that users defined; the rest follows from them."""


class Steps:
    """Collects steps."""

    def __init__(self, began: Instant) -> None:
        """Times count from `began`."""
        self._began = began
        self._steps: list[PlanStep] = []

    def take(self, changes: Sequence[Change], now: Instant) -> None:
        """Takes in changes that were made now."""
        for change in changes:
            if change.entry.kind in TOLD or isinstance(change.entry.kind, CustomKind):
                for action, message in _told(change):
                    self._steps.append(PlanStep(now - self._began, action, change.key, message))

    def found(self) -> tuple[PlanStep, ...]:
        """All steps, in order."""
        return tuple(self._steps)


def _told(change: Change) -> Iterator[tuple[str, str]]:
    after = change.entry.object()
    if change.type is ChangeType.DELETED:
        yield "delete", "is gone"
        return
    before = change.previous.object() if change.previous is not None else None
    if before is None:
        yield "create", _size(after)
    elif after.metadata.deletion_timestamp and not before.metadata.deletion_timestamp:
        yield "stop", "is asked to end"
    if isinstance(after, core_v1.Pod):
        yield from _pod(before, after)
    elif isinstance(after, core_v1.Node):
        yield from _readiness(before, after)
    elif before is not None and _wanted(before) != _wanted(after):
        yield "change", _size(after)


def _wanted(obj: Any) -> Any:
    """What is wanted of an object; of one of a user's kind, whose fields nobody else knows, all but its status."""
    if isinstance(obj, Custom):
        return {name: value for name, value in obj.content.items() if name != "status"}
    return getattr(obj, "spec", None)


def _pod(before: core_v1.Pod | None, after: core_v1.Pod) -> Iterator[tuple[str, str]]:
    if after.spec.node_name and (before is None or not before.spec.node_name):
        yield "bind", f"to {after.spec.node_name}"
    yield from _readiness(before, after)


def _readiness(before: Any, after: Any) -> Iterator[tuple[str, str]]:
    was, now = before is not None and _ready(before), _ready(after)
    if now and not was:
        yield "ready", ""
    elif was and not now:
        yield "unready", ""


def _ready(obj: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in obj.status.conditions)


def _size(obj: Any) -> str:
    replicas = getattr(getattr(obj, "spec", None), "replicas", None)
    return f"{replicas} replicas" if replicas is not None else ""


def problems_of(view: View) -> Iterable[str]:
    """What is not well: pods without a node and why, deployments that are not as desired, services with nobody."""
    for pod in view.list(kinds.POD):
        if pod.metadata.deletion_timestamp is None and not pod.spec.node_name:
            scheduled = next((c for c in pod.status.conditions if c.type == "PodScheduled"), None)
            why = scheduled.message if scheduled is not None else "not looked at yet"
            yield f"{_name(kinds.POD.resource, pod)} has no node: {why}"
    for deployment in view.list(kinds.DEPLOYMENT):
        desired = deployment.spec.replicas if deployment.spec.replicas is not None else 1
        status = deployment.status
        if (status.available_replicas, status.updated_replicas) != (desired, desired):
            have = f"{status.available_replicas} available and {status.updated_replicas} updated of {desired}"
            yield f"{_name(kinds.DEPLOYMENT.resource, deployment)} has {have}"
    for service in view.list(kinds.SERVICE):
        if service.spec.selector and not _served(view, service):
            yield f"{_name(kinds.SERVICE.resource, service)} has no ready endpoint"


def _served(view: View, service: core_v1.Service) -> bool:
    return any(
        endpoint.conditions.ready
        for piece in view.list(kinds.ENDPOINT_SLICE, service.metadata.namespace)
        if piece.metadata.labels.get("kubernetes.io/service-name") == service.metadata.name
        for endpoint in piece.endpoints
    )


def _name(resource: str, obj: Any) -> str:
    return str(Key(resource, obj.metadata.namespace, obj.metadata.name))
