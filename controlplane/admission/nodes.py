"""Nodes: nothing is scheduled to a new one before it has been seen to be ready, and pods are told where theirs is."""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.engine.view import View

TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
"""Labels of a node that its pods have, too."""
_NOT_READY = core.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")


def tainted(obj: core.Node, view: View) -> core.Node:
    """The new node with the taint of those that are not ready."""
    if any((taint.key, taint.effect) == (_NOT_READY.key, _NOT_READY.effect) for taint in obj.spec.taints):
        return obj
    return replace(obj, spec=replace(obj.spec, taints=(*obj.spec.taints, _NOT_READY)))


def placed(pod: core.Pod, node: str, view: View) -> core.Pod:
    """A pod that comes to a node, with the labels that say where the node is in place of its own."""
    found = view.get(kinds.NODE, "", node) if node else None
    there = (
        {} if found is None else {key: found.metadata.labels[key] for key in TOPOLOGY if key in found.metadata.labels}
    )
    if not there:
        return pod
    return replace(pod, metadata=replace(pod.metadata, labels={**pod.metadata.labels, **there}))
