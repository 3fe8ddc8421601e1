"""What a change, or the loss of a node, would do: the simulator, begun with the real cluster's state.

The world is filled with copies of all objects; every node becomes a modelled machine on which the pods that run there
run; then the change is made and the real deciders go on, in virtual time, until nothing happens any more or the
horizon is reached. Nothing is written anywhere.

What a plan can't know: whether an image can be pulled, how long programs take to become ready, and what they do then.
It takes images to be there and probes to succeed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from controlplane import admission
from controlplane.admission import quotas
from controlplane.admission.deletion import Deletion, delete
from controlplane.admission.request import Operation, Request, Settings
from controlplane.plan.brain import Brain
from controlplane.plan.model_node import ModelNode
from controlplane.plan.simstore import SimStore
from controlplane.plan.steps import Steps, problems_of
from controlplane.plan.world import World
from mizzen.api import codec, errors, kinds, times
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.managed import applying
from mizzen.api.managed import objects as managed
from mizzen.api.managed.applying import Configuration
from mizzen.api.managed.entries import COMMAND_LINE, Writer
from mizzen.engine.plans import Plan, Question
from mizzen.engine.values import Instant
from mizzen.engine.writes import creation, removal, replacement

SEED = 0
SETTLE_MS = 20_000
"""What was under way before the change is left to settle for so long; its steps are not shown."""
PLANNED = tuple(kind for kind in kinds.KINDS if kind.stored and kind is not kinds.EVENT)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A cluster at one version."""

    objects: Sequence[Any]
    version: int
    catalog: Catalog = BUILT_IN


def planned(catalog: Catalog) -> tuple[Kind[Any], ...]:
    """The kinds whose objects a plan knows: those of the table that matter, and those that users defined."""
    return (*PLANNED, *catalog.custom)


class WhatIf:
    """One plan."""

    def __init__(self, cluster: Snapshot, now: Instant, *, heartbeat_ms: int, grace_ms: int) -> None:
        """Copies a cluster: all that there is, the time, and how its nodes' silence is counted."""
        self._world = World(SEED, now)
        self._store = SimStore(self._world, cluster.catalog)
        self._version = cluster.version
        wanted = planned(cluster.catalog)
        present = [obj for obj in cluster.objects if kinds.kind_of(obj) in wanted]
        for obj in present:
            bare = msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, resource_version=""))
            self._store.commit((creation(bare),))
        pods = self._store.cache.list(kinds.POD)
        self._nodes = {
            node.metadata.name: ModelNode.like(
                self._world,
                self._store,
                node,
                [p for p in pods if p.spec.node_name == node.metadata.name],
                heartbeat_ms,
            )
            for node in self._store.cache.list(kinds.NODE)
        }
        self._brain = Brain(self._world, self._store, "plan", grace_ms=grace_ms)

    def answer(self, question: Question) -> Plan:
        """Makes the change and watches. Raises the API's errors for a change that the API would refuse."""
        self._world.run_until(SETTLE_MS)
        began = self._world.now
        steps = Steps(began)
        self._store.followers.append(lambda changes: steps.take(changes, self._world.now))
        for name in question.lose_nodes:
            self._node(name).power_off(0)
        for name in question.return_nodes:
            self._node(name).power_on()
        for obj in question.apply:
            self._apply(obj)
        for key in question.delete:
            self._delete(self._store.cache.catalog.by_resource[key.resource], key.namespace, key.name)
        self._world.run_until(SETTLE_MS + question.horizon_s * 1000)
        return Plan(steps.found(), tuple(problems_of(self._store.cache)), str(self._version))

    def _node(self, name: str) -> ModelNode:
        node = self._nodes.get(name)
        if node is None:
            raise errors.NotFound(kinds.NODE, name)
        return node

    def _apply(self, obj: Any) -> None:
        kind = kinds.kind_of(obj)
        namespace, name = obj.metadata.namespace, obj.metadata.name
        custom = kind if isinstance(kind, CustomKind) else None
        own = kind if custom is None else custom.storage
        entry = self._store.cache.entry(own, namespace, name)
        old = None if entry is None else entry.object()
        given = managed.configuration_of(obj) if custom is None else codec.to_dict(obj)
        value = applying.checked(given, kind, namespace)
        config = Configuration(value, COMMAND_LINE, force=True)
        new = applying.apply(old, kind, config, times.render(self._world.now))
        writer = Writer(COMMAND_LINE, kind.api_version)
        operation = Operation.CREATE if old is None else Operation.UPDATE
        request = Request(
            operation, own, namespace, "" if old is None else name, new, writer=writer, applied=True, served=custom
        )
        admitted = self._admit(request, old)
        write = creation(admitted) if entry is None else replacement(admitted, entry.version)
        if admitted != old:
            charges = quotas.charges(request, admitted, old, self._store.cache, self._world.now)
            self._store.commit((replace(write, beside=charges),))

    def _admit(self, request: Request, old: Any) -> Any:
        view, now, ids = self._store.cache, self._world.now, self._world.ids
        return admission.admit(request, old, view, now, ids, Settings()).object

    def _delete(self, kind: Any, namespace: str, name: str) -> None:
        entry = self._store.cache.entry(kind, namespace, name)
        if entry is None:
            raise errors.NotFound(kind, name)
        left = delete(entry.object(), Deletion(), self._world.now)
        write = removal(kind, namespace, name, entry.version) if left is None else replacement(left, entry.version)
        self._store.commit((write,))


def planner(
    snapshot: Callable[[], Snapshot], clock: Callable[[], Instant], *, heartbeat_ms: int, grace_ms: int
) -> Callable[[Question], Callable[[], Plan]]:
    """A planner: copies the cluster at once, and gives the work to be done wherever there is time for it."""

    def prepare(question: Question) -> Callable[[], Plan]:
        cluster, now = snapshot(), clock()
        return lambda: WhatIf(cluster, now, heartbeat_ms=heartbeat_ms, grace_ms=grace_ms).answer(question)

    return prepare
