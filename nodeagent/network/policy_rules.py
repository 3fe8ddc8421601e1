"""From the table of policies to pieces of the ruleset: a chain for each direction of a guarded pod. Pure.

Single addresses of a rule stand in a set of its own, so that a pod which comes or goes changes one element of one set,
however many pods the rule guards. A pod's chain returns what it allows and drops the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from nodeagent.network.policies import Gate, PolicyTable, PortRange
from nodeagent.network.rules import Ruleset

_NAME_MAX = 200
"""Of the 255 bytes that the kernel takes for a set's name."""


def render_policies(table: PolicyTable) -> Ruleset:
    """Everything that the guards need."""
    chains: dict[str, tuple[str, ...]] = {}
    sets: dict[str, str] = {}
    elements: dict[tuple[str, str], str] = {}
    for guard in table.guards.values():
        for direction, other, gates in (("ingress", "saddr", guard.ingress), ("egress", "daddr", guard.egress)):
            if gates is None:
                continue
            name = f"{direction}/{guard.ip}"
            chains[name] = (*_rules(direction, other, gates), "drop")
            elements[f"guarded-{direction}", guard.ip] = f"jump {name}"
            for gate in gates:
                if gate.addresses:
                    own = _set_name(direction, gate)
                    sets[own] = "type ipv4_addr;"
                    elements.update({(own, address): "" for address in gate.addresses})
    return Ruleset(chains, sets, elements)


def _rules(direction: str, other: str, gates: Sequence[Gate]) -> Iterator[str]:
    for gate in gates:
        for place in _places(direction, other, gate):
            for port in _ports(gate.ports):
                yield " ".join(part for part in (place, port, "return") if part)


def _places(direction: str, other: str, gate: Gate) -> Iterator[str]:
    if gate.everybody:
        yield ""
    if gate.addresses:
        yield f"ip {other} @{_set_name(direction, gate)}"
    for block in gate.blocks:
        without = f" ip {other} != {{ {', '.join(block.without)} }}" if block.without else ""
        yield f"ip {other} {block.cidr}{without}"


def _ports(ports: Sequence[PortRange]) -> Iterator[str]:
    if not ports:
        yield ""
    for port in ports:
        if not port.first:
            yield f"meta l4proto {port.protocol}"
        elif port.first == port.last:
            yield f"{port.protocol} dport {port.first}"
        else:
            yield f"{port.protocol} dport {port.first}-{port.last}"


def _set_name(direction: str, gate: Gate) -> str:
    name = f"{direction}/{gate.name}"
    return name if len(name) <= _NAME_MAX else f"{direction}/{hashlib.sha256(gate.name.encode()).hexdigest()}"
