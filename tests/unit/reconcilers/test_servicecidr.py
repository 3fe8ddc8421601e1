"""Ranges of cluster IPs are taken into use, and go when nobody needs them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import servicecidr
from mizzen.api import kinds
from mizzen.api.service_ranges import RANGE_FINALIZER, new_address
from mizzen.api.types import meta_v1, networking_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, view

OLD_S, YOUNG_S = -60, -2


def range_(name: str, *cidrs: str, ended_s: int = 0, finalizer: bool = True) -> networking_v1.ServiceCIDR:
    """A range; with `ended_s` somebody has deleted it then."""
    metadata = meta(name, namespace="", finalizers=(RANGE_FINALIZER,) if finalizer else ())
    metadata = replace(metadata, deletion_timestamp=at(ended_s) if ended_s else None)
    return networking_v1.ServiceCIDR(metadata=metadata, spec=networking_v1.ServiceCIDRSpec(cidrs=cidrs))


def decide(item: networking_v1.ServiceCIDR, *others: object) -> Decision:
    """What is done about a range."""
    key = Key(kinds.SERVICE_CIDR.resource, "", item.metadata.name)
    return servicecidr.reconcile(key, view(item, *others), NOW, SeededIds(1))


def told(decision: Decision) -> tuple[str, str]:
    """The condition that is written: its status and reason."""
    (effect,) = decision.effects
    assert isinstance(effect, UpdateStatus)
    (condition,) = effect.object.status.conditions
    assert condition.type == "Ready"
    return condition.status, condition.reason


def let_go(decision: Decision) -> bool:
    """Whether the finalizer is taken away."""
    return any(isinstance(one, Update) and not one.object.metadata.finalizers for one in decision.effects)


def test_a_new_range_is_protected_and_then_ready() -> None:
    (first,) = decide(range_("a", "10.0.0.0/24", finalizer=False)).effects
    assert isinstance(first, Update)
    assert first.object.metadata.finalizers == (RANGE_FINALIZER,)
    item = range_("a", "10.0.0.0/24")
    second = decide(item)
    assert told(second) == ("True", "")
    (effect,) = second.effects
    assert isinstance(effect, UpdateStatus)
    assert decide(replace(item, status=effect.object.status)).effects == ()


@pytest.mark.parametrize(
    ("others", "needed"),
    [
        ([], False),
        ([new_address("10.0.0.7", "default", "web")], True),
        ([new_address("10.0.1.7", "default", "web")], False),
        ([networking_v1.IPAddress(metadata=meta_v1.ObjectMeta(name="10.0.0.7"))], False),
        ([new_address("10.0.0.7", "default", "web"), range_("b", "10.0.0.0/16")], False),
        ([new_address("10.0.0.7", "default", "web"), range_("b", "10.0.0.0/28")], False),
        ([new_address("10.0.0.77", "default", "web"), range_("b", "10.0.0.0/28")], True),
        ([new_address("10.0.0.7", "default", "web"), range_("b", "10.0.0.0/16", ended_s=OLD_S)], True),
        ([new_address("fd00::7", "default", "web")], True),
    ],
)
def test_a_range_stays_while_addresses_would_be_in_none(others: list[object], needed: bool) -> None:
    decision = decide(range_("a", "10.0.0.0/24", "fd00::/64", ended_s=OLD_S), *others)
    # A second range of one family leaves the other one, which has no addresses in most cases.
    assert let_go(decision) is not needed
    if needed:
        assert told(decision) == ("False", "Terminating")
        assert [waiting.reason for waiting in decision.waiting] == ["Terminating"]


def test_a_range_that_nobody_needs_goes_after_a_while() -> None:
    decision = decide(range_("a", "10.0.0.0/24", ended_s=YOUNG_S))
    assert decision.effects == ()
    assert decision.wake_after_ms == servicecidr.GRACE_MS + YOUNG_S * 1000
    assert let_go(decide(range_("a", "10.0.0.0/24", ended_s=OLD_S)))
    assert decide(range_("a", "10.0.0.0/24", ended_s=OLD_S, finalizer=False)).effects == ()
