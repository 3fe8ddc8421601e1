"""Why an object is as it is: what keeps it, what its conditions say, and what the deciders wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mizzen.api import times
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1
from mizzen.engine.effects import Waiting
from mizzen.engine.loop import Story
from mizzen.engine.values import Key
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

_BAD_WHEN_TRUE = (
    "MemoryPressure",
    "DiskPressure",
    "PIDPressure",
    "NetworkUnavailable",
    "ReplicaFailure",
    "RolledBack",
    "DisruptionTarget",
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
)
_COMPLETED = "PodCompleted"
"""The reason of conditions that are false because the pod has done its work."""

Stories = Callable[[Key], Mapping[str, Story]]
"""What the controllers have to say about a key, by their names."""
Reason = cluster_pb2.Reason


def reasons(stories: Stories, kind: Kind[Any], obj: Any) -> list[Reason]:
    """The reasons, those of the deciders first."""
    key = Key(kind.resource, obj.metadata.namespace, obj.metadata.name)
    found: list[Reason] = []
    for name, story in sorted(stories(key).items()):
        if story.error:
            found.append(Reason(reason="Retrying", message=f"{name}: {story.error}"))
        found += [_waiting(one) for one in story.waiting]
    found += _kept(obj)
    status = getattr(obj, "status", None)
    found += [_condition(c) for c in getattr(status, "conditions", ()) if _is_bad(c)]
    if isinstance(obj, core_v1.Pod):
        found += _of_pod(obj.status)
    return found


def _kept(obj: Any) -> Iterator[Reason]:
    """Who holds an object that is being deleted."""
    since = obj.metadata.deletion_timestamp
    if since and obj.metadata.finalizers:
        names = ", ".join(obj.metadata.finalizers)
        yield Reason(
            reason="Finalizers", message=f"it is being deleted; these finalizers keep it: {names}", since=since
        )


def _of_pod(status: core_v1.PodStatus) -> Iterator[Reason]:
    if status.reason or status.message:
        yield Reason(reason=status.reason or status.phase, message=status.message or f"the pod is {status.phase}")
    for container in (*status.init_container_statuses, *status.container_statuses):
        waiting, ended = container.state.waiting, container.state.terminated
        if waiting is not None:
            message = f"container {container.name}: {waiting.message or waiting.reason}"
            yield Reason(reason=waiting.reason, message=message)
        last = ended or container.last_state.terminated
        if last is not None and last.exit_code and not container.ready:
            which = "has ended" if ended is not None else "ended before"
            message = f"container {container.name} {which} with exit code {last.exit_code} {last.message}".rstrip()
            yield Reason(reason=last.reason or "Error", message=message, since=last.finished_at)


def _is_bad(condition: Any) -> bool:
    good = "False" if condition.type in _BAD_WHEN_TRUE else "True"
    return bool(condition.status != good and condition.reason != _COMPLETED)


def _condition(condition: Any) -> Reason:
    return Reason(
        reason=condition.reason or condition.type,
        message=condition.message or f"{condition.type} is {condition.status}",
        since=condition.last_transition_time or "",
    )


def _waiting(waiting: Waiting) -> Reason:
    reason = Reason(reason=waiting.reason, message=waiting.message)
    if waiting.object is not None:
        reason.object.resource = waiting.object.resource
        reason.object.namespace = waiting.object.namespace
        reason.object.name = waiting.object.name
    if waiting.since_ms is not None:
        reason.since = times.render(waiting.since_ms)
    return reason
