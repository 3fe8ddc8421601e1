"""Who gets a place, and who is asked to come again."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from controlplane.server.authn import UserInfo
from controlplane.server.lanes import NODES, Lanes, Width
from mizzen.api.errors import TooManyRequests

ANN, BOB = UserInfo("ann"), UserInfo("bob")
NODE = UserInfo("system:node:n1", (NODES,))


def lanes() -> Lanes:
    return Lanes(everybody=Width(most=3, each=2), nodes=Width(most=2, each=1))


def refused(found: Lanes, user: UserInfo) -> bool:
    try:
        with found.enter(user):
            return False
    except TooManyRequests:
        return True


def test_one_client_cannot_take_all() -> None:
    found = lanes()
    with found.enter(ANN), found.enter(ANN):
        assert refused(found, ANN)
        assert not refused(found, BOB)
    assert not refused(found, ANN), "a place is given back"


def test_all_together_have_a_bound() -> None:
    found = lanes()
    with ExitStack() as held:
        for user in (ANN, ANN, BOB):
            held.enter_context(found.enter(user))
        assert refused(found, BOB)
        assert refused(found, UserInfo("carl"))
        assert not refused(found, NODE), "nodes have their own lane"
    assert not refused(found, BOB)


def test_nodes_do_not_take_each_others_place() -> None:
    found = lanes()
    with found.enter(NODE):
        assert refused(found, NODE)
        assert not refused(found, UserInfo("system:node:n2", (NODES,)))
        assert not refused(found, ANN)


def test_who_is_refused_comes_again_in_a_second() -> None:
    with pytest.raises(TooManyRequests) as error, Lanes(Width(0, 0)).enter(ANN):
        pass
    assert error.value.details is not None
    assert error.value.details.retry_after_seconds == 1
