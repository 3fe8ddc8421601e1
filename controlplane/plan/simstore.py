"""The store in the simulator: the pure model, with typed objects over it and those who follow its log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from controlplane.plan.world import World
from controlplane.store.model import Model
from controlplane.store.objects import Objects
from controlplane.store.values import Conflict, Op, Put, Remove, Require, WatchEvent
from mizzen.api import errors
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Change
from mizzen.engine.replica import Replica, Told
from mizzen.engine.writes import Write, unfolded

PREFIX = "/mizzen/registry/"
LEADER_KEY = "/mizzen/leader/controllers"


class Deposed(Exception):
    """The fence did not hold: another brain leads."""


class SimStore:
    """Objects at their newest state (`cache`), and the log for who lags behind."""

    def __init__(self, world: World, catalog: Catalog = BUILT_IN) -> None:
        """Begin empty; which kinds there are stays as `catalog` says."""
        self._world = world
        self.model = Model()
        self.objects = Objects()
        self.objects.catalog = catalog
        self.cache = Cache(indexes.ALL)
        self.cache.catalog = catalog
        self.replica = Replica(self.cache)
        self.followers: list[Callable[[Sequence[Change]], None]] = []
        self.writes = 0

    def commit(self, writes: Sequence[Write], fence: Require | None = None) -> tuple[Any, ...]:
        """All writes or nothing. Raises what the registry raises, Deposed for a fence that does not hold."""
        writes = unfolded(writes)
        rests = [b"" if write.object is None else canonical.rest(write.object) for write in writes]
        ops: list[Op] = [self._op(write, rest) for write, rest in zip(writes, rests, strict=True)]
        outcome = self.model.commit((*ops, fence) if fence is not None else tuple(ops))
        if isinstance(outcome, Conflict):
            raise _refusal(outcome, writes, ops)
        last = [self.cache.entry(w.kind, w.namespace, w.name) for w in writes]
        self.writes += len(writes)
        changes = self.follow(self.replica)
        for follower in self.followers:
            follower(changes)
        found = []
        for write, entry, version in zip(writes, last, outcome.versions, strict=False):
            obj: Any = write.object if entry is None or write.object is not None else entry.object()
            found.append(canonical.at_version(obj, version))
        return tuple(found)

    def follow(self, replica: Replica) -> list[Change]:
        """Brings a replica up to date; returns the changes."""
        batch = self.model.since(PREFIX, replica.cache.revision)
        return replica.apply(self._told(batch.events, replica.cache), batch.version)

    def fill(self, replica: Replica) -> None:
        """Fills an empty replica with everything there is."""
        page = self.model.range(PREFIX)
        told = [self.objects.told(record, replica.cache.entry) for record in page.records]
        replica.replace([one for one in told if one is not None], page.version)

    def lead(self, name: str) -> Require:
        """Makes `name` the leader; the fence holds until the next one leads."""
        before = self.model.get(LEADER_KEY)
        outcome = self.model.commit((Put(LEADER_KEY, name.encode(), before.version if before is not None else 0),))
        assert not isinstance(outcome, Conflict)
        return Require(LEADER_KEY, outcome.versions[0])

    def _told(self, events: Sequence[WatchEvent], cache: Cache) -> list[Told]:
        told = (self.objects.news(event, cache.entry) for event in events)
        return [one for one in told if one is not None]

    def _op(self, write: Write, rest: bytes) -> Op:
        key = self.objects.key(write.kind, write.namespace, write.name)
        if write.object is None:
            return Remove(key, write.expect)
        return Put(key, rest, write.expect)


def _refusal(outcome: Conflict, writes: Sequence[Write], ops: Sequence[Op]) -> Exception:
    for write, op in zip(writes, ops, strict=True):
        if op.key == outcome.key:
            if write.expect == 0:
                return errors.AlreadyExists(write.kind, write.name)
            if outcome.current is None:
                return errors.NotFound(write.kind, write.name)
            return errors.Conflict(write.kind, write.name)
    return Deposed()
