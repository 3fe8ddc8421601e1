"""What a deletion leaves of an object: often something, for a while.

A pod on a node stays until its agent has stopped it; an object with finalizers stays until they are gone; a namespace
stays until it is empty. Such an object carries a deletion timestamp, and the write that takes the last reason away
removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from controlplane.admission import definitions
from mizzen.api import times
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

ORPHAN = "orphan"
"""Finalizer: first let the dependents go."""
FOREGROUND = "foregroundDeletion"
"""Finalizer: first delete the dependents."""
_FINALIZER_FOR = {"Orphan": (ORPHAN,), "Foreground": (FOREGROUND,), "Background": ()}
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Deletion:
    """How an object is to be deleted."""

    grace_s: int | None = None
    """Seconds a pod may take to stop; None takes the pod's own."""
    propagation: str = ""
    """`Background`, `Foreground` or `Orphan`; empty keeps what the object's finalizers say."""


def delete(obj: Any, how: Deletion, now: Instant) -> Any | None:
    """What is to be stored instead of the object; None when it can go at once. May be the object unchanged."""
    if isinstance(obj, core.Namespace):
        obj = _terminating(obj, now)
        if obj.spec.finalizers:
            return obj
    if isinstance(obj, apiextensions.CustomResourceDefinition):
        obj = definitions.terminating(obj, now)
    if obj.metadata.deletion_timestamp and obj.metadata.deletion_grace_period_seconds is not None:
        return _hastened(obj, how)
    finalizers = _finalizers(obj.metadata, how)
    grace_s = _grace_s(obj, how) if isinstance(obj, core.Pod) else 0
    if not finalizers and grace_s == 0:
        return None
    return _marked(replace(obj, metadata=replace(obj.metadata, finalizers=finalizers)), grace_s, now)


def is_done(obj: Any) -> bool:
    """Whether an object that is being deleted has nothing left to wait for, so that this write removes it."""
    metadata: meta.ObjectMeta = obj.metadata
    if not metadata.deletion_timestamp or metadata.finalizers or metadata.deletion_grace_period_seconds:
        return False
    return not (isinstance(obj, core.Namespace) and obj.spec.finalizers)


def _hastened(obj: Any, how: Deletion) -> Any | None:
    """An object that is being deleted already: only a shorter time to stop changes anything."""
    metadata: meta.ObjectMeta = obj.metadata
    before_s = metadata.deletion_grace_period_seconds or 0
    if how.grace_s is not None and how.grace_s < before_s:
        grace_s = max(how.grace_s, 0)
        end = times.parse(metadata.deletion_timestamp or "") + (grace_s - before_s) * 1000
        metadata = replace(metadata, deletion_timestamp=times.render(end), deletion_grace_period_seconds=grace_s)
        obj = replace(obj, metadata=metadata)
    return None if is_done(obj) else obj


def _grace_s(pod: core.Pod, how: Deletion) -> int:
    """Nothing runs for a pod that has no node, or whose containers have ended."""
    if not pod.spec.node_name or pod.status.phase in _ENDED:
        return 0
    wanted = how.grace_s if how.grace_s is not None else pod.spec.termination_grace_period_seconds
    return 1 if wanted is not None and wanted < 0 else wanted or 0


def _finalizers(metadata: meta.ObjectMeta, how: Deletion) -> tuple[str, ...]:
    if not how.propagation:
        return metadata.finalizers
    kept = tuple(name for name in metadata.finalizers if name not in (ORPHAN, FOREGROUND))
    return kept + _FINALIZER_FOR[how.propagation]


def _marked(obj: Any, grace_s: int, now: Instant) -> Any:
    metadata: meta.ObjectMeta = obj.metadata
    first = not metadata.deletion_timestamp
    metadata = replace(
        metadata,
        deletion_timestamp=metadata.deletion_timestamp or times.render(now + grace_s * 1000),
        deletion_grace_period_seconds=grace_s,
        # Who counts generations should see that the object is wanted no longer.
        generation=metadata.generation + 1 if first and metadata.generation else metadata.generation,
    )
    return replace(obj, metadata=metadata)


def _terminating(namespace: core.Namespace, now: Instant) -> core.Namespace:
    if namespace.metadata.deletion_timestamp:
        return namespace
    return replace(
        namespace,
        metadata=replace(namespace.metadata, deletion_timestamp=times.render(now)),
        status=replace(namespace.status, phase="Terminating"),
    )
