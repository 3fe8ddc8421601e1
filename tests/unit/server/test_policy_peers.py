"""Network policies with the addresses of the pods behind their selectors, as pods and namespaces come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from controlplane.server.policy_peers import PolicyPeers
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from mizzen.engine.entry import Change

APP = {"podSelector": {"matchLabels": {"app": "web"}}}
TEAM = {"namespaceSelector": {"matchLabels": {"team": "a"}}}


class Cluster:
    """A registry, and what a node was told of its policies."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.peers = PolicyPeers(registry)
        self.told: dict[str, networking.NetworkPolicy] = {}
        self.tellings = 0
        registry.subscribe(self._changed)
        self._take(self.peers.all())

    def _changed(self, changes: Sequence[Change], version: int) -> None:
        self._take(self.peers.follow(changes))

    def _take(self, resolved: Sequence[Any]) -> None:
        for item in resolved:
            self.tellings += 1
            if item.json:
                self.told[item.key.name] = msgspec.json.decode(item.json, type=networking.NetworkPolicy)
            else:
                del self.told[item.key.name]

    async def put(self, obj: Any) -> None:
        """Create or replace an object."""
        kind = kinds.kind_of(obj)
        have = self.registry.view.get(kind, obj.metadata.namespace, obj.metadata.name)
        if have is None:
            await self.registry.create(obj)
        else:
            await self.registry.update(obj, int(have.metadata.resource_version))
        await self.registry.fresh()

    async def drop(self, kind: Any, namespace: str, name: str) -> None:
        """Delete an object that is there."""
        have = self.registry.view.get(kind, namespace, name)
        await self.registry.delete(kind, namespace, name, int(have.metadata.resource_version))
        await self.registry.fresh()

    def ingress(self, name: str = "p") -> list[list[str]]:
        """Whom each rule lets in, by address."""
        return [_cidrs(rule.from_) for rule in self.told[name].spec.ingress]


def _cidrs(peers: Sequence[networking.NetworkPolicyPeer]) -> list[str]:
    return [peer.ip_block.cidr.removesuffix("/32") if peer.ip_block is not None else "?" for peer in peers]


@asynccontextmanager
async def cluster(*objects: Any) -> AsyncIterator[Cluster]:
    """A cluster with these objects from the beginning."""
    store = MemoryStore(MemoryBackend())
    registry = Registry(store)
    await registry.start()
    try:
        for obj in objects:
            await registry.create(obj)
        await registry.fresh()
        yield Cluster(registry)
    finally:
        await registry.close()
        await store.close()


def policy(*ingress: dict[str, Any], name: str = "p", **spec: Any) -> networking.NetworkPolicy:
    """A policy of the namespace `a`."""
    body = {"metadata": {"name": name, "namespace": "a"}, "spec": {"ingress": list(ingress), **spec}}
    return msgspec.convert(body, networking.NetworkPolicy)


def pod(name: str, ip: str = "", namespace: str = "a", phase: str = "Running", **changes: Any) -> core.Pod:
    """A pod, by default one of the application `web`."""
    body = {
        "metadata": {"name": name, "namespace": namespace, "labels": changes.pop("labels", {"app": "web"})},
        "spec": {"containers": [{"name": "c"}], **changes},
        "status": {"podIP": ip, "phase": phase},
    }
    return msgspec.convert(body, core.Pod)


def namespace(name: str, **labels: str) -> core.Namespace:
    """A namespace."""
    return core.Namespace(metadata=meta.ObjectMeta(name=name, labels=labels))


async def test_pods_of_the_own_namespace_come_and_go() -> None:
    async with cluster(pod("old", "10.1.0.9"), namespace("a"), policy({"from": [APP]})) as c:
        assert c.ingress() == [["10.1.0.9"]]
        await c.put(pod("x"))
        await c.put(pod("x", "10.1.0.1"))
        await c.put(pod("theirs", "10.1.0.2", "b"))
        await c.put(pod("other", "10.1.0.3", labels={"app": "db"}))
        assert c.ingress() == [["10.1.0.1", "10.1.0.9"]]
        await c.put(pod("other", "10.1.0.3"))
        await c.put(pod("x", "10.1.0.1", phase="Succeeded"))
        await c.drop(kinds.POD, "a", "old")
        assert c.ingress() == [["10.1.0.3"]]


async def test_a_rule_without_anybody_left_lets_nobody_in() -> None:
    async with cluster(policy({"from": [APP]}, {"ports": [{"port": 80}]})) as c:
        assert [rule.ports[0].port for rule in c.told["p"].spec.ingress] == [80], "no peers at all means everybody"
        await c.put(pod("x", "10.1.0.1"))
        assert c.ingress() == [["10.1.0.1"], []]


async def test_namespaces_by_their_labels() -> None:
    async with cluster(namespace("b"), pod("x", "10.1.0.1", "b"), pod("y", "10.1.0.2", "b", labels={})) as c:
        await c.put(policy({"from": [TEAM]}, {"from": [TEAM | APP]}))
        assert c.ingress() == []
        await c.put(namespace("b", team="a"))
        assert c.ingress() == [["10.1.0.1", "10.1.0.2"], ["10.1.0.1"]]
        await c.put(namespace("b", team="z"))
        assert c.ingress() == []


async def test_who_can_not_be_named() -> None:
    """Pods of their node's network, and addresses that are not IPv4."""
    async with cluster(pod("host", "192.0.2.1", hostNetwork=True), pod("six", "fd00::1")) as c:
        await c.put(policy({"from": [APP, {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32"]}}]}))
        assert c.ingress() == [["192.0.2.0/24"]]
        assert c.told["p"].spec.ingress[0].from_[0].ip_block == networking.IPBlock(
            cidr="192.0.2.0/24", except_=("192.0.2.7/32",)
        )


async def test_names_of_ports_that_are_the_receivers() -> None:
    """By the number they have there, and for everybody where nobody is named."""
    ports = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]
    other = [{"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}]
    egress = [
        {"to": [APP], "ports": [{"port": "http"}, {"port": 53, "protocol": "UDP"}]},
        {"ports": [{"port": "http"}]},
    ]
    async with cluster(
        pod("x", "10.1.0.1", containers=ports), pod("y", "10.1.0.2", containers=other),
        pod("z", "10.1.0.3", "b", containers=ports),
    ) as c:  # fmt: skip
        await c.put(policy(egress=egress))
        found = [(_cidrs(rule.to), [(p.port, p.protocol) for p in rule.ports]) for rule in c.told["p"].spec.egress]
        assert found == [
            (["10.1.0.1", "10.1.0.2"], [(53, "UDP")]),
            (["10.1.0.1"], [(8080, None)]),
            (["10.1.0.2"], [(9090, None)]),
            (["10.1.0.1", "10.1.0.3"], [(8080, None)]),
            (["10.1.0.2"], [(9090, None)]),
        ]


async def test_what_makes_no_difference_is_not_told() -> None:
    async with cluster(policy({"from": [APP]})) as c:
        await c.put(pod("x", "10.1.0.1"))
        before = c.tellings
        await c.put(pod("x", "10.1.0.1", nodeName="n2"))
        await c.put(pod("y", "10.1.0.2", labels={}))
        await c.put(namespace("b", team="a"))
        assert c.tellings == before
        await c.drop(kinds.NETWORK_POLICY, "a", "p")
        assert c.told == {}
        await c.put(policy({"from": [APP]}, name="q"))
        assert c.ingress("q") == [["10.1.0.1"]], "what came while there was no policy counts"


@pytest.mark.parametrize("seed", range(20))
async def test_steps_end_where_a_look_at_everything_does(seed: int) -> None:
    random = Random(seed)
    async with cluster() as c:
        for _ in range(60):
            where, name = random.choice("ab"), random.choice("xyz")
            match random.randrange(6):
                case 0:
                    peers = random.sample([APP, TEAM, TEAM | APP, {"podSelector": {}}], random.randrange(1, 3))
                    await c.put(policy({"from": peers}, name=random.choice("pq")))
                case 1:
                    await c.put(namespace(where, **random.choice(({}, {"team": "a"}))))
                case 2 if c.told:
                    await c.drop(kinds.NETWORK_POLICY, "a", random.choice(sorted(c.told)))
                case 3 if c.registry.view.get(kinds.POD, where, name) is not None:
                    await c.drop(kinds.POD, where, name)
                case _:
                    labels = random.choice(({}, {"app": "web"}))
                    await c.put(pod(name, random.choice(("", f"10.1.0.{ord(name)}")), where, labels=labels))
            fresh = {item.key.name: item.json for item in PolicyPeers(c.registry).all()}
            told = {name: replace(found, api_version=found.api_version) for name, found in c.told.items()}
            assert {name: msgspec.json.encode(found) for name, found in told.items()} == fresh
