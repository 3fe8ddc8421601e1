"""What node agents report, merged into what is stored.

The node speaks for what it sees; conditions that others set are kept, and times of transitions stay while a status
does.
"""

from __future__ import annotations

import msgspec

from mizzen.api import conditions, times
from mizzen.api.resources import is_extended
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.values import Ids, Instant

FINISHED = ("Succeeded", "Failed")
"""Phases that a pod never leaves."""


def new_node(name: str, wanted: core_v1.Node, now: Instant, ids: Ids) -> core_v1.Node:
    """The Node object of an agent that comes for the first time."""
    metadata = meta_v1.ObjectMeta(
        name=name,
        uid=ids.uid("node"),
        creation_timestamp=times.render(now),
        labels=wanted.metadata.labels,
        annotations=wanted.metadata.annotations,
    )
    # Not schedulable before the first health report: the taint goes when the node is Ready.
    taint = core_v1.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule", time_added=times.render(now))
    spec = msgspec.structs.replace(wanted.spec, taints=(*wanted.spec.taints, taint))
    return core_v1.Node(metadata=metadata, spec=spec, status=wanted.status)


def merged_pod_status(have: core_v1.PodStatus, reported: core_v1.PodStatus) -> core_v1.PodStatus:
    """What the node reports, with the conditions that others set kept, and how a finished pod has ended."""
    if have.phase in FINISHED:
        reported = msgspec.structs.replace(
            reported, phase=have.phase, reason=have.reason or reported.reason, message=have.message or reported.message
        )
    own = {*conditions.OF_RESIZES, *(c.type for c in reported.conditions)}
    others = tuple(c for c in have.conditions if c.type not in own)
    return msgspec.structs.replace(
        reported,
        conditions=(*reported.conditions, *others),
        nominated_node_name=have.nominated_node_name,
        qos_class=reported.qos_class or have.qos_class,
    )


def merged_node_status(have: core_v1.NodeStatus, reported: core_v1.NodeStatus) -> core_v1.NodeStatus:
    """What the node reports, with the conditions and resources that others set kept.

    Times of transitions stay while a status does. A resource that others have set is all for pods, and is what they say
    it is, whatever the node still thinks.
    """
    own_allocatable = {name: text for name, text in reported.allocatable.items() if not is_extended(name)}
    given = {name: text for name, text in have.capacity.items() if is_extended(name)}
    before = {c.type: c for c in have.conditions}
    own = [_transition(before.get(c.type), c) for c in reported.conditions]
    types = {c.type for c in own}
    others = [c for c in have.conditions if c.type not in types]
    return msgspec.structs.replace(
        reported,
        conditions=(*own, *others),
        capacity={**given, **reported.capacity},
        allocatable={**given, **own_allocatable},
        volumes_attached=have.volumes_attached,
    )


def _transition(before: core_v1.NodeCondition | None, reported: core_v1.NodeCondition) -> core_v1.NodeCondition:
    if before is None or before.status != reported.status:
        return reported
    return msgspec.structs.replace(reported, last_transition_time=before.last_transition_time)
