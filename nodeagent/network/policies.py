"""Network policies as this node must enforce them: a value computed from NetworkPolicy objects and its own pods. Pure.

The control plane has put addresses in the place of pod and namespace selectors, so only `ipBlock` peers count here. A
pod that some policy selects is *guarded* in the policy's directions: nothing passes but what one of the rules allows.

Named ports of ingress rules are looked up in the guarded pod. IPv4 only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mizzen.api import selectors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking

_HOST_SUFFIX = "/32"


class PortRange(NamedTuple):
    """Ports of a protocol; `first` is 0 when every port of it is meant."""

    protocol: str
    """`tcp`, `udp` or `sctp`."""
    first: int
    last: int


class Block(NamedTuple):
    """A range of addresses without some of its parts."""

    cidr: str
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule of a policy."""

    name: str
    """`namespace/policy/number`, which tells gates of one direction apart."""
    everybody: bool
    """The other side may be anybody; then there are no addresses and no blocks."""
    addresses: tuple[str, ...]
    blocks: tuple[Block, ...]
    ports: tuple[PortRange, ...]
    """Empty: all of them."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What one pod's packets must pass; None where no policy is about that direction."""

    ip: str
    ingress: tuple[Gate, ...] | None
    egress: tuple[Gate, ...] | None


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """The guarded pods of this node, by address."""

    guards: Mapping[str, Guard] = field(default_factory=dict)


NO_POLICIES = PolicyTable()


class _Rule(NamedTuple):
    """One rule, made once for all pods of its policy."""

    name: str
    everybody: bool
    addresses: tuple[str, ...]
    blocks: tuple[Block, ...]
    ports: tuple[networking.NetworkPolicyPort, ...]


class _Policy(NamedTuple):
    selector: selectors.Selector
    ingress: tuple[_Rule, ...] | None
    egress: tuple[_Rule, ...] | None


def policy_table(policies: Iterable[networking.NetworkPolicy], pods: Iterable[tuple[core.Pod, str]]) -> PolicyTable:
    """The table for the node's own pods and their addresses."""
    by_namespace: dict[str, list[_Policy]] = {}
    for policy in sorted(policies, key=lambda one: (one.metadata.namespace, one.metadata.name)):
        by_namespace.setdefault(policy.metadata.namespace, []).append(_policy(policy))
    guards: dict[str, Guard] = {}
    for pod, ip in pods:
        among = by_namespace.get(pod.metadata.namespace, ())
        chosen = [policy for policy in among if policy.selector.matches(pod.metadata.labels)]
        if chosen:
            ingress = [policy.ingress for policy in chosen if policy.ingress is not None]
            egress = [policy.egress for policy in chosen if policy.egress is not None]
            guards[ip] = Guard(ip, _gates(ingress, pod), _gates(egress, pod))
    return PolicyTable(guards) if guards else NO_POLICIES


def _policy(policy: networking.NetworkPolicy) -> _Policy:
    meta, spec = policy.metadata, policy.spec
    prefix = f"{meta.namespace}/{meta.name}/"
    ingress = (_rule(f"{prefix}{n}", rule.from_, rule.ports) for n, rule in enumerate(spec.ingress))
    egress = (_rule(f"{prefix}{n}", rule.to, rule.ports) for n, rule in enumerate(spec.egress))
    return _Policy(
        selectors.from_field(spec.pod_selector),
        tuple(rule for rule in ingress if rule is not None) if "Ingress" in spec.policy_types else None,
        tuple(rule for rule in egress if rule is not None) if "Egress" in spec.policy_types else None,
    )


def _rule(
    name: str, peers: Sequence[networking.NetworkPolicyPeer], ports: tuple[networking.NetworkPolicyPort, ...]
) -> _Rule | None:
    """None when it can't allow anything: without any peer that counts it must not look like one for everybody."""
    addresses: set[str] = set()
    blocks: list[Block] = []
    for peer in peers:
        block = peer.ip_block
        if block is None or ":" in block.cidr:
            continue
        if block.cidr.endswith(_HOST_SUFFIX) and not block.except_:
            addresses.add(block.cidr.removesuffix(_HOST_SUFFIX))
        else:
            blocks.append(Block(_network(block.cidr), tuple(_network(cidr) for cidr in block.except_)))
    if peers and not addresses and not blocks:
        return None
    return _Rule(name, not peers, tuple(sorted(addresses)), tuple(blocks), ports)


def _gates(policies: Sequence[Sequence[_Rule]], pod: core.Pod) -> tuple[Gate, ...] | None:
    if not policies:
        return None
    return tuple(gate for rules in policies for rule in rules for gate in _gate(rule, pod))


def _gate(rule: _Rule, pod: core.Pod) -> Iterator[Gate]:
    ports = tuple(found for port in rule.ports if (found := _range(port, pod)) is not None)
    if ports or not rule.ports:
        yield Gate(rule.name, rule.everybody, rule.addresses, rule.blocks, ports)


def _network(cidr: str) -> str:
    """Written as the kernel prints it."""
    return str(ipaddress.ip_network(cidr, strict=False))


def _range(port: networking.NetworkPolicyPort, pod: core.Pod) -> PortRange | None:
    protocol = port.protocol or "TCP"
    if port.port is None:
        return PortRange(protocol.lower(), 0, 0)
    if isinstance(port.port, int):
        return PortRange(protocol.lower(), port.port, port.end_port or port.port)
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for own in container.ports:
            if own.name == port.port and (own.protocol or "TCP") == protocol:
                return PortRange(protocol.lower(), own.container_port, own.container_port)
    return None
