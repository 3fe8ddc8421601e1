"""What of the cluster concerns one node, as deltas for its agent's cache.

A node is told of its own pods, of the ConfigMaps and Secrets that these name (and no others), of every Service and
EndpointSlice, and of the part of every Node that routes are made from. Deltas are coalesced by object until they are
sent, so what a slow agent costs is bounded by the number of objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from controlplane.store.registry import Registry
from mizzen.api import errors, kinds
from mizzen.api.kinds import Kind
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.entry import Change, ChangeType, Entry
from mizzen.engine.values import Key
from mizzen.wire.gen.mizzen.v1 import node_pb2

BATCH_ITEMS = 256
BATCH_BYTES = 1 << 20
"""Deltas of one message: at most this many, and about this many bytes."""
FOR_ALL: tuple[Kind[Any], ...] = (kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.NODE)
CONFIG: tuple[Kind[Any], ...] = (kinds.CONFIG_MAP, kinds.SECRET)


class NodeFeed:
    """The deltas for one node: `begin` or `resume` once, then `follow` every batch of changes, and `take` to send."""

    def __init__(self, node: str, registry: Registry) -> None:
        self._node = node
        self._registry = registry
        self._pending: dict[Key, node_pb2.Delta] = {}
        self._pods: dict[Key, tuple[Key, ...]] = {}
        self._named: Counter[Key] = Counter()
        self._node_parts: dict[str, bytes] = {}
        self._synced = False
        self.version = 0
        """What the pending deltas, once sent, bring the agent to."""

    def begin(self) -> None:
        """Everything that concerns the node, at the registry's revision."""
        for kind in FOR_ALL:
            for entry in self._registry.entries(kind):
                self._tell(entry)
        for entry, pod in self._own_pods():
            self._adopt(entry, pod, tell_config=True)
            self._put(entry.key, entry.version, entry.raw)
        self._synced = True
        self.version = self._registry.revision

    def resume(self, version: int) -> bool:
        """Only what changed after `version`; False, with nothing done, when that is not known any more."""
        try:
            watchers = [self._registry.watch(kind, "", version) for kind in (*FOR_ALL, *CONFIG, kinds.POD)]
            changes = [change for watcher in watchers for change in watcher.ready().changes]
        except errors.Expired:
            return False
        for entry, pod in self._own_pods():
            # What an older pod names the agent has; a younger one may name something that did not change since.
            self._adopt(entry, pod, tell_config=entry.version > version)
        changes.sort(key=lambda change: change.version)
        self.follow(changes, self._registry.revision)
        self._synced = True
        return True

    def _own_pods(self) -> Iterator[tuple[Entry, core_v1.Pod]]:
        for entry in self._registry.entries(kinds.POD):
            pod: core_v1.Pod = entry.object()
            if pod.spec.node_name == self._node:
                yield entry, pod

    def follow(self, changes: Sequence[Change], version: int) -> bool:
        """Takes in a batch of changes; whether there is something to send."""
        for change in changes:
            kind = change.entry.kind
            if kind is kinds.POD:
                self._pod(change)
            elif kind in FOR_ALL:
                self._tell(change.entry, gone=change.type is ChangeType.DELETED)
            elif kind in CONFIG and self._named[change.key]:
                self._put(change.key, change.version, b"" if change.type is ChangeType.DELETED else change.entry.raw)
        self.version = version
        return bool(self._pending)

    def take(self) -> list[node_pb2.Deltas]:
        """All that is pending, in messages of a bounded size; the last carries the version, and `synced` once."""
        messages = [node_pb2.Deltas()]
        size = 0
        for delta in self._pending.values():
            if len(messages[-1].items) >= BATCH_ITEMS or size > BATCH_BYTES:
                messages.append(node_pb2.Deltas())
                size = 0
            messages[-1].items.append(delta)
            size += len(delta.json)
        self._pending = {}
        messages[-1].version = self.version
        messages[-1].synced, self._synced = self._synced, False
        return messages

    def _pod(self, change: Change) -> None:
        pod: core_v1.Pod = change.entry.object()
        here = pod.spec.node_name == self._node and change.type is not ChangeType.DELETED
        if here:
            self._adopt(change.entry, pod, tell_config=True)
            self._put(change.key, change.version, change.entry.raw)
        elif change.key in self._pods or pod.spec.node_name == self._node:
            self._drop(change.key)
            self._put(change.key, change.version, b"")

    def _adopt(self, entry: Entry, pod: core_v1.Pod, *, tell_config: bool) -> None:
        """Notes what a pod names; configs go before the pod that needs them."""
        names = tuple(Key(*name) for name in configs_of(pod))
        before = self._pods.get(entry.key, ())
        self._pods[entry.key] = names
        for key in names:
            if not self._named[key] and tell_config:
                found = self._registry.cache.entry(kinds.BY_RESOURCE[key.resource], key.namespace, key.name)
                if found is not None:
                    self._put(key, found.version, found.raw)
            self._named[key] += 1
        self._release(before)

    def _drop(self, key: Key) -> None:
        self._release(self._pods.pop(key, ()))

    def _release(self, names: Iterable[Key]) -> None:
        for key in names:
            self._named[key] -= 1
            if not self._named[key]:
                del self._named[key]
                self._put(key, 0, b"")

    def _tell(self, entry: Entry, *, gone: bool = False) -> None:
        if entry.kind is not kinds.NODE:
            self._put(entry.key, entry.version, b"" if gone else entry.raw)
            return
        # Nodes change with every status report; only what routes are made from is worth telling.
        part = b"" if gone else routing_part(entry.object())
        if self._node_parts.get(entry.name) != part:
            self._node_parts[entry.name] = part
            self._put(entry.key, entry.version, part)

    def _put(self, key: Key, version: int, json: bytes) -> None:
        self._pending.pop(key, None)
        self._pending[key] = node_pb2.Delta(
            resource=key.resource, namespace=key.namespace, name=key.name, version=version, json=json
        )


def routing_part(node: core_v1.Node) -> bytes:
    """A Node with nothing but its name, pod addresses, own addresses and labels."""
    return msgspec.json.encode(
        core_v1.Node(
            metadata=meta_v1.ObjectMeta(name=node.metadata.name, uid=node.metadata.uid, labels=node.metadata.labels),
            spec=core_v1.NodeSpec(pod_cidr=node.spec.pod_cidr, pod_cidrs=node.spec.pod_cidrs),
            status=core_v1.NodeStatus(addresses=node.status.addresses),
        )
    )
