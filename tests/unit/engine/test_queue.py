"""The work queue: keys once, in order, never forgotten; delays, back-off and the barrier."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.engine.backoff import Backoff
from mizzen.engine.barrier import Barrier
from mizzen.engine.queue import WorkQueue


def test_keys_come_once_and_in_the_order_they_were_added() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for now, key in enumerate(("b", "a", "b", "c")):
        queue.add(key, now)
    assert [queue.pop(10), queue.pop(10), queue.pop(10), queue.pop(10)] == [("b", 10), ("a", 9), ("c", 7), None]
    assert queue.adds == 3


def test_a_key_added_while_it_runs_is_queued_again_when_it_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    assert queue.pop(0) == ("a", 0)
    queue.add("a", 5)
    assert queue.pop(6) is None
    assert queue.done("a", 8) == 8
    assert queue.pop(8) == ("a", 3)


def test_a_delayed_key_waits_for_the_earliest_time_it_was_given() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_at("a", 50)
    queue.add_at("a", 30)
    queue.add_at("a", 70)
    assert (queue.next_due(10), queue.pop(29)) == (20, None)
    assert queue.pop(30) == ("a", 0)
    queue.done("a", 31)
    assert queue.next_due(31) is None


def test_running_a_key_cancels_its_delay() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_at("a", 50)
    queue.add("a", 1)
    queue.pop(2)
    queue.done("a", 3)
    assert queue.next_due(3) is None


def test_unfinished_work_is_measured() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "ab":
        queue.add(key, 0)
    queue.pop(10)
    queue.pop(30)
    assert queue.unfinished_ms(40) == (40, 30)
    assert queue.running == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("add", "delay", "pop", "done")), st.sampled_from("abc")), max_size=40))
def test_nothing_is_forgotten_and_nothing_runs_twice(steps: list[tuple[str, str]]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    wanted: set[str] = set()
    running: set[str] = set()
    for now, (what, key) in enumerate(steps):
        if what == "add":
            queue.add(key, now)
            wanted.add(key)
        elif what == "delay":
            queue.add_at(key, now + 2)
            wanted.add(key)
        elif what == "pop":
            popped = queue.pop(now)
            if popped is not None:
                assert popped[0] not in running
                running.add(popped[0])
                wanted.discard(popped[0])
        elif key in running:
            running.remove(key)
            queue.done(key, now)
    for key in sorted(running):
        queue.done(key, 100)
    rest = set()
    while (popped := queue.pop(100)) is not None:
        rest.add(popped[0])
    assert rest >= wanted


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    backoff: Backoff[str] = Backoff(first_ms=5, longest_ms=60)
    assert [backoff.failed("a") for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert backoff.failed("b") == 5
    backoff.succeeded("a")
    assert (backoff.failed("a"), backoff.failures("a")) == (5, 1)


def test_a_key_is_held_until_the_view_has_what_it_wrote() -> None:
    barrier: Barrier[str] = Barrier()
    barrier.wrote("a", 20)
    barrier.wrote("a", 10)
    assert not barrier.hold("b", 0)
    assert barrier.hold("a", 19)
    assert barrier.advance(19) == []
    assert barrier.advance(25) == ["a"]
    assert not barrier.hold("a", 25)
    assert len(barrier) == 0
