"""A small cluster, and an agent's own cache of what it is told of it, for the tests of the feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from controlplane.server.node_feed import NodeFeed, own_part, routing_part
from controlplane.server.policy_peers import PolicyPeers
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import ingress, kinds
from mizzen.api.kinds import Kind
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
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
        for kind in (kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.RUNTIME_CLASS, kinds.INGRESS, kinds.INGRESS_CLASS):
            found.update({_key(obj): obj for obj in view.list(kind)})
        own_node = view.get(kinds.NODE, "", NODE)
        if own_node is not None and ingress.serves(own_node):
            shown = (place for item in view.list(kinds.INGRESS) for place in ingress.certificates_of(item))
            certificates = (view.get(kinds.SECRET, *place) for place in shown)
            found.update({_key(one): one for one in certificates if one is not None})
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


def published(name: str, *secrets: str) -> networking.Ingress:
    """An Ingress with certificates."""
    tls = tuple(networking.IngressTLS(secret_name=one) for one in secrets)
    metadata = meta.ObjectMeta(name=name, namespace="default")
    return networking.Ingress(metadata=metadata, spec=networking.IngressSpec(tls=tls))


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
