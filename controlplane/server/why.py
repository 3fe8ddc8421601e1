"""Why an object is as it is: what its conditions say, and what the deciders wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mizzen.api import times
from mizzen.api.kinds import Kind
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
    "DisruptionTarget",
)


Stories = Callable[[Key], Mapping[str, Story]]
"""What the controllers have to say about a key, by their names."""


def reasons(stories: Stories, kind: Kind[Any], obj: Any) -> list[cluster_pb2.Reason]:
    """The reasons, those of the deciders first."""
    key = Key(kind.resource, obj.metadata.namespace, obj.metadata.name)
    found = []
    for name, story in sorted(stories(key).items()):
        if story.error:
            found.append(cluster_pb2.Reason(reason="Retrying", message=f"{name}: {story.error}"))
        found += [_waiting(one) for one in story.waiting]
    status = getattr(obj, "status", None)
    found += [_condition(c) for c in getattr(status, "conditions", ()) if _is_bad(c)]
    for container in getattr(status, "container_statuses", ()):
        waiting = container.state.waiting if container.state is not None else None
        if waiting is not None:
            message = f"container {container.name}: {waiting.message or waiting.reason}"
            found.append(cluster_pb2.Reason(reason=waiting.reason, message=message))
    return found


def _is_bad(condition: Any) -> bool:
    good = "False" if condition.type in _BAD_WHEN_TRUE else "True"
    return bool(condition.status != good)


def _condition(condition: Any) -> cluster_pb2.Reason:
    return cluster_pb2.Reason(
        reason=condition.reason or condition.type,
        message=condition.message or f"{condition.type} is {condition.status}",
        since=condition.last_transition_time or "",
    )


def _waiting(waiting: Waiting) -> cluster_pb2.Reason:
    reason = cluster_pb2.Reason(reason=waiting.reason, message=waiting.message)
    if waiting.object is not None:
        reason.object.resource = waiting.object.resource
        reason.object.namespace = waiting.object.namespace
        reason.object.name = waiting.object.name
    if waiting.since_ms is not None:
        reason.since = times.render(waiting.since_ms)
    return reason
