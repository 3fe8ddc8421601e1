"""What only real etcd can do wrong: lost answers, dead members, silence, other people's writes, large messages."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.crypt import SEALED, Sealer
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.keys import object_key
from controlplane.store.port import (
    Closed,
    Committed,
    Conflict,
    Op,
    Put,
    Record,
    Refused,
    Remove,
    Require,
    Store,
    StoreError,
    Unavailable,
    UnknownOutcome,
)
from tests.conformance.store.harness import EtcdMember, RealEtcd
from tests.conformance.store.watching import collecting, events_since, state_after

pytestmark = pytest.mark.etcd


async def create(store: Store, *keys: str) -> tuple[int, ...]:
    """Make keys and return their versions."""
    made = await store.commit(tuple(Put(key, b"before", 0) for key in keys))
    assert isinstance(made, Committed)
    return made.versions


@pytest.mark.parametrize("case", ["create", "change", "remove", "mixed"])
async def test_a_lost_answer_is_resolved(real_etcd: RealEtcd, space: str, case: str) -> None:
    store = await real_etcd.open()
    (version,) = await create(store, space + "a")
    start = await store.current()
    cases: dict[str, tuple[Op, ...]] = {
        "create": (Put(space + "b", b"x", 0),),
        "change": (Put(space + "a", b"x", version),),
        "remove": (Remove(space + "a", version),),
        "mixed": (Remove(space + "a", version), Put(space + "b", b"x", 0), Put(space + "c", b"x", 0)),
    }
    ops = cases[case]
    await real_etcd.lose_answer()
    with structlog.testing.capture_logs() as logs:
        outcome = await store.commit(ops)
    assert [log["event"] for log in logs] == ["store.no_answer", "store.answers_again"]
    assert isinstance(outcome, Committed)
    events = await events_since(store, space, start)
    assert {event.key: event.version for event in events} == {
        op.key: version for op, version in zip(ops, outcome.versions, strict=True)
    }


async def test_a_lost_answer_is_resolved_after_others_went_on(real_etcd: RealEtcd, space: str) -> None:
    """The commit happened, then others changed and removed its keys before it could be asked for again."""
    store, other = await real_etcd.open(), await real_etcd.open_direct()
    versions = await create(store, space + "gone", space + "kept")
    start = await other.current()
    real_etcd.proxy.mute()
    removing = asyncio.create_task(store.commit((Remove(space + "gone", versions[0]),)))
    changing = asyncio.create_task(store.commit((Put(space + "kept", b"x", versions[1]),)))
    creating = asyncio.create_task(store.commit((Put(space + "new", b"x", 0),)))
    async with collecting(other, space, start) as collector:
        await collector.received(3)
    seen = {event.key: event.version for event in collector.events}
    real_etcd.proxy.hold()
    real_etcd.proxy.cut()
    await other.commit((Put(space + "gone", b"other", 0),))
    await other.commit((Put(space + "kept", b"other", seen[space + "kept"]),))
    await other.commit((Remove(space + "new", seen[space + "new"]),))
    await other.commit((Put(space + "new", b"other", 0),))
    real_etcd.proxy.release()
    assert await removing == Committed((seen[space + "gone"],))
    assert await changing == Committed((seen[space + "kept"],))
    assert await creating == Committed((seen[space + "new"],))


async def test_what_did_not_happen_is_a_conflict_even_after_silence(real_etcd: RealEtcd, space: str) -> None:
    store, other = await real_etcd.open(), await real_etcd.open_direct()
    (version,) = await create(store, space + "changed")
    real_etcd.proxy.hold()
    waiting = [
        asyncio.create_task(store.commit(ops))
        for ops in (
            (Put(space + "made", b"x", 0),),
            (Put(space + "changed", b"x", version),),
            (Remove(space + "changed", version), Put(space + "third", b"x", 0)),
        )
    ]
    await asyncio.sleep(0)  # they are queued now, and their transaction cannot leave
    (made,) = await create(other, space + "made")
    changed = await other.commit((Put(space + "changed", b"other", version),))
    assert isinstance(changed, Committed)
    real_etcd.proxy.cut()
    real_etcd.proxy.release()
    current = Record(space + "changed", b"other", changed.version)
    assert await asyncio.gather(*waiting) == [
        Conflict(space + "made", Record(space + "made", b"before", made)),
        Conflict(space + "changed", current),
        Conflict(space + "changed", current),
    ]


async def test_silence_beyond_the_deadline_is_an_unknown_outcome(real_etcd: RealEtcd, space: str) -> None:
    store = await real_etcd.open()
    real_etcd.proxy.hold()
    with pytest.raises(UnknownOutcome):
        await store.commit((Put(space + "a", b"x", 0),), deadline_s=0.2)
    real_etcd.proxy.release()
    assert isinstance(await store.commit((Put(space + "b", b"x", 0),)), Committed)


async def test_closing_leaves_nobody_waiting(real_etcd: RealEtcd, space: str) -> None:
    store = await real_etcd.open()
    watch = store.watch(space, await store.current())
    real_etcd.proxy.hold()
    waiting = [
        asyncio.ensure_future(call)
        for call in (
            *(store.commit((Put(f"{space}{n}", b"x", 0),)) for n in range(300)),
            store.get(space + "a"),
            anext(watch),
        )
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await store.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {Closed, UnknownOutcome}
    assert [type(outcome) for outcome in outcomes[-2:]] == [Closed, Closed]
    await watch.aclose()


async def test_an_etcd_that_is_away_took_nothing(own_member: EtcdMember) -> None:
    store = await EtcdStore.open([own_member.endpoint])
    own_member.kill()
    with pytest.raises(StoreError):  # the connection may break in the middle of this one
        await store.commit((Require("/mizzen/a", 0),), deadline_s=0.5)
    with pytest.raises(Unavailable, match="not made"):
        await store.commit((Put("/mizzen/a", b"x", 0),), deadline_s=0.5)
    own_member.start()
    assert await store.get("/mizzen/a") is None
    await store.close()


async def hammer(store: Store, prefix: str, acknowledged: dict[str, int], until: asyncio.Event) -> None:
    """Create keys one after the other, noting those that were acknowledged."""
    number = 0
    while not until.is_set():
        outcome = await store.commit((Put(f"{prefix}{number:05}", b"x" * 100, 0),), deadline_s=30)
        assert isinstance(outcome, Committed), outcome
        acknowledged[f"{prefix}{number:05}"] = outcome.version
        number += 1


async def disturbed(store: Store, space: str, disturb: list[EtcdMember], *, restart: bool) -> None:
    """Write while members are killed one after the other; whatever was acknowledged is there, and was seen once."""
    start = await store.current()
    acknowledged: dict[str, int] = {}
    until = asyncio.Event()
    async with collecting(store, space, start) as collector, asyncio.TaskGroup() as tasks:
        for n in range(8):
            tasks.create_task(hammer(store, f"{space}{n}/", acknowledged, until))
        for member in disturb:
            await collector.received(len(collector.events) + 200)
            member.kill()
            if restart:
                member.start()
        await collector.received(len(collector.events) + 200)
        until.set()
    async with collecting(store, space, start) as again:
        seen = state_after(await again.reached(await store.current()))
    assert {key: version for key, (_, version) in seen.items()} == acknowledged
    page = await store.range(space)
    assert {record.key: record.version for record in page.records} == acknowledged


async def test_a_killed_etcd_loses_nothing_that_was_acknowledged(own_member: EtcdMember, space: str) -> None:
    store = await EtcdStore.open([own_member.endpoint])
    await disturbed(store, space, [own_member, own_member], restart=True)
    await store.close()


async def leader_of(cluster: list[EtcdMember]) -> EtcdMember:
    """Wait until all members answer and return the one that leads."""
    leaders: list[EtcdMember] = []
    for member in cluster:
        client = EtcdClient([member.endpoint])
        await client.range(pb.RangeRequest(key=b"/mizzen/a"), 30)
        status = await client.status(10)
        await client.close()
        if status.leader == status.header.member_id:
            leaders.append(member)
    return leaders[0]


async def test_a_change_of_leader_loses_nothing_that_was_acknowledged(cluster: list[EtcdMember], space: str) -> None:
    store = await EtcdStore.open([member.endpoint for member in cluster], deadline_s=30)
    await disturbed(store, space, [await leader_of(cluster)], restart=False)
    await store.close()


async def test_a_silent_member_is_left_for_another(cluster: list[EtcdMember], space: str) -> None:
    await leader_of(cluster)
    store = await EtcdStore.open([member.endpoint for member in cluster])  # all answer, so it stays with the first
    async with collecting(store, space, await store.current()) as collector:
        await create(store, space + "a")
        await collector.received(1)
        cluster[0].stop()
        (version,) = await create(store, space + "b")
        await collector.reached(version)  # the watch noticed the silence by itself
    cluster[0].resume()
    await store.close()


async def test_without_a_quorum_nothing_is_read(cluster: list[EtcdMember]) -> None:
    client = EtcdClient([cluster[0].endpoint])
    await client.range(pb.RangeRequest(key=b"/mizzen/a"), 30)
    for member in cluster[1:]:
        member.kill()
    with pytest.raises(Unavailable):
        await client.range(pb.RangeRequest(key=b"/mizzen/a"), 1)
    await client.close()


async def test_an_idle_watch_advances_over_the_writes_of_others(own_member: EtcdMember) -> None:
    store = await EtcdStore.open([own_member.endpoint])
    client = EtcdClient([own_member.endpoint])
    start = await store.current()
    async with collecting(store, "/mizzen/registry/", start) as collector:
        foreign = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"/other/a", value=b"1"))])
        await client.txn(foreign.SerializeToString())
        now = await store.current()
        assert now > start
        assert await collector.reached(now) == []
    await client.close()
    await store.close()


async def test_what_was_written_by_hand_is_readable(own_member: EtcdMember, space: str) -> None:
    store = await EtcdStore.open([own_member.endpoint])
    client = EtcdClient([own_member.endpoint])
    start = await store.current()
    (version,) = await create(store, space + "a")
    puts = [pb.PutRequest(key=f"{space}{n}".encode(), value=b'{\n "a": 1\n}\n') for n in range(1)]
    await client.txn(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]).SerializeToString())
    record = await store.get(space + "0")
    assert record is not None
    assert record.value == b'{\n "a": 1\n}\n'

    everything = pb.DeleteRangeRequest(key=space.encode(), range_end=space[:-1].encode() + b"0")
    await client.txn(pb.TxnRequest(success=[pb.RequestOp(request_delete_range=everything)]).SerializeToString())
    events = await events_since(store, space, start)
    assert [event.key for event in events] == [space + key for key in ("a", "0", "0", "a")]
    assert events[0].version == version
    assert events[1].version == record.version
    assert events[3].version == events[2].version + 1
    await client.close()
    await store.close()


async def test_what_is_too_large_is_refused_and_harms_nobody_else(real_etcd: RealEtcd, space: str) -> None:
    store = await real_etcd.open()
    outcomes = await asyncio.gather(
        *(store.commit((Put(f"{space}{n}", b"x" * (3_000_000 if n == 2 else 10), 0),)) for n in range(5)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[2], Refused)
    assert "max-request-bytes" in str(outcomes[2])
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 4


async def test_a_revision_larger_than_a_message(real_etcd: RealEtcd, space: str) -> None:
    """etcd sends such a revision in fragments when previous values are asked for."""
    store = await real_etcd.open()
    value = b"x" * 10_000
    start = await store.current()
    made = await store.commit(tuple(Put(f"{space}{n:02}", value, 0) for n in range(100)))
    assert isinstance(made, Committed)
    ops: list[Op] = [Put(f"{space}{n:02}", value, made.versions[n]) for n in range(80)]
    ops += [Remove(f"{space}{n:02}", made.versions[n]) for n in range(80, 100)]
    changed = await store.commit(tuple(ops))
    assert isinstance(changed, Committed)
    async with collecting(store, space, start) as collector:
        events = await collector.reached(changed.version)
    assert [event.version for event in events] == [*made.versions, *changed.versions]
    assert all(event.previous and event.previous.value == value for event in events[100:])


async def test_secrets_are_sealed_in_etcd_alone(real_etcd: RealEtcd) -> None:
    key = object_key("", "secrets", "default", f"s-{id(real_etcd)}")
    sealer = Sealer(b"k" * 32)
    store, plain = await real_etcd.open_direct(sealer), await real_etcd.open()
    start = await store.current()
    (version,) = await create(store, key)
    stored = await plain.get(key)
    assert stored is not None
    assert stored.value.startswith(SEALED)
    assert b"before" not in stored.value

    record = Record(key, b"before", version)
    assert await store.get(key) == record
    assert record in (await store.range("/mizzen/registry/core/secrets/")).records
    assert await store.commit((Put(key, b"", 0),)) == Conflict(key, record)
    assert [event.value for event in await events_since(store, key, start)] == [b"before"]

    stranger = await real_etcd.open_direct(Sealer(b"other key of thirty-two bytes..."))
    with pytest.raises(Refused, match="cannot decrypt"):
        await stranger.get(key)
    with pytest.raises(Refused, match="cannot decrypt"):
        await stranger.commit((Put(key, b"", 0),))
    assert isinstance(await stranger.commit((Remove(key, version),)), Committed)


async def test_a_leader_that_hangs_knows_before_another_is_elected(real_etcd: RealEtcd, space: str) -> None:
    name = f"name-{space[8:-1]}"
    hanging, other = await real_etcd.open(), await real_etcd.open_direct()
    async with asyncio.timeout(30), hanging.campaign(name, "old", 2) as old:
        real_etcd.proxy.hold()
        async with other.campaign(name, "new", 2) as new:
            assert old.lost.is_set()
            real_etcd.proxy.release()
            refused = await hanging.commit((old.fence, Put(space + "a", b"x", 0)))
            assert isinstance(refused, Conflict)
            assert isinstance(await other.commit((new.fence, Put(space + "a", b"x", 0))), Committed)


async def test_a_leader_whose_key_was_removed_by_hand_knows(real_etcd: RealEtcd, space: str) -> None:
    store = await real_etcd.open()
    async with asyncio.timeout(30), store.campaign(f"name-{space[8:-1]}", "one", 2) as leader:
        await store.commit((Remove(leader.fence.key, leader.fence.expect),))
        await leader.lost.wait()
