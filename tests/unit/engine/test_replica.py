"""Own writes ahead of the log: every change is told once and in order, and the cache never goes back."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.api import kinds
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Change, ChangeType
from mizzen.engine.replica import Replica, Told
from tests.unit.engine.objects import pod


def told(name: str, version: int, *, deleted: bool = False) -> Told:
    obj = pod(name, uid=f"{name}-{version}")
    raw = None if deleted else canonical.stamp(kinds.POD, canonical.rest(obj), version)
    return Told(kinds.POD, "default", name, version, raw)


@dataclass
class Write:
    """One change of the log: of which key, whether own, and how long its answer and the log take."""

    name: str
    deleted: bool
    own: bool
    answer_first: bool


WRITES = st.lists(
    st.builds(Write, st.sampled_from("abc"), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=25
)


def versions_of(log: list[Told]) -> list[tuple[str, int, int, str]]:
    """What watchers must be told of a log: name, version, version before, type."""
    state: dict[str, int] = {}
    expected = []
    for one in log:
        before = state.get(one.name, 0)
        if one.raw is None:
            if before:
                expected.append((one.name, one.version, before, "DELETED"))
            state.pop(one.name, None)
        else:
            expected.append((one.name, one.version, before, "MODIFIED" if before else "ADDED"))
            state[one.name] = one.version
    return expected


def seen(changes: list[Change]) -> list[tuple[str, int, int, str]]:
    return [
        (one.entry.name, one.version, one.previous.version if one.previous else 0, str(one.type)) for one in changes
    ]


def state_at(log: list[Told], revision: int) -> dict[str, int]:
    state: dict[str, int] = {}
    for one in log:
        if one.version <= revision:
            state.pop(one.name, None)
            if one.raw is not None:
                state[one.name] = one.version
    return state


@settings(max_examples=150, deadline=None)
@given(WRITES, st.data())
def test_the_log_is_told_once_and_in_order_whatever_is_known_before(writes: list[Write], data: st.DataObject) -> None:
    cache = Cache(indexes.ALL)
    replica = Replica(cache)
    log = [told(write.name, place + 1, deleted=write.deleted) for place, write in enumerate(writes)]
    answers = [one for one, write in zip(log, writes, strict=True) if write.own]
    changes: list[Change] = []
    place = 0
    while place < len(log) or answers:
        if answers and (place == len(log) or data.draw(st.booleans())):
            replica.wrote(answers.pop(data.draw(st.integers(0, len(answers) - 1))))
        else:
            count = data.draw(st.integers(1, 3))
            batch = log[place : place + count]
            changes += replica.apply(batch, batch[-1].version)
            place += len(batch)
        confirmed = {entry.name: entry.version for entry in replica.confirmed(kinds.POD)}
        assert confirmed == state_at(log, cache.revision)
    assert seen(changes) == versions_of(log)
    assert {entry.name: entry.version for entry in cache.entries(kinds.POD)} == state_at(log, len(log))


@settings(max_examples=100, deadline=None)
@given(WRITES, st.integers(0, 25), st.integers(0, 25), st.sets(st.integers(0, 24)))
def test_a_list_in_place_of_the_log_leads_to_the_same(
    writes: list[Write], heard: int, listed: int, answered: set[int]
) -> None:
    cache = Cache(indexes.ALL)
    replica = Replica(cache)
    log = [told(write.name, place + 1, deleted=write.deleted) for place, write in enumerate(writes)]
    heard, listed = sorted((min(heard, len(log)), min(listed, len(log))))
    replica.apply(log[:heard], heard)
    for place in sorted(answered):
        if place < len(log) and writes[place].own:
            replica.wrote(log[place])
    state = state_at(log, listed)
    told_changes = replica.replace([one for one in log if state.get(one.name) == one.version], listed)
    assert {entry.name: entry.version for entry in replica.confirmed(kinds.POD)} == state
    replica.apply(log[listed:], len(log))
    assert {entry.name: entry.version for entry in cache.entries(kinds.POD)} == state_at(log, len(log))
    assert [change.version for change in told_changes] == sorted(change.version for change in told_changes)
    known = state_at(log, heard)
    for change in told_changes:
        assert (change.type is ChangeType.ADDED) == (change.entry.name not in known)


def test_an_own_write_is_seen_at_once_and_moves_no_revision() -> None:
    cache = Cache(indexes.ALL)
    replica = Replica(cache)
    replica.replace([], 10)
    replica.wrote(told("a", 20))
    assert cache.get(kinds.POD, "default", "a") is not None
    assert (cache.revision, replica.confirmed(kinds.POD)) == (10, [])


def test_what_came_and_went_while_nobody_listened_is_not_there() -> None:
    cache = Cache(indexes.ALL)
    replica = Replica(cache)
    replica.replace([], 10)
    replica.wrote(told("a", 20))
    assert replica.replace([], 30) == []
    assert cache.get(kinds.POD, "default", "a") is None


def test_a_late_change_by_another_does_not_bring_back_what_was_deleted() -> None:
    cache = Cache(indexes.ALL)
    replica = Replica(cache)
    replica.apply([told("a", 1)], 1)
    replica.wrote(told("a", 3, deleted=True))
    changes = replica.apply([told("a", 2)], 2)
    assert cache.get(kinds.POD, "default", "a") is None
    assert seen(changes) == [("a", 2, 1, "MODIFIED")]
    assert seen(replica.apply([told("a", 3, deleted=True)], 3)) == [("a", 3, 2, "DELETED")]


def test_the_last_state_of_a_deleted_object_carries_the_version_of_its_deletion() -> None:
    replica = Replica(Cache(indexes.ALL))
    replica.apply([told("a", 1)], 1)
    (change,) = replica.apply([told("a", 5, deleted=True)], 5)
    assert change.entry.object().metadata.resource_version == "5"
    assert change.entry.object().metadata.uid == "a-1"
