"""What of the cluster concerns one node, as deltas for its agent's cache.

A node is told of its own pods, of the ConfigMaps, Secrets and claims that these name (and no others) with the volumes
of the claims and the Secrets that these name, of the volumes that are folders of its own, of what is attached to it, of
every Service, ServiceCIDR, EndpointSlice, RuntimeClass and CSIDriver, of every NetworkPolicy as `policy_peers` writes
it, of every Ingress and its class, and of the part of every Node that routes are made from; of its own Node also the
taints, and the resources that others have given it. One that serves Ingresses is told of their certificates. Deltas are
coalesced by object until they are sent, so what a slow agent costs is bounded by the number of objects.

Order: a config or a policy goes before the pods that need it, and its end after theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from controlplane.server.policy_peers import PolicyPeers, Resolved
from controlplane.store.registry import Registry
from mizzen.api import csivolumes, errors, ingress, kinds, volumes
from mizzen.api.kinds import Kind
from mizzen.api.references import configs_of
from mizzen.api.resources import is_extended
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.entry import Change, ChangeType, Entry
from mizzen.engine.values import Key
from mizzen.wire.gen.mizzen.v1 import node_pb2

BATCH_ITEMS = 256
BATCH_BYTES = 1 << 20
"""Deltas of one message: at most this many, and about this many bytes."""
FOR_ALL: tuple[Kind[Any], ...] = (
    kinds.SERVICE,
    kinds.ENDPOINT_SLICE,
    kinds.RUNTIME_CLASS,
    kinds.CSI_DRIVER,
    kinds.NODE,
    kinds.SERVICE_CIDR,
    kinds.INGRESS,
    kinds.INGRESS_CLASS,
    kinds.VOLUME_ATTACHMENT,
)
"""All of them for every node; of nodes a part, and of attachments its own."""
CONFIG: tuple[Kind[Any], ...] = (
    kinds.CONFIG_MAP, kinds.SECRET, kinds.PERSISTENT_VOLUME_CLAIM, kinds.PERSISTENT_VOLUME,
)  # fmt: skip
FOLLOWED = (*FOR_ALL, *CONFIG, kinds.POD, kinds.NETWORK_POLICY)
_BEFORE_PODS = frozenset(kind.resource for kind in (*CONFIG, kinds.NETWORK_POLICY))


class NodeFeed:
    """The deltas for one node: `begin` or `resume` once, then `follow` every batch of changes, and `take` to send."""

    def __init__(self, node: str, registry: Registry, policies: PolicyPeers) -> None:
        self._node = node
        self._registry = registry
        self._policies = policies
        self._pending: dict[Key, node_pb2.Delta] = {}
        self._pods: dict[Key, frozenset[Key]] = {}
        """The node's pods, and what each names; with the Ingresses that it serves."""
        self._named: dict[Key, set[Key]] = {}
        """What pods name, and which; the node itself names its own volumes."""
        self._self = Key(kinds.NODE.resource, "", node)
        self._node_parts: dict[str, bytes] = {}
        self._serves = False
        """The node is one that serves Ingresses, and is told of their certificates."""
        self._synced = False
        self.version = 0
        """What the pending deltas, once sent, bring the agent to."""

    def begin(self) -> None:
        """Everything that concerns the node, at the registry's revision or a little later."""
        self._restrict(self._policies.all())
        for kind in FOR_ALL:
            for entry in self._registry.entries(kind):
                self._tell(entry)
        for entry in self._registry.cache.selected(indexes.VOLUMES_BY_HOME, self._node):
            self._keep(entry)
            self._put(entry.key, entry.version, entry.raw)
        for entry, pod in self._own_pods():
            self._adopt(entry, pod, tell_config=True)
            self._put(entry.key, entry.version, entry.raw)
        self._synced = True
        self.version = self._registry.revision

    def resume(self, version: int) -> bool:
        """Only what changed after `version`; False, with nothing done, when that is not known any more."""
        try:
            watchers = [self._registry.watch(kind, "", version) for kind in FOLLOWED]
            changes = [change for watcher in watchers for change in watcher.ready().changes]
        except errors.Expired:
            return False
        for entry in self._registry.cache.selected(indexes.VOLUMES_BY_HOME, self._node):
            self._keep(entry)
        for entry in self._registry.entries(kinds.RUNTIME_CLASS):
            self._tell(entry)
        for entry, pod in self._own_pods():
            # What an older pod names the agent has; a younger one may name something that did not change since.
            self._adopt(entry, pod, tell_config=entry.version > version)
        self._resume_ingresses()
        changes.sort(key=lambda change: change.version)
        # Who is behind their selectors may have changed with any pod: an agent passes over what it knows already.
        self.follow(changes, self._registry.revision, self._policies.all())
        self._synced = True
        return True

    def _own_pods(self) -> Iterator[tuple[Entry, core_v1.Pod]]:
        """By index: a look at every pod of the cluster would hold everybody up for each node that comes."""
        for entry in self._registry.cache.selected(indexes.PODS_BY_NODE, self._node):
            yield entry, entry.object()

    def follow(self, changes: Sequence[Change], version: int, policies: Sequence[Resolved]) -> bool:
        """Takes in a batch of changes, with what it makes of the policies; whether there is something to send."""
        for change in changes:
            kind = change.entry.kind
            if kind is kinds.POD:
                self._pod(change)
            elif kind in FOR_ALL:
                self._tell(change.entry, gone=change.type is ChangeType.DELETED)
            elif kind in CONFIG:
                self._config(change)
            elif kind is kinds.NETWORK_POLICY and change.type is ChangeType.DELETED:
                self._put(change.key, change.version, b"")
        # Last: one that went may have come again in the same batch.
        self._restrict(policies)
        self.version = version
        return bool(self._pending)

    def _restrict(self, policies: Iterable[Resolved]) -> None:
        for policy in policies:
            self._put(policy.key, policy.version, policy.json)

    def take(self) -> list[node_pb2.Deltas]:
        """All that is pending, in messages of a bounded size; the last carries the version, and `synced` once."""
        messages = [node_pb2.Deltas()]
        size = 0
        for delta in sorted(self._pending.values(), key=_turn):
            if len(messages[-1].items) >= BATCH_ITEMS or size > BATCH_BYTES:
                messages.append(node_pb2.Deltas())
                size = 0
            messages[-1].items.append(delta)
            size += len(delta.json)
        self._pending = {}
        messages[-1].version = self.version
        messages[-1].synced, self._synced = self._synced, False
        return messages

    def _config(self, change: Change) -> None:
        gone = change.type is ChangeType.DELETED
        if change.entry.kind is kinds.PERSISTENT_VOLUME and not gone and self._is_mine(change.entry):
            self._keep(change.entry)
        if change.key not in self._named:
            return
        self._put(change.key, change.version, b"" if gone else change.entry.raw)
        if gone and self._self in self._named[change.key]:
            self._release(self._self, (change.key,))
        if change.entry.kind in (kinds.PERSISTENT_VOLUME_CLAIM, kinds.PERSISTENT_VOLUME):
            # A claim may have got its volume, which its pods name from now on, with what that names.
            for pod in sorted(self._named.get(change.key, ())):
                entry = self._registry.cache.entry(kinds.POD, pod.namespace, pod.name)
                if entry is not None and pod in self._pods:
                    self._adopt(entry, entry.object(), tell_config=True)

    def _is_mine(self, volume: Entry) -> bool:
        """Whether a volume is a folder of this node."""
        return volumes.home_of(volume.object()) == self._node

    def _keep(self, volume: Entry) -> None:
        self._named.setdefault(volume.key, set()).add(self._self)

    def _pod(self, change: Change) -> None:
        pod: core_v1.Pod = change.entry.object()
        here = pod.spec.node_name == self._node
        if here and change.type is not ChangeType.DELETED:
            self._adopt(change.entry, pod, tell_config=True)
            self._put(change.key, change.version, change.entry.raw)
        elif here or change.key in self._pods:
            self._put(change.key, change.version, b"")
            # Not only what is noted: after a resumption this may be an older pod of the name, which the agent has.
            self._release(change.key, self._pods.pop(change.key, frozenset()) | self._names(pod))

    def _adopt(self, entry: Entry, pod: core_v1.Pod, *, tell_config: bool) -> None:
        """Notes what a pod names."""
        self._hold(entry.key, self._names(pod), tell_config=tell_config)

    def _hold(self, owner: Key, names: frozenset[Key], *, tell_config: bool) -> None:
        """Notes what a pod or an Ingress names, and sends what no other has named."""
        before = self._pods.get(owner, frozenset())
        self._pods[owner] = names
        for key in sorted(names):
            owners = self._named.setdefault(key, set())
            if not owners and tell_config:
                found = self._registry.cache.entry(kinds.BY_RESOURCE[key.resource], key.namespace, key.name)
                if found is not None:
                    self._put(key, found.version, found.raw)
            owners.add(owner)
        self._release(owner, before - names)

    def _names(self, pod: core_v1.Pod) -> frozenset[Key]:
        """What a pod names: by itself, and by its claims."""
        names = {Key(*name) for name in configs_of(pod)}
        namespace = pod.metadata.namespace
        for mounted in volumes.claims_of(pod):
            names.add(Key(kinds.PERSISTENT_VOLUME_CLAIM.resource, namespace, mounted.name))
            claim = self._registry.view.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, mounted.name)
            if claim is not None and claim.spec.volume_name:
                names.add(Key(kinds.PERSISTENT_VOLUME.resource, "", claim.spec.volume_name))
                volume = self._registry.view.get(kinds.PERSISTENT_VOLUME, "", claim.spec.volume_name)
                if volume is not None and volumes.is_for(volume, claim):
                    names.update(Key(kinds.SECRET.resource, *place) for place in csivolumes.secrets_of(volume))
        return frozenset(names)

    def _release(self, pod: Key, names: Iterable[Key]) -> None:
        """A pod does not need these configs (any more); what none needs goes."""
        for key in sorted(names):
            pods = self._named.get(key, set())
            pods.discard(pod)
            if not pods:
                self._named.pop(key, None)
                self._put(key, 0, b"")

    def _publish(self, entry: Entry, *, gone: bool = False) -> None:
        """Notes the certificates that an Ingress names where the node is to show them."""
        named = _certificates(entry)
        self._hold(entry.key, named if self._serves and not gone else frozenset(), tell_config=True)
        if gone:
            self._pods.pop(entry.key, None)
            self._release(entry.key, named)

    def _resume_ingresses(self) -> None:
        """Whether the node serves them may have changed since the agent was told."""
        own = self._registry.cache.entry(kinds.NODE, "", self._node)
        self._serves = own is not None and ingress.serves(own.object())
        for entry in self._registry.entries(kinds.INGRESS):
            self._publish(entry)
            if not self._serves:
                self._release(entry.key, _certificates(entry))

    def _serve(self, node: Entry, *, gone: bool = False) -> None:
        """The node may have become one that serves Ingresses, or has been one."""
        serves = not gone and ingress.serves(node.object())
        if serves != self._serves:
            self._serves = serves
            for entry in self._registry.entries(kinds.INGRESS):
                self._publish(entry)

    def _tell(self, entry: Entry, *, gone: bool = False) -> None:
        json = b"" if gone else entry.raw
        if entry.kind is kinds.INGRESS:
            self._publish(entry, gone=gone)
        elif entry.name == self._node and entry.kind is kinds.NODE:
            self._serve(entry, gone=gone)
        if entry.kind is kinds.VOLUME_ATTACHMENT and entry.object().spec.node_name != self._node:
            return
        if entry.kind is kinds.NODE:
            # Nodes change with every status report; only what routes are made from is worth telling.
            part_of = _own_part_of if entry.name == self._node else _routing_part_of
            json = b"" if gone else part_of(entry)
            known = self._node_parts.pop(entry.name, b"")
            if json:
                self._node_parts[entry.name] = json
            if json and json == known:
                return
        self._put(entry.key, entry.version, json)

    def _put(self, key: Key, version: int, json: bytes) -> None:
        """Sends an object instead of what was pending of it."""
        self._pending[key] = node_pb2.Delta(
            resource=key.resource, namespace=key.namespace, name=key.name, version=version, json=json
        )


def _certificates(entry: Entry) -> frozenset[Key]:
    return frozenset(Key(kinds.SECRET.resource, *place) for place in ingress.certificates_of(entry.object()))


def _turn(delta: node_pb2.Delta) -> int:
    """Configs and policies go before the pods that need them, and leave after those that needed them."""
    if delta.resource not in _BEFORE_PODS:
        return 1
    return 0 if delta.json else 2


@lru_cache(maxsize=1024)
def _routing_part_of(entry: Entry) -> bytes:
    """Made once for the feeds of all nodes; entries are told apart by identity."""
    return msgspec.json.encode(routing_part(entry.object()))


def _own_part_of(entry: Entry) -> bytes:
    return msgspec.json.encode(own_part(entry.object()))


def own_part(node: core_v1.Node) -> core_v1.Node:
    """What a node is told of itself: also its taints, what is attached to it, and the resources that others gave it."""
    part = routing_part(node)
    spec = msgspec.structs.replace(part.spec, taints=node.spec.taints)
    given = {name: text for name, text in node.status.capacity.items() if is_extended(name)}
    attached = node.status.volumes_attached
    status = msgspec.structs.replace(part.status, capacity=given, volumes_attached=attached)
    return msgspec.structs.replace(part, spec=spec, status=status)


def routing_part(node: core_v1.Node) -> core_v1.Node:
    """A Node with nothing but its name, pod addresses, own addresses and labels."""
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=node.metadata.name, uid=node.metadata.uid, labels=node.metadata.labels),
        spec=core_v1.NodeSpec(pod_cidr=node.spec.pod_cidr, pod_cidrs=node.spec.pod_cidrs),
        status=core_v1.NodeStatus(addresses=node.status.addresses),
    )
