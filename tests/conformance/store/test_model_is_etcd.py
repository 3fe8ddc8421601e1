"""A property: whatever is done, the pure model and real etcd give the same outcomes, versions, pages and events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.store.batch import take
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.model import Model
from controlplane.store.port import (
    Committed,
    Compacted,
    Conflict,
    Op,
    Page,
    Put,
    Record,
    Remove,
    Require,
    WatchEvent,
)
from controlplane.store.txn import Pending, encode, outcomes
from tests.conformance.store.harness import EtcdMember

KEYS = tuple(f"/mizzen/property/{name}" for name in ("a", "a/b", "b", "c", "d"))


class Intent(NamedTuple):
    """An operation before it is known what version the key will have."""

    kind: Literal["put", "remove", "require"]
    key: int
    expects: Literal["right", "absent", "stale"]


class Compact(NamedTuple):
    """Compact at a share of the history."""

    percent: int


intents = st.builds(
    Intent,
    st.sampled_from(["put", "put", "remove", "require"]),
    st.integers(0, len(KEYS) - 1),
    st.sampled_from(["right", "right", "right", "absent", "stale"]),
)
commits = st.lists(intents, min_size=1, max_size=3, unique_by=lambda intent: intent.key)
groups = st.lists(commits, min_size=1, max_size=5)
steps = st.lists(st.one_of(groups, groups, groups, st.builds(Compact, st.integers(0, 100))), max_size=12)


class Twins:
    """The model and etcd side by side; etcd's revisions run ahead by `shift` versions."""

    def __init__(self, store: EtcdStore, client: EtcdClient, shift: int) -> None:
        self.model = Model()
        self.store = store
        self.client = client
        self.shift = shift

    def operation(self, intent: Intent, value: bytes) -> Op:
        """Make an operation, in the model's versions, of what is intended."""
        key = KEYS[intent.key]
        record = self.model.get(key)
        now = record.version if record else 0
        expect = {"right": now, "absent": 0, "stale": now - 128 if now else 5}[intent.expects]
        if intent.kind == "put":
            return Put(key, value, expect)
        return Remove(key, expect or 1) if intent.kind == "remove" else Require(key, expect)

    def there(self, op: Op) -> Op:
        """Return an operation in etcd's versions."""
        expect = op.expect + self.shift if op.expect >= 128 else op.expect
        return Put(op.key, op.value, expect) if isinstance(op, Put) else type(op)(op.key, expect)

    def here(self, record: Record | None) -> Record | None:
        """Return a record of etcd in the model's versions."""
        return Record(record.key, record.value, record.version - self.shift) if record else None

    async def group(self, intended: list[list[Intent]], number: int) -> None:
        """Do commits in as many groups as they need, at both, and compare the outcomes."""
        loop = asyncio.get_running_loop()
        queue: deque[Pending] = deque()
        for commit in intended:
            ops = tuple(self.operation(intent, b"%d" % number) for intent in commit)
            queue.append(Pending(ops, b"test.1", 0, loop.create_future()))
        while group := take(queue):
            expected = self.model.commit_group([pending.ops for pending in group])
            there = [
                Pending(tuple(self.there(op) for op in pending.ops), b"test.1", 0, pending.future) for pending in group
            ]
            answer = await self.client.txn(encode(there, None))
            assert [self.outcome(outcome) for outcome in outcomes(there, answer, None)] == list(expected)

    def outcome(self, outcome: object) -> Committed | Conflict:
        """Return an outcome of etcd in the model's versions."""
        if isinstance(outcome, Committed):
            return Committed(tuple(version and version - self.shift for version in outcome.versions))
        assert isinstance(outcome, Conflict)
        return Conflict(outcome.key, self.here(outcome.current))

    async def compact(self, percent: int) -> None:
        """Compact both."""
        version = max(128, self.model.current * percent // 100)
        self.model.compact(version)
        await self.store.compact(version + self.shift)

    async def compare(self, version: int) -> None:
        """Compare everything that can be read and watched at and from a version."""
        assert await self.page(version) == _or_compacted(lambda: self.model.range("/mizzen/property/", version=version))
        expected = _or_compacted(lambda: self.model.since("/mizzen/property/a", version).events)
        assert await self.events("/mizzen/property/a", version) == expected

    async def page(self, version: int) -> Page | int:
        """Return a page of etcd, or where its history begins if it says that this is gone."""
        try:
            page = await self.store.range("/mizzen/property/", version=version + self.shift)
        except Compacted:
            return 0
        records = tuple(record for item in page.records if (record := self.here(item)) is not None)
        return Page(records, page.version - self.shift, page.remaining)

    async def events(self, prefix: str, version: int) -> tuple[WatchEvent, ...] | int:
        """Return the events that etcd's watch gives up to now."""
        now = await self.store.current()
        seen = version + self.shift
        events: list[WatchEvent] = []
        try:
            async with aclosing(self.store.watch(prefix, seen, previous=True)) as batches:
                while seen < now:
                    batch = await anext(batches)
                    events += batch.events
                    seen = batch.version
        except Compacted:
            return 0
        return tuple(
            WatchEvent(event.type, event.key, event.value, event.version - self.shift, self.here(event.previous))
            for event in events
        )


def _or_compacted(read: Callable[[], object]) -> object:
    try:
        return read()
    except Compacted:
        return 0


@pytest.mark.etcd
def test_the_model_is_etcd(own_member: EtcdMember) -> None:
    """Play random histories on both and compare all that can be seen."""
    with asyncio.Runner() as runner:

        async def connect() -> tuple[EtcdStore, EtcdClient]:
            return await EtcdStore.open([own_member.endpoint]), EtcdClient([own_member.endpoint])

        store, client = runner.run(connect())

        async def play(script: list[list[list[Intent]] | Compact]) -> None:
            for record in (await store.range("/mizzen/property/")).records:
                await store.commit((Remove(record.key, record.version),))
            twins = Twins(store, client, await store.current() - Model().current)
            versions = [twins.model.current]
            for number, step in enumerate(script):
                if isinstance(step, Compact):
                    await twins.compact(step.percent)
                else:
                    await twins.group(step, number)
                versions.append(twins.model.current)
            middles = [max(versions[0], version - 64) for version in versions]
            await asyncio.gather(*(twins.compare(version) for version in sorted({*versions, *middles})))

        @settings(max_examples=40, deadline=None, database=None)
        @given(steps)
        def check(script: list[list[list[Intent]] | Compact]) -> None:
            runner.run(play(script))

        check()

        async def close() -> None:
            await store.close()
            await client.close()

        runner.run(close())
