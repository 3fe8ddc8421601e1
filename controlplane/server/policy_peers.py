"""Network policies as nodes are told of them: pods and namespaces that a rule names are replaced by pods' addresses.

A node may not see other nodes' pods, and needs of them only who stands behind a selector. So each rule's peers are
kept here as a set of pods that follows every change of a pod, a namespace or a policy; what goes to the nodes is the
policy itself, with an `ipBlock` for each address. While there are no policies, nothing is kept and nothing costs.

A rule that had peers and has none left is taken out: empty peers would mean everybody. A named port of an egress rule
is the receiver's, so such a rule is split by the number that the name has in the pods behind it. A named port of an
ingress rule is left to the node, whose pod it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from controlplane.store.registry import Registry
from mizzen.api import kinds, selectors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.values import Key

_ENDED = ("Succeeded", "Failed")


class Resolved(NamedTuple):
    """A policy as nodes are told of it; `json` is empty when it is gone."""

    key: Key
    version: int
    json: bytes


class _Card(NamedTuple):
    """What policies ask of a pod."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    ports: Mapping[tuple[str, str], int]
    """Numbers of the named ports, by name and protocol."""


@dataclass
class _Peers:
    """The pods behind one rule."""

    selectors: tuple[tuple[selectors.Selector | None, selectors.Selector], ...]
    """Of namespaces (None: only the policy's own) and of pods."""
    pods: set[Key] = field(default_factory=set)


@dataclass
class _Policy:
    version: int
    object: networking.NetworkPolicy
    ingress: tuple[_Peers, ...]
    egress: tuple[_Peers, ...]

    @property
    def rules(self) -> tuple[_Peers, ...]:
        return (*self.ingress, *self.egress)


class PolicyPeers:
    """All policies of the cluster, with who stands behind their selectors."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._policies: dict[Key, _Policy] = {}
        self._cards: dict[Key, _Card] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        """Of namespaces."""
        self._begun = False

    def all(self) -> list[Resolved]:
        """Every policy."""
        self._begin()
        return [self._resolved(key) for key in self._policies]

    def follow(self, changes: Sequence[Change]) -> list[Resolved]:
        """Takes in a batch of changes, which the registry knows already; the policies that nodes must be told anew."""
        if not self._begun:
            return []
        dirty: dict[Key, None] = {}
        gone: list[Resolved] = []
        for change in changes:
            kind, ends = change.entry.kind, change.type is ChangeType.DELETED
            if kind is kinds.NETWORK_POLICY:
                if ends:
                    self._policies.pop(change.key, None)
                    dirty.pop(change.key, None)
                    gone.append(Resolved(change.key, change.version, b""))
                else:
                    self._add(change.key, change.version, change.entry.object())
                    dirty[change.key] = None
            elif kind is kinds.POD and self._policies:
                dirty |= dict.fromkeys(self._pod(change.key, None if ends else _card(change.entry.object())))
            elif kind is kinds.NAMESPACE and self._policies:
                labels = {} if ends else change.entry.object().metadata.labels
                dirty |= dict.fromkeys(self._namespace(change.entry.name, labels))
        if not self._policies:
            self._cards, self._labels = {}, {}
        return [*gone, *map(self._resolved, dirty)]

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            for policy in self._registry.view.list(kinds.NETWORK_POLICY):
                key = Key(kinds.NETWORK_POLICY.resource, policy.metadata.namespace, policy.metadata.name)
                self._add(key, int(policy.metadata.resource_version or 0), policy)

    def _add(self, key: Key, version: int, policy: networking.NetworkPolicy) -> None:
        if not self._policies:
            self._read_all()
        spec = policy.spec
        made = _Policy(
            version,
            policy,
            tuple(_peers(rule.from_) for rule in spec.ingress),
            tuple(_peers(rule.to, everybody=any(_named(port) for port in rule.ports)) for rule in spec.egress),
        )
        for peers in made.rules:
            if peers.selectors:
                peers.pods = {pod for pod, card in self._cards.items() if self._behind(peers, key.namespace, card)}
        self._policies[key] = made

    def _read_all(self) -> None:
        """The pods and namespaces that there are, when the first policy comes."""
        view = self._registry.view
        self._labels = {item.metadata.name: item.metadata.labels for item in view.list(kinds.NAMESPACE)}
        for pod in view.list(kinds.POD):
            card = _card(pod)
            if card is not None:
                self._cards[Key(kinds.POD.resource, pod.metadata.namespace, pod.metadata.name)] = card

    def _pod(self, key: Key, card: _Card | None) -> Iterator[Key]:
        """Takes in a pod; the policies that it makes a difference to."""
        before = self._cards.get(key)
        if card == before:
            return
        if card is None:
            del self._cards[key]
        else:
            self._cards[key] = card
        for name, policy in self._policies.items():
            differs = False
            for peers in policy.rules:
                was = key in peers.pods
                behind = card is not None and self._behind(peers, name.namespace, card)
                (peers.pods.add if behind else peers.pods.discard)(key)
                differs |= was or behind
            if differs:
                yield name

    def _namespace(self, name: str, labels: Mapping[str, str]) -> Iterator[Key]:
        """Takes in a namespace's labels; the policies that they make a difference to."""
        if self._labels.get(name) == labels:
            return
        self._labels[name] = labels
        inside = {pod: card for pod, card in self._cards.items() if card.namespace == name}
        for key, policy in self._policies.items():
            differs = False
            for peers in policy.rules:
                behind = {pod for pod, card in inside.items() if self._behind(peers, key.namespace, card)}
                differs |= behind != peers.pods & inside.keys()
                peers.pods = (peers.pods - inside.keys()) | behind
            if differs:
                yield key

    def _behind(self, peers: _Peers, own: str, card: _Card) -> bool:
        labels = self._labels.get(card.namespace, {})
        return any(
            pods.matches(card.labels) and (card.namespace == own if namespaces is None else namespaces.matches(labels))
            for namespaces, pods in peers.selectors
        )

    def _resolved(self, key: Key) -> Resolved:
        policy = self._policies[key]
        spec, made = policy.object.spec, policy.object
        ingress = tuple(
            resolved
            for rule, peers in zip(spec.ingress, policy.ingress, strict=True)
            if (resolved := self._incoming(rule, peers)) is not None
        )
        egress = tuple(
            resolved
            for rule, peers in zip(spec.egress, policy.egress, strict=True)
            for resolved in self._outgoing(rule, peers)
        )
        made = networking.NetworkPolicy(
            metadata=meta.ObjectMeta(name=made.metadata.name, namespace=made.metadata.namespace, uid=made.metadata.uid),
            spec=msgspec.structs.replace(spec, ingress=ingress, egress=egress),
        )
        return Resolved(key, policy.version, msgspec.json.encode(made))

    def _incoming(
        self, rule: networking.NetworkPolicyIngressRule, peers: _Peers
    ) -> networking.NetworkPolicyIngressRule | None:
        if not rule.from_:
            return rule
        found = (*_blocks(rule.from_), *self._addresses(peers.pods))
        return msgspec.structs.replace(rule, from_=found) if found else None

    def _outgoing(
        self, rule: networking.NetworkPolicyEgressRule, peers: _Peers
    ) -> Iterator[networking.NetworkPolicyEgressRule]:
        numbered = tuple(port for port in rule.ports if not _named(port))
        if numbered or not rule.ports:
            found = (*_blocks(rule.to), *self._addresses(peers.pods))
            if found or not rule.to:
                yield networking.NetworkPolicyEgressRule(ports=numbered, to=found if rule.to else ())
        for port in rule.ports:
            if _named(port):
                for number, pods in sorted(self._by_number(port, peers.pods).items()):
                    exact = networking.NetworkPolicyPort(protocol=port.protocol, port=number)
                    yield networking.NetworkPolicyEgressRule(ports=(exact,), to=tuple(self._addresses(pods)))

    def _by_number(self, port: networking.NetworkPolicyPort, pods: Iterable[Key]) -> dict[int, set[Key]]:
        """Which of the pods have a port of this name, by its number."""
        found: dict[int, set[Key]] = {}
        for pod in pods:
            number = self._cards[pod].ports.get((str(port.port), port.protocol or "TCP"))
            if number is not None:
                found.setdefault(number, set()).add(pod)
        return found

    def _addresses(self, pods: Iterable[Key]) -> Iterator[networking.NetworkPolicyPeer]:
        for address in sorted({self._cards[pod].address for pod in pods}):
            yield networking.NetworkPolicyPeer(ip_block=networking.IPBlock(cidr=f"{address}/32"))


def _card(pod: core.Pod) -> _Card | None:
    """None for pods that policies can't name: without an address, on their node's own, or ended."""
    if not pod.status.pod_ip or ":" in pod.status.pod_ip or pod.spec.host_network or pod.status.phase in _ENDED:
        return None
    ports = {
        (port.name, port.protocol or "TCP"): port.container_port
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for port in container.ports
        if port.name
    }
    return _Card(pod.metadata.namespace, pod.metadata.labels, pod.status.pod_ip, ports)


def _peers(peers: Sequence[networking.NetworkPolicyPeer], *, everybody: bool = False) -> _Peers:
    """Who is asked for; `everybody`: no peers stand for all pods, whose named ports must be known."""
    found = [
        (
            None if peer.namespace_selector is None else selectors.from_field(peer.namespace_selector),
            selectors.from_field(peer.pod_selector or meta.LabelSelector()),
        )
        for peer in peers
        if peer.ip_block is None
    ]
    if everybody and not peers:
        found.append((selectors.Selector(), selectors.Selector()))
    return _Peers(tuple(found))


def _blocks(peers: Iterable[networking.NetworkPolicyPeer]) -> Iterator[networking.NetworkPolicyPeer]:
    return (peer for peer in peers if peer.ip_block is not None)


def _named(port: networking.NetworkPolicyPort) -> bool:
    return isinstance(port.port, str)
