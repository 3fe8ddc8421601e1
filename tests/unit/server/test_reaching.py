"""Who is told when the rules of all nodes show a version."""

from __future__ import annotations

from controlplane.server.reaching import ASKED_MAX, Answer, Reaching

READY = ["n1", "n2", "n3"]


def among(*nodes: str) -> Reaching:
    """These nodes are ready, and have told that they are at 10."""
    made = Reaching(lambda: nodes)
    for node in nodes:
        assert made.told(node, 10, ()) == []
    return made


def test_what_all_have_reached_is_answered_at_once() -> None:
    assert among(*READY).told("n1", 10, [9, 10]) == [Answer("n1", 9), Answer("n1", 10)]


def test_the_last_one_to_reach_it_sets_the_asker_free() -> None:
    made = among(*READY)
    assert made.told("n1", 20, [20]) == []
    assert made.told("n2", 15, ()) == []
    assert made.told("n3", 25, ()) == []
    assert made.told("n2", 20, ()) == [Answer("n1", 20)]
    assert made.told("n2", 21, ()) == []


def test_several_ask_for_several_versions() -> None:
    made = among(*READY)
    made.told("n1", 12, [11, 13])
    made.told("n2", 13, [12])
    assert made.told("n3", 12, ()) == [Answer("n1", 11), Answer("n2", 12)]
    assert made.told("n3", 13, ()) == []
    assert made.told("n1", 13, [13]) == [Answer("n1", 13)]


def test_what_is_not_asked_for_any_more_is_not_answered() -> None:
    made = among(*READY)
    made.told("n1", 11, [11])
    made.told("n1", 11, ())
    made.told("n2", 11, ())
    assert made.told("n3", 11, ()) == []


def test_a_node_that_is_not_ready_is_not_waited_for() -> None:
    made = Reaching(lambda: ["n1"])
    made.told("n2", 3, ())
    assert made.told("n1", 10, [10]) == [Answer("n1", 10)]


def test_a_ready_node_that_has_not_told_is_waited_for() -> None:
    made = Reaching(lambda: READY)
    made.told("n2", 10, ())
    assert made.told("n1", 10, [10]) == []
    assert made.told("n3", 10, ()) == [Answer("n1", 10)]


def test_a_node_that_becomes_ready_later_is_not_waited_for() -> None:
    ready = ["n1", "n2"]
    made = Reaching(lambda: ready)
    made.told("n1", 10, [10])
    ready.append("n3")
    assert made.told("n2", 10, ()) == [Answer("n1", 10)]


def test_one_whose_agent_has_left_has_to_tell_again() -> None:
    made = among(*READY)
    made.left("n2")
    assert made.told("n1", 10, [10]) == []
    assert made.told("n2", 10, ()) == [Answer("n1", 10)]


def test_an_asker_that_has_left_is_not_answered() -> None:
    made = among("n1", "n2")
    made.told("n1", 11, [11])
    made.left("n1")
    assert made.told("n2", 11, ()) == []


def test_a_node_may_not_ask_for_any_number_of_versions() -> None:
    made = among("n1", "n2")
    made.told("n1", 10_000, range(20, 20 + 2 * ASKED_MAX))
    assert len(made.told("n2", 10_000, ())) == ASKED_MAX
