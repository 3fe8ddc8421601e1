"""What deleting an object means: remove it now, or mark it and let others finish.

Kubernetes' rules, for API requests and controllers alike. A bound pod gets a grace period in which its node stops it;
an object with finalizers stays, marked, until whoever set them has taken them away; a namespace stays until its
content is gone.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from mizzen.api import times
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.values import Instant

T = TypeVar("T", bound=Object)

BACKGROUND, FOREGROUND, ORPHAN = "Background", "Foreground", "Orphan"
"""The propagation policies: what happens to the dependents."""

_FINALIZERS = {FOREGROUND: "foregroundDeletion", ORPHAN: "orphan"}
"""The finalizer by which a policy keeps the owner until it is carried out."""
DEFAULT_GRACE_S = 30
"""A pod's time to stop where it does not say."""


def mark(obj: T, now: Instant, grace_period_s: int | None = None, propagation: str | None = None) -> T | None:
    """Return the object as it is stored after a request to delete it; None when it is to be removed at once.

    The same object comes back when the request changes nothing, because it is on its way out already.
    """
    if propagation is not None:
        obj = _with_finalizers(obj, propagation)
    grace_s = _grace_s(obj, grace_period_s)
    if grace_s == 0 and finished(obj):
        return None
    metadata = obj.metadata
    if metadata.deletion_timestamp is None:
        until = times.render(now + grace_s * 1000)
        return _marked(obj, until, grace_s, metadata.generation + 1 if metadata.generation else 0)
    before_s = metadata.deletion_grace_period_seconds or 0
    if grace_s >= before_s:
        return obj
    began = times.parse(metadata.deletion_timestamp) - before_s * 1000
    return _marked(obj, times.render(began + grace_s * 1000), grace_s, metadata.generation)


def ends(old: Object, new: Object) -> bool:
    """Whether updating `old` to `new` ends a deletion under way: nobody holds the object any longer, so remove it."""
    if old.metadata.deletion_timestamp is None:
        return False
    return not old.metadata.deletion_grace_period_seconds and finished(new)


def finished(obj: Object) -> bool:
    """Whether nothing but its grace period keeps the object."""
    if isinstance(obj, core_v1.Namespace) and obj.spec.finalizers:
        return False
    return not obj.metadata.finalizers


def _with_finalizers(obj: T, propagation: str) -> T:
    kept = tuple(name for name in obj.metadata.finalizers if name not in _FINALIZERS.values())
    if propagation in _FINALIZERS:
        kept = (*kept, _FINALIZERS[propagation])
    return obj if kept == obj.metadata.finalizers else _with_metadata(obj, replace(obj.metadata, finalizers=kept))


def _grace_s(obj: Object, asked_s: int | None) -> int:
    """Seconds until the object may go: only a pod that a node may be running has any."""
    if not isinstance(obj, core_v1.Pod) or not obj.spec.node_name or obj.status.phase in ("Succeeded", "Failed"):
        return 0
    if asked_s is not None:
        return max(asked_s, 0)
    if obj.metadata.deletion_grace_period_seconds is not None:
        return obj.metadata.deletion_grace_period_seconds
    own_s = obj.spec.termination_grace_period_seconds
    return DEFAULT_GRACE_S if own_s is None else max(own_s, 1)


def _marked(obj: T, until: str, grace_s: int, generation: int) -> T:
    marked = _with_metadata(
        obj,
        replace(obj.metadata, deletion_timestamp=until, deletion_grace_period_seconds=grace_s, generation=generation),
    )
    if isinstance(marked, core_v1.Namespace):
        terminating: T = replace(marked, status=replace(marked.status, phase="Terminating"))
        return terminating
    return marked


def _with_metadata(obj: T, metadata: meta_v1.ObjectMeta) -> T:
    changed: T = replace(obj, metadata=metadata)  # type: ignore[type-var]  # every kind is a struct
    return changed
