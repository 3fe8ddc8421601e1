"""Static pods: those that a node has from files of its own, whatever the control plane says. Pure."""

from __future__ import annotations

from mizzen.api.types import core_v1 as core

SOURCE = "kubernetes.io/config.source"
FROM_FILE = "file"


def is_static(pod: core.Pod) -> bool:
    """Whether a pod comes from a file of the node."""
    return pod.metadata.annotations.get(SOURCE) == FROM_FILE
