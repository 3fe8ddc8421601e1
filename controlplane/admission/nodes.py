"""Nodes: nothing is scheduled to a new one before it has been seen to be ready."""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from mizzen.engine.view import View

_NOT_READY = core.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")


def tainted(obj: core.Node, view: View) -> core.Node:
    """The new node with the taint of those that are not ready."""
    if any((taint.key, taint.effect) == (_NOT_READY.key, _NOT_READY.effect) for taint in obj.spec.taints):
        return obj
    return replace(obj, spec=replace(obj.spec, taints=(*obj.spec.taints, _NOT_READY)))
