"""What a node is told of its cluster, against the agent's own cache of what it was told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.server import node_feed
from controlplane.server.node_feed import NodeFeed, own_part, routing_part
from controlplane.server.policy_peers import PolicyPeers
from controlplane.store import history
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.api.kinds import Kind
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from mizzen.api.volumes import HOSTNAME, LOCAL, claims_of, home_of
from mizzen.engine.entry import Change
from mizzen.engine.values import Key
from nodeagent.drive.objects import Objects, Told
from tests.fixtures import cluster_objects

NODE = "n1"


class Cluster:
    """A registry, and an agent of node n1 that is told about it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.agent = Objects()
        self.policies = PolicyPeers(registry)
        self.feed = NodeFeed(NODE, registry, self.policies)
        self.resumed: bool | None = None
        self.made: dict[Key, int] = {}
        """At which version each object was created."""
        self._uids = 0
        registry.subscribe(self._changed)

    def _changed(self, changes: Sequence[Change], version: int) -> None:
        self.feed.follow(changes, version, self.policies.follow(changes))

    # -- the cluster

    async def put(self, obj: Any) -> None:
        """Create or replace an object."""
        kind = kinds.kind_of(obj)
        have = self.registry.view.get(kind, obj.metadata.namespace, obj.metadata.name)
        if have is None:
            self._uids += 1
            metadata = replace(obj.metadata, uid=f"u{self._uids}", resource_version="")
            stored = await self.registry.create(replace(obj, metadata=metadata))
            self.made[_key(stored)] = int(stored.metadata.resource_version)
            return
        metadata = replace(obj.metadata, uid=have.metadata.uid, resource_version="")
        await self.registry.update(replace(obj, metadata=metadata), int(have.metadata.resource_version))

    async def drop(self, kind: Kind[Any], name: str) -> None:
        """Delete an object, if it is there."""
        namespace = "default" if kind.namespaced else ""
        have = self.registry.view.get(kind, namespace, name)
        if have is not None:
            await self.registry.delete(kind, namespace, name, int(have.metadata.resource_version))

    # -- the connection

    async def connect(self) -> None:
        """Begin a session, as the gateway does."""
        await self.registry.fresh()
        version = self.agent.version
        self.feed = NodeFeed(NODE, self.registry, self.policies)
        self.resumed = 0 < version <= self.registry.revision and self.feed.resume(version)
        if not self.resumed:
            self.feed = NodeFeed(NODE, self.registry, self.policies)
            self.feed.begin()
        self.agent.begin_round("e1", resumed=self.resumed)

    async def send(self, limit: int = 10**6) -> list[tuple[str, str]]:
        """Carry what is pending to the agent, at most `limit` messages; what the objects were, in order."""
        await self.registry.fresh()
        return self.carry(limit)

    def carry(self, limit: int = 10**6) -> list[tuple[str, str]]:
        """The same without waiting for the log."""
        said: list[tuple[str, str]] = []
        for message in self.feed.take()[:limit]:
            told = [Told(Key(d.resource, d.namespace, d.name), d.version, d.json) for d in message.items]
            self.agent.apply(told, message.version, synced=message.synced)
            said += [(item.key.name, "+" if item.raw else "-") for item in told]
            self.check_order()
        return said

    # -- what must hold

    def check_order(self) -> None:
        """Whatever message came last, a pod that the agent has can read its configs."""
        for pod in self.agent.pods():
            for key in (Key(*name) for name in configs_of(pod)):
                exists = self.registry.cache.entry(kinds.BY_RESOURCE[key.resource], key.namespace, key.name)
                if exists is not None and self.made[key] < int(pod.metadata.resource_version):
                    assert self.agent.get(key) is not None, f"{pod.metadata.name} came without {key}"

    def check_all(self) -> None:
        """The agent has exactly what concerns it, as it is now."""
        assert {entry.key: entry.object() for entry in self.agent.entries()} == self.expected()

    def expected(self) -> dict[Key, Any]:
        """What concerns the node."""
        view = self.registry.view
        own = [pod for pod in view.list(kinds.POD) if pod.spec.node_name == NODE]
        found: dict[Key, Any] = {_key(pod): pod for pod in own}
        for key in (Key(*name) for pod in own for name in configs_of(pod)):
            config = view.get(kinds.BY_RESOURCE[key.resource], key.namespace, key.name)
            if config is not None:
                found[key] = config
        for pod in own:
            for name, _ in claims_of(pod):
                claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, "default", name)
                if claim is not None:
                    found[_key(claim)] = claim
                    volume = view.get(kinds.PERSISTENT_VOLUME, "", claim.spec.volume_name)
                    found.update({_key(volume): volume} if volume is not None else {})
        found.update({_key(one): one for one in view.list(kinds.PERSISTENT_VOLUME) if home_of(one) == NODE})
        for kind in (kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.RUNTIME_CLASS):
            found.update({_key(obj): obj for obj in view.list(kind)})
        for node in view.list(kinds.NODE):
            found[_key(node)] = own_part(node) if node.metadata.name == NODE else routing_part(node)
        return found


def _key(obj: Any) -> Key:
    return Key(kinds.kind_of(obj).resource, obj.metadata.namespace, obj.metadata.name)


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """An empty cluster."""
    store = MemoryStore(MemoryBackend())
    registry = Registry(store)
    await registry.start()
    try:
        yield Cluster(registry)
    finally:
        await registry.close()
        await store.close()


def config(name: str, value: str = "1") -> core.ConfigMap:
    """A ConfigMap."""
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data={"k": value})


def secret(name: str) -> core.Secret:
    """A Secret."""
    return core.Secret(metadata=meta.ObjectMeta(name=name, namespace="default"), data={"k": b"s"})


def pod(name: str, *configs: str, node: str = NODE, phase: str = "Pending") -> core.Pod:
    """A pod that mounts configs; those whose names begin with `s` are Secrets."""
    volumes = tuple(
        core.Volume(name=c, secret=core.SecretVolumeSource(secret_name=c))
        if c.startswith("s")
        else core.Volume(name=c, config_map=core.ConfigMapVolumeSource(name=c))
        for c in configs
    )
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.PodSpec(node_name=node, volumes=volumes, containers=(core.Container(name="c"),)),
        status=core.PodStatus(phase=phase),
    )


def service(name: str) -> core.Service:
    """A Service."""
    return core.Service(metadata=meta.ObjectMeta(name=name, namespace="default"))


def node(name: str, cidr: str = "", *, ready: str = "True") -> core.Node:
    """A Node."""
    made = cluster_objects.node(name, ready=ready)
    metadata = replace(made.metadata, namespace="", labels={"kubernetes.io/hostname": name})
    return replace(made, metadata=metadata, spec=replace(made.spec, pod_cidr=cidr))


def claim(name: str, volume: str = "") -> core.PersistentVolumeClaim:
    """A claim, perhaps with its volume."""
    metadata = meta.ObjectMeta(name=name, namespace="default")
    return core.PersistentVolumeClaim(metadata=metadata, spec=core.PersistentVolumeClaimSpec(volume_name=volume))


def volume(name: str, home: str = "") -> core.PersistentVolume:
    """A volume, perhaps in a folder of a node."""
    here = core.NodeSelectorRequirement(key=HOSTNAME, operator="In", values=(home,))
    required = core.NodeSelector(node_selector_terms=(core.NodeSelectorTerm(match_expressions=(here,)),))
    spec = core.PersistentVolumeSpec(
        local=core.LocalVolumeSource(path="/v"), node_affinity=core.VolumeNodeAffinity(required=required)
    )
    metadata = meta.ObjectMeta(name=name, finalizers=(LOCAL,) if home else ())
    return core.PersistentVolume(metadata=metadata, spec=spec)


def claiming(name: str, *claims: str) -> core.Pod:
    """A pod of the node that mounts claims."""
    mounts = tuple(
        core.Volume(name=one, persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name=one))
        for one in claims
    )
    made = pod(name)
    return replace(made, spec=replace(made.spec, volumes=mounts))


# ------------------------------------------------------------------------------------------------ which objects


async def test_a_node_has_the_claims_of_its_pods_their_volumes_and_its_own() -> None:
    async with cluster() as c:
        await c.connect()
        for made in (volume("mine", NODE), volume("theirs", "n2"), volume("shared"), claim("data"), claim("other")):
            await c.put(made)
        await c.put(claiming("a", "data"))
        await c.send()
        c.check_all()
        assert [one.metadata.name for one in c.agent.cache.list(kinds.PERSISTENT_VOLUME)] == ["mine"]
        for name in ("shared", "mine"):
            await c.put(
                replace(
                    c.registry.view.get(kinds.PERSISTENT_VOLUME_CLAIM, "default", "data"), spec=claim("", name).spec
                )
            )
            await c.send()
            c.check_all()
            assert name in [one.metadata.name for one in c.agent.cache.list(kinds.PERSISTENT_VOLUME)]
        await c.connect()
        await c.send()
        await c.drop(kinds.POD, "a")
        await c.send()
        c.check_all()
        await c.drop(kinds.PERSISTENT_VOLUME, "mine")
        await c.send()
        c.check_all()


async def test_a_node_is_told_what_concerns_it_and_nothing_else() -> None:
    async with cluster() as c:
        for obj in (
            config("named"), config("other"), secret("s-named"), secret("s-other"),
            pod("mine", "named", "s-named"), pod("theirs", "other", "s-other", node="n2"), pod("nobodys", node=""),
            service("web"), node("n1", "10.1.0.0/24"), node("n2", "10.1.1.0/24"),
            discovery.EndpointSlice(metadata=meta.ObjectMeta(name="web-1", namespace="default")),
        ):  # fmt: skip
            await c.put(obj)
        await c.connect()
        said = await c.send()
        assert [name for name, _ in said] == ["named", "s-named", "web", "web-1", "n1", "n2", "mine"]
        c.check_all()


async def test_what_changes_is_told_and_what_does_not_concern_the_node_is_not() -> None:
    async with cluster() as c:
        await c.put(pod("mine", "named"))
        await c.put(config("named"))
        await c.connect()
        await c.send()
        await c.put(config("named", "2"))
        await c.put(config("other", "2"))
        await c.put(pod("theirs", "other", node="n2"))
        await c.put(pod("coming", "other", node=""))
        assert await c.send() == [("named", "+")]
        await c.put(pod("coming", "other", phase="Running"))
        assert await c.send() == [("other", "+"), ("coming", "+")], "it was bound to this node"
        c.check_all()


async def test_a_nodes_health_is_not_told_but_its_addresses_are() -> None:
    async with cluster() as c:
        await c.connect()
        await c.put(node("n2", "10.1.1.0/24"))
        assert await c.send() == [("n2", "+")]
        await c.put(node("n2", "10.1.1.0/24", ready="Unknown"))
        assert await c.send() == []
        await c.put(node("n2", "10.1.2.0/24"))
        assert await c.send() == [("n2", "+")]
        await c.drop(kinds.NODE, "n2")
        assert await c.send() == [("n2", "-")]
        await c.put(node("n2", "10.1.2.0/24"))
        assert await c.send() == [("n2", "+")], "it came back as it was"
        c.check_all()


async def test_when_a_pod_leaves_so_does_what_only_it_named() -> None:
    async with cluster() as c:
        for obj in (config("shared"), config("own"), pod("a", "shared", "own"), pod("b", "shared")):
            await c.put(obj)
        await c.connect()
        await c.send()
        await c.drop(kinds.POD, "a")
        assert await c.send() == [("a", "-"), ("own", "-")]
        await c.put(config("own", "2"))
        assert await c.send() == []
        await c.put(pod("b", "shared", node="n2"))  # nobody moves pods; it must hold all the same
        assert await c.send() == [("b", "-"), ("shared", "-")]
        c.check_all()


async def test_a_config_that_comes_late_is_told() -> None:
    async with cluster() as c:
        await c.put(pod("a", "late"))
        await c.connect()
        assert await c.send() == [("a", "+")]
        await c.put(config("late"))
        assert await c.send() == [("late", "+")]
        await c.drop(kinds.CONFIG_MAP, "late")
        assert await c.send() == [("late", "-")]
        c.check_all()


async def test_a_policy_that_goes_and_comes_again_at_once_is_there() -> None:
    policy = networking.NetworkPolicy(metadata=meta.ObjectMeta(name="closed", namespace="default"))
    async with cluster() as c:
        await c.put(policy)
        await c.connect()
        assert await c.send() == [("closed", "+")]
        feed, c.feed = c.feed, NodeFeed(NODE, c.registry, c.policies)
        watcher = c.registry.watch(kinds.NETWORK_POLICY, "", c.registry.revision)
        await c.drop(kinds.NETWORK_POLICY, "closed")
        await c.put(policy)
        await c.registry.fresh()
        assert feed.follow(watcher.ready().changes, c.registry.revision, c.policies.all())
        c.feed = feed
        assert c.carry() == [("closed", "+")]
        assert c.agent.cache.get(kinds.NETWORK_POLICY, "default", "closed") is not None


# ----------------------------------------------------------------------------------------------- order and bounds


async def test_changes_are_coalesced_and_configs_stay_before_their_pods() -> None:
    async with cluster() as c:
        await c.connect()
        await c.send()
        await c.put(config("named"))
        await c.put(pod("a", "named"))
        for value in "23456":
            await c.put(config("named", value))
            await c.put(pod("a", "named", phase=f"p{value}"))
            await c.put(service("web"))
        assert await c.send() == [("named", "+"), ("a", "+"), ("web", "+")]
        c.check_all()


async def test_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_feed, "BATCH_ITEMS", 10)
    monkeypatch.setattr(node_feed, "BATCH_BYTES", 5000)
    async with cluster() as c:
        for number in range(25):
            await c.put(service(f"s{number:02}"))
        await c.put(config("big", "x" * 6000))
        await c.put(pod("a", "big"))
        await c.connect()
        messages = c.feed.take()
        assert [len(message.items) for message in messages] == [1, 10, 10, 6]
        assert [message.synced for message in messages] == [False, False, False, True]
        assert [message.version for message in messages] == [0, 0, 0, c.registry.revision]
        assert all(not message.items and not message.synced for message in c.feed.take())


# ------------------------------------------------------------------------------------------------------- resuming


async def test_resuming_tells_only_what_has_changed() -> None:
    async with cluster() as c:
        for obj in (config("old"), config("mine"), pod("a", "mine"), service("web"), node("n1", "10.1.0.0/24")):
            await c.put(obj)
        await c.connect()
        await c.send()
        await c.put(service("api"))
        await c.drop(kinds.SERVICE, "web")
        await c.put(pod("b", "old"))
        await c.connect()
        assert c.resumed
        said = await c.send()
        assert said == [("old", "+"), ("api", "+"), ("web", "-"), ("b", "+")], "a new pod may name an old config"
        c.check_all()


async def test_what_left_while_the_agent_was_away_leaves_nothing_behind() -> None:
    async with cluster() as c:
        for obj in (secret("s-own"), config("shared"), pod("a", "s-own", "shared"), pod("b", "shared")):
            await c.put(obj)
        await c.connect()
        await c.send()
        await c.drop(kinds.POD, "a")
        await c.connect()
        assert c.resumed
        assert await c.send() == [("a", "-"), ("s-own", "-")]
        await c.drop(kinds.POD, "b")
        await c.put(pod("b", "s-own"))
        await c.connect()
        await c.send()
        c.check_all()


async def test_what_can_not_be_resumed_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_CHANGES", 3)
    async with cluster() as c:
        await c.put(service("gone"))
        await c.connect()
        await c.send()
        await c.drop(kinds.SERVICE, "gone")
        for number in range(5):
            await c.put(service(f"s{number}"))
        await c.connect()
        assert c.resumed is False
        await c.send()
        c.check_all()


# --------------------------------------------------------------------------------------------------- all of it

STEPS = 400
CONFIGS = ("c1", "s1")


class Walk:
    """Changes of a small cluster at random; each seed is one history."""

    def __init__(self, cluster_: Cluster, seed: int) -> None:
        self.c = cluster_
        self.rng = Random(seed)

    async def step(self) -> None:
        """Something happens."""
        steps = (self.put_config, self.put_pod, self.put_pod, self.drop_pod, self.others, self.drop_config, self.talk)
        await self.rng.choices(steps, weights=(6, 6, 2, 3, 2, 1, 3))[0]()

    async def put_config(self) -> None:
        name = self.rng.choice(CONFIGS)
        if name == "s1":
            await self.c.put(secret(name))
        else:
            await self.c.put(config(name, str(self.rng.randrange(9))))

    async def drop_config(self) -> None:
        await self.c.drop(*self.rng.choice(((kinds.CONFIG_MAP, "c1"), (kinds.SECRET, "s1"))))

    async def put_pod(self) -> None:
        name, where = self.rng.choice("ab"), self.rng.choice(("n1", "n1", "n2", ""))
        phase = str(self.rng.randrange(9))
        have = self.c.registry.view.get(kinds.POD, "default", name)
        if have is None:
            await self.c.put(pod(name, *self.rng.sample(CONFIGS, self.rng.randrange(3)), node=where, phase=phase))
        else:  # what a pod names does not change; that it gets a node and a status does
            spec = replace(have.spec, node_name=have.spec.node_name or where)
            await self.c.put(replace(have, spec=spec, status=core.PodStatus(phase=phase)))

    async def drop_pod(self) -> None:
        await self.c.drop(kinds.POD, self.rng.choice("ab"))

    async def others(self) -> None:
        match self.rng.randrange(4):
            case 0:
                await self.c.put(node("n1", str(self.rng.randrange(2))))
            case 1:
                await self.c.drop(kinds.NODE, "n1")
            case 2:
                await self.c.put(service("web"))
            case _:
                await self.c.drop(kinds.SERVICE, "web")

    async def talk(self) -> None:
        """The agent hears of it; or the connection breaks on the way, perhaps before the log tells of all writes."""
        if self.rng.random() < 0.5:
            await self.c.send()
        else:
            self.c.carry(self.rng.randrange(6))
            await self.c.connect()


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_the_agent_has_what_concerns_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_feed, "BATCH_ITEMS", 1)  # each object on its own, so that the order shows
    async with cluster() as c:
        walk = Walk(c, seed)
        await c.connect()
        for number in range(STEPS):
            await walk.step()
            if number % 20 == 0:
                await c.send()
                c.check_all()
