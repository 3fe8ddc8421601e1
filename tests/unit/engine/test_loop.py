"""One controller's loop: what queues a key, when it runs again, and what is known of it in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.base.ids import SeededIds
from mizzen.engine import indexes
from mizzen.engine.cache import Cache
from mizzen.engine.controller import ByMembership, Controller
from mizzen.engine.effects import Decision, Delete, Waiting
from mizzen.engine.entry import Change, deletion, replacement
from mizzen.engine.feed import Feed
from mizzen.engine.loop import ControlLoop, Turn, TurnFailed
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View
from tests.unit.engine.objects import entry, pod

NODE = Key("nodes", "", "n1")
IDS = SeededIds(1)


def node_of(one: core.Pod, view: View) -> Iterable[Key]:
    return [Key("nodes", "", one.spec.node_name)] if one.spec.node_name else []


def loop_of(
    decide: Callable[[Key], Decision] = lambda key: Decision(), *, resync_ms: int = 0, settle_ms: int = 0
) -> ControlLoop:
    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        return decide(key)

    watches = ((kinds.POD, node_of),)
    return ControlLoop(
        Controller("test", kinds.NODE, reconcile, watches=watches, resync_ms=resync_ms, settle_ms=settle_ms)
    )


def take(loop: ControlLoop, view: View, tick: int) -> Turn | None:
    return loop.take(view, 1_000_000 + tick, IDS, tick)


def taken(loop: ControlLoop, view: View, tick: int) -> Turn:
    turn = take(loop, view, tick)
    assert turn is not None
    return turn


@pytest.fixture
def view() -> Cache:
    cache = Cache(indexes.ALL)
    cache.advance(100)
    return cache


def test_everything_there_is_queues_its_keys(view: Cache) -> None:
    view.put(entry(core.Node(metadata=core.meta_v1.ObjectMeta(name="n2"))))
    view.put(entry(pod("a", node="n1")))
    loop = loop_of()
    assert Feed([loop]).seed(view, 0) == []
    keys = [taken(loop, view, 0).key.name, taken(loop, view, 0).key.name]
    assert keys == ["n2", "n1"]


def test_a_change_queues_what_it_concerns_before_and_after(view: Cache) -> None:
    loop = loop_of()
    before, after = entry(pod("a", node="n1"), 1), entry(pod("a", node="n2"), 2)
    Feed([loop]).changed([replacement(before, after)], 2, view, 0)
    assert [taken(loop, view, 0).key.name, taken(loop, view, 0).key.name] == ["n1", "n2"]
    assert take(loop, view, 0) is None


def test_a_deletion_queues_by_the_last_state(view: Cache) -> None:
    loop = loop_of()
    Feed([loop]).changed([deletion(entry(pod("a", node="n1"), 1), 5)], 5, view, 0)
    assert taken(loop, view, 0).key == NODE


def test_a_mapper_that_raises_does_not_stop_the_others(view: Cache) -> None:
    def broken(one: core.Pod, view: View) -> Iterable[Key]:
        raise KeyError(one.metadata.name)

    bad = ControlLoop(Controller("bad", kinds.NODE, loop_of().controller.reconcile, watches=((kinds.POD, broken),)))
    good = loop_of()
    change: Change = replacement(None, entry(pod("a", node="n1"), 1))
    failures = Feed([bad, good]).changed([change], 1, view, 0)
    assert [str(failure) for failure in failures] == ["bad cannot map pods/default/a"]
    assert taken(good, view, 0).key == NODE


def test_a_mapper_by_membership_is_asked_before_and_after_a_move_alone(view: Cache) -> None:
    asked = []

    def owners(one: core.Pod, view: View) -> Iterable[Key]:
        asked.append(int(one.metadata.resource_version))
        return [Key("nodes", "", reference.name) for reference in one.metadata.owner_references]

    watches = ((kinds.POD, ByMembership(owners)),)
    loop = ControlLoop(Controller("test", kinds.NODE, loop_of().controller.reconcile, watches=watches))
    feed = Feed([loop])
    first, second = entry(pod("a", owners=["x"]), 1), entry(pod("a", owners=["x"], phase="Running"), 2)
    feed.changed([replacement(first, second)], 2, view, 0)
    assert asked == [2]
    feed.changed([replacement(second, entry(pod("a", owners=["y"]), 3))], 3, view, 0)
    assert asked == [2, 2, 3]
    assert [taken(loop, view, 0).key.name, taken(loop, view, 0).key.name] == ["x", "y"]


def test_a_change_that_leaves_the_facet_is_not_told(view: Cache) -> None:
    sees = {kinds.POD: lambda one: one.spec.node_name or None}
    loop = ControlLoop(Controller("test", kinds.POD, loop_of().controller.reconcile, sees=sees))
    feed = Feed([loop])
    states = [entry(pod("a"), 1), entry(pod("a", node="n1"), 2), entry(pod("a", node="n1", phase="Running"), 3)]
    told = []
    for before, after in [(None, states[0]), (states[0], states[1]), (states[1], states[2])]:
        feed.changed([replacement(before, after)], after.version, view, 0)
        told.append(take(loop, view, 0) is not None)
    feed.changed([deletion(states[2], 4)], 4, view, 0)
    assert told == [False, True, False]
    assert loop.queue.adds == 2


def test_a_facet_that_raises_hides_nothing(view: Cache) -> None:
    sees = {kinds.POD: lambda one: one.metadata.labels["app"]}
    loop = ControlLoop(Controller("test", kinds.POD, loop_of().controller.reconcile, sees=sees))
    failures = Feed([loop]).changed([replacement(None, entry(pod("a"), 1))], 1, view, 0)
    assert [str(failure) for failure in failures] == ["a facet cannot be read of pods/default/a"]
    assert taken(loop, view, 0).key.name == "a"


def test_a_key_does_not_run_before_the_view_has_what_it_wrote(view: Cache) -> None:
    loop = loop_of()
    feed = Feed([loop])
    loop.queue.add(NODE, 0)
    loop.succeeded(taken(loop, view, 0), 150, 1)
    loop.queue.add(NODE, 2)
    assert take(loop, view, 3) is None
    view.advance(149)
    feed.changed([], 149, view, 4)
    assert take(loop, view, 4) is None
    view.advance(150)
    feed.changed([], 150, view, 5)
    assert taken(loop, view, 5).key == NODE


def test_a_decision_is_made_again_when_it_asked_for_that(view: Cache) -> None:
    loop = loop_of(lambda key: Decision(wake_after_ms=500))
    loop.queue.add(NODE, 0)
    loop.succeeded(taken(loop, view, 0), 0, 10)
    assert loop.queue.next_due(10) == 500
    assert taken(loop, view, 510).key == NODE


def test_without_changes_a_key_is_run_again_after_the_resync(view: Cache) -> None:
    loop = loop_of(resync_ms=60_000)
    loop.queue.add(NODE, 0)
    loop.succeeded(taken(loop, view, 0), 0, 0)
    assert loop.queue.next_due(0) == 60_000


def test_a_bounced_decision_is_tried_again_after_growing_pauses_and_says_why(view: Cache) -> None:
    waiting = (Waiting("Deleting", "2 left"),)
    loop = loop_of(lambda key: Decision((Delete(key, "u"),), waiting=waiting))
    loop.queue.add(NODE, 0)
    tick = 0
    for pause_ms in (5, 10, 20):
        loop.failed(taken(loop, view, tick), "in the way", 0, tick)
        assert loop.queue.next_due(tick) == pause_ms
        tick += pause_ms
    story = loop.story(NODE)
    assert story is not None
    assert (story.error, story.failures, story.waiting) == ("in the way", 3, waiting)
    assert loop.retries == 3
    loop.succeeded(taken(loop, view, tick), 0, tick)
    story = loop.story(NODE)
    assert story is not None
    assert (story.error, story.waiting) == ("", waiting)


def test_a_key_that_waits_for_nothing_has_no_story(view: Cache) -> None:
    loop = loop_of()
    loop.queue.add(NODE, 0)
    loop.failed(taken(loop, view, 0), "once", 0, 0)
    loop.succeeded(taken(loop, view, 5), 0, 5)
    assert loop.story(NODE) is None


def test_a_reconciler_that_raises_is_told_with_its_key(view: Cache) -> None:
    def decide(key: Key) -> Decision:
        raise ZeroDivisionError

    loop = loop_of(decide)
    loop.queue.add(NODE, 0)
    with pytest.raises(TurnFailed, match="nodes/n1") as caught:
        take(loop, view, 0)
    loop.failed(caught.value.turn, "defect", 0, 0)
    assert loop.queue.next_due(0) == 5


def test_changes_of_others_settle_before_a_key_runs_and_its_own_run_it_at_once(view: Cache) -> None:
    loop = loop_of(settle_ms=200)
    feed = Feed([loop])
    for version in (2, 3):
        feed.changed(
            [replacement(entry(pod("a", node="n1"), version - 1), entry(pod("a", node="n1"), version))],
            version,
            view,
            version * 50,
        )
    assert take(loop, view, 299) is None
    assert loop.queue.next_due(250) == 50
    loop.succeeded(taken(loop, view, 300), 0, 300)
    assert take(loop, view, 9_000) is None, "one run for both"
    feed.changed([replacement(None, entry(core.Node(metadata=core.meta_v1.ObjectMeta(name="n1")), 4))], 4, view, 9_000)
    assert taken(loop, view, 9_000).key == NODE
