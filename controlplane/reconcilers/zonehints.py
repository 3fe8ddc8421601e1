"""Which zone should rather use which endpoint of a service that asks for it with `topology-mode: Auto`.

As in Kubernetes: every zone gets a share of the ready endpoints that is like its share of the nodes' CPUs. An endpoint
belongs to its own zone unless that has too many and another too few. Where a zone would be overloaded by more than a
fifth, or not enough is known, nobody is told anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from mizzen.api import resources
from mizzen.api.types import core_v1

ZONE = "topology.kubernetes.io/zone"
MODE = "service.kubernetes.io/topology-mode"
OLD_MODE = "service.kubernetes.io/topology-aware-hints"
OVERLOAD = 0.2
"""How much more than its share a zone's endpoints may have to bear."""
_NOT_FOR_WORK = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class Unfit(Exception):
    """The endpoints can't be shared out; the message says why."""


def is_asked_for(service: core_v1.Service) -> bool:
    """Whether a service asks for hints by this rule."""
    annotations = service.metadata.annotations
    return annotations.get(OLD_MODE, annotations.get(MODE)) in ("Auto", "auto")


def worth(node: core_v1.Node) -> tuple[str, int] | None:
    """The zone and the thousandths of CPUs that a node counts for, where they are known; None for one that does not."""
    ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    if not ready or any(label in node.metadata.labels for label in _NOT_FOR_WORK):
        return None
    return node.metadata.labels.get(ZONE, ""), resources.amount("cpu", node.status.allocatable.get("cpu", "0"))


def shares(nodes: Iterable[core_v1.Node]) -> dict[str, float]:
    """Each zone's share of all CPUs. Raises Unfit."""
    by_zone: Counter[str] = Counter()
    for node in nodes:
        found = worth(node)
        if found is None:
            continue
        zone, cpus = found
        if not zone or not cpus:
            raise Unfit("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        by_zone[zone] += cpus
    if len(by_zone) < 2:
        raise Unfit("Nodes only ready in one zone")
    return {zone: cpus / by_zone.total() for zone, cpus in sorted(by_zone.items())}


def assign(zones: Sequence[str], shares_: Mapping[str, float]) -> list[str]:
    """For ready endpoints that are in these zones, the zones that should use them. Raises Unfit."""
    desired = _desired(len(zones), shares_)
    if not all(zones):
        raise Unfit("One or more endpoints do not have a zone specified")
    giving, receiving = _moves(Counter(zones), desired)
    assigned = []
    for zone in zones:
        to = next((other for other, count in receiving.items() if count), None) if giving[zone] else None
        if to is not None:
            giving[zone] -= 1
            receiving[to] -= 1
        assigned.append(to or zone)
    return assigned


def _desired(endpoints: int, shares_: Mapping[str, float]) -> dict[str, float]:
    counted = f"({endpoints} endpoints, {len(shares_)} zones)"
    if len(shares_) > endpoints:
        raise Unfit(f"Insufficient number of endpoints {counted}")
    least = {zone: ceil(share * endpoints / (1 + OVERLOAD)) for zone, share in shares_.items()}
    if sum(least.values()) > endpoints:
        why = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
        raise Unfit(f"{why} {counted}")
    return {zone: max(share * endpoints, least[zone]) for zone, share in shares_.items()}


def _moves(have: Mapping[str, int], desired: Mapping[str, float]) -> tuple[dict[str, int], dict[str, int]]:
    """How many endpoints zones give away, and how many they get; halves of one are not worth a move."""
    over = {zone: count - desired.get(zone, 0.0) for zone, count in sorted(have.items())}
    under = {zone: wanted - have.get(zone, 0) for zone, wanted in desired.items()}
    giving: dict[str, int] = defaultdict(int)
    receiving: dict[str, int] = defaultdict(int)
    while over and under:
        giver, getter = max(over, key=over.__getitem__), max(under, key=under.__getitem__)
        gives, gets = over[giver], under[getter]
        if (gives < 1 and gets < 1) or gives < 0.5 or gets < 0.5:
            break
        giving[giver] += 1
        receiving[getter] += 1
        over[giver] -= 1
        under[getter] -= 1
    return giving, receiving
