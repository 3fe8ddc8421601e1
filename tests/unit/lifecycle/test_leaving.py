"""What endpoint slices say of a pod that leaves, and how long that is waited for."""

from __future__ import annotations

import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from nodeagent.lifecycle.leaving import Shown, leave_by_ms, shown


def endpoint(uid: str, *, ready: bool | None = True) -> discovery.Endpoint:
    """A pod in a slice."""
    conditions = discovery.EndpointConditions(ready=ready)
    return discovery.Endpoint(conditions=conditions, target_ref=core.ObjectReference(kind="Pod", uid=uid))


def piece(*endpoints: discovery.Endpoint) -> discovery.EndpointSlice:
    """A slice."""
    return discovery.EndpointSlice(address_type="IPv4", endpoints=endpoints)


OUT = endpoint("u1", ready=False)
IN = endpoint("u1")
OTHER = endpoint("u2")
STRANGER = discovery.Endpoint(addresses=("192.0.2.1",))


@pytest.mark.parametrize(
    ("slices", "wanted"),
    [
        ([], Shown(offered=False, version=0)),
        ([(piece(OTHER, STRANGER), 9)], Shown(offered=False, version=0)),
        ([(piece(OTHER, IN), 9)], Shown(offered=True, version=9)),
        ([(piece(endpoint("u1", ready=None)), 9)], Shown(offered=True, version=9)),
        ([(piece(OUT, OTHER), 9)], Shown(offered=False, version=9)),
        ([(piece(OUT), 9), (piece(OUT), 12), (piece(OTHER), 15)], Shown(offered=False, version=12)),
        ([(piece(OUT), 9), (piece(IN), 7)], Shown(offered=True, version=9)),
    ],
)
def test_what_slices_say(slices: list[tuple[discovery.EndpointSlice, int]], wanted: Shown) -> None:
    assert shown("u1", slices) == wanted


@pytest.mark.parametrize(("grace_ms", "wait_ms"), [(30_000, 5_000), (10_000, 5_000), (3_000, 1_500), (0, 0)])
def test_the_wait_has_a_bound(grace_ms: int, wait_ms: int) -> None:
    assert leave_by_ms(1_000, 1_000 + grace_ms) == 1_000 + wait_ms
