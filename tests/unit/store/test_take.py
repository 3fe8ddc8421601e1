"""Which commits share a transaction."""

from __future__ import annotations

import asyncio
from collections import deque

from controlplane.store.batch import take
from controlplane.store.txn import Pending
from controlplane.store.values import Op, Put, Require


def queue_of(*commits: tuple[Op, ...]) -> deque[Pending]:
    """Return a queue of commits that somebody waits for."""
    loop = asyncio.get_running_loop()
    return deque(Pending(ops, b"m.1", 0, loop.create_future()) for ops in commits)


def put(name: str, size: int = 1) -> Put:
    return Put(f"/mizzen/{name}", b"x" * size, 0)


def keys(group: list[Pending]) -> list[str]:
    return [pending.ops[0].key[8:] for pending in group]


async def test_commits_leave_in_order() -> None:
    queue = queue_of(*((put(str(n)),) for n in range(5)))
    assert keys(take(queue)) == ["0", "1", "2", "3", "4"]
    assert take(queue) == []


async def test_a_key_stands_in_a_group_once_and_keeps_its_order() -> None:
    queue = queue_of((put("a"),), (put("a"),), (put("b"),), (put("a"),))
    assert [keys(take(queue)) for _ in range(3)] == [["a", "b"], ["a"], ["a"]]


async def test_a_commit_that_waits_holds_back_what_touches_its_keys() -> None:
    queue = queue_of((put("a"),), (put("b"), put("a")), (put("b"),), (put("c"),))
    assert [keys(take(queue)) for _ in range(3)] == [["a", "c"], ["b"], ["b"]]


async def test_what_one_writes_another_may_not_require() -> None:
    fence = Require("/mizzen/leader", 5)
    together = queue_of((put("a"), fence), (put("b"), fence))
    assert keys(take(together)) == ["a", "b"]
    apart = queue_of((put("a"), fence), (put("leader"),), (put("b"), fence), (put("c"),))
    assert [keys(take(apart)) for _ in range(3)] == [["a", "c"], ["leader"], ["b"]]


async def test_groups_stay_within_etcds_limits() -> None:
    queue = queue_of(*((put(f"{n}"),) for n in range(300)))
    sizes = [len(take(queue)) for _ in range(3)]
    assert sizes == [127, 127, 46]  # one level of nesting costs one operation

    wide = queue_of(*(tuple(put(f"{n}-{m}") for m in range(50)) for n in range(4)))
    assert [len(take(wide)) for _ in range(2)] == [2, 2]

    heavy = queue_of(*((put(f"{n}", 400_000),) for n in range(5)), (put("huge", 5_000_000),), (put("last"),))
    assert [keys(take(heavy)) for _ in range(5)] == [["0", "1"], ["2", "3"], ["4"], ["huge"], ["last"]]


async def test_what_nobody_waits_for_is_dropped() -> None:
    queue = queue_of((put("a"),), (put("b"),), (put("a"),))
    queue[0].future.cancel()
    assert keys(take(queue)) == ["b", "a"]
