"""Small objects for the engine's tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine import canonical
from mizzen.engine.entry import Entry


def pod(
    name: str,
    namespace: str = "default",
    *,
    node: str = "",
    owners: Iterable[str] = (),
    uid: str = "",
    version: int = 0,
    phase: str = "",
) -> core.Pod:
    """A pod with what indexes look at; the first owner is the controller."""
    references = tuple(
        meta.OwnerReference(api_version="apps/v1", kind="ReplicaSet", name=owner, uid=owner, controller=place == 0)
        for place, owner in enumerate(owners)
    )
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"uid-of-{namespace}-{name}",
            resource_version=str(version) if version else "",
            owner_references=references,
        ),
        spec=core.PodSpec(node_name=node),
        status=core.PodStatus(phase=phase),
    )


def entry(obj: Any, version: int = 1) -> Entry:
    """An object's entry at a version."""
    kind = kinds.kind_of(obj)
    raw = canonical.stamp(kind, canonical.rest(obj), version)
    return Entry(kind, obj.metadata.namespace, obj.metadata.name, version, raw)
