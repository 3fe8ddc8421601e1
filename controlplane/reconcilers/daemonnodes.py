"""Which nodes a DaemonSet is for, and what its pod on one of them looks like."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from controlplane.reconcilers import history, podtemplate
from mizzen.api import node_affinity, workloads
from mizzen.api.tolerations import first_untolerated
from mizzen.api.types import apps_v1, core_v1
from mizzen.engine.values import Ids

NAME_FIELD = "metadata.name"
_BORNE = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
"""A daemon belongs on its node also while the node is unwell or closed to others."""
_BORNE_ON_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


def tolerations(spec: core_v1.PodSpec) -> tuple[core_v1.Toleration, ...]:
    """What a daemon's pod bears: its template's tolerations, and those that every daemon has."""
    borne = (*_BORNE, _BORNE_ON_HOST_NETWORK) if spec.host_network else _BORNE
    added = [core_v1.Toleration(key=key, operator="Exists", effect=effect) for key, effect in borne]
    return (*spec.tolerations, *(toleration for toleration in added if toleration not in spec.tolerations))


def fate(spec: core_v1.PodSpec, node: core_v1.Node) -> tuple[bool, bool]:
    """Whether a daemon with this pod spec should start on a node, and whether one that is there may stay."""
    affinity = spec.affinity.node_affinity if spec.affinity else None
    if spec.node_name not in ("", node.metadata.name):
        return False, False
    if not node_affinity.matches(spec.node_selector, affinity, node.metadata.name, node.metadata.labels):
        return False, False
    borne = tolerations(spec)
    stays = first_untolerated(node.spec.taints, borne, ("NoExecute",)) is None
    return stays and first_untolerated(node.spec.taints, borne, ("NoSchedule",)) is None, stays


def node_of(pod: core_v1.Pod) -> str:
    """The node that a daemon's pod runs on or is meant for; empty when it is meant for none."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    for term in required.node_selector_terms if required else ():
        for field in term.match_fields:
            if field.key == NAME_FIELD and field.operator == "In" and field.values:
                return field.values[0]
    return ""


def pod_for(owner: apps_v1.DaemonSet, node: str, digest: str, failures: int, ids: Ids) -> core_v1.Pod:
    """A new pod of the present template for one node, after so many in a row that have failed there."""
    pod = podtemplate.pod_of(owner, owner.spec.template, ids)
    metadata = msgspec.structs.replace(pod.metadata, labels={**pod.metadata.labels, history.HASH_LABEL: digest})
    if failures:
        noted = {**metadata.annotations, workloads.FAILED_BEFORE: str(failures)}
        metadata = msgspec.structs.replace(metadata, annotations=noted)
    spec = msgspec.structs.replace(pod.spec, affinity=_on(pod.spec.affinity, node), tolerations=tolerations(pod.spec))
    return msgspec.structs.replace(pod, metadata=metadata, spec=spec)


def failures_before(pod: core_v1.Pod) -> int:
    """How many pods in a row had failed on a node before this one."""
    text = pod.metadata.annotations.get(workloads.FAILED_BEFORE, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _on(affinity: core_v1.Affinity | None, node: str) -> core_v1.Affinity:
    """The affinity with its node terms replaced by the one node: that it matches them has been seen already."""
    here = core_v1.NodeSelectorRequirement(key=NAME_FIELD, operator="In", values=(node,))
    selector = core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_fields=(here,)),))
    of_nodes = (affinity.node_affinity if affinity else None) or core_v1.NodeAffinity()
    of_nodes = msgspec.structs.replace(of_nodes, required_during_scheduling_ignored_during_execution=selector)
    return msgspec.structs.replace(affinity or core_v1.Affinity(), node_affinity=of_nodes)


def oldest_first(pods: Sequence[core_v1.Pod]) -> list[core_v1.Pod]:
    """The order in which pods of one node came; those that have been placed come first."""
    return sorted(pods, key=lambda p: (p.spec.node_name == "", p.metadata.creation_timestamp or "", p.metadata.name))
