"""Addresses of load balancers: who gets which, who announces it, and when it is given back."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import loadbalancer
from controlplane.reconcilers.loadbalancer import EXCLUDED, FINALIZER
from mizzen.api import kinds
from mizzen.api.services import ANNOUNCED_BY
from mizzen.api.types import core_v1, discovery_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Effect, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, node, view

FIRST = int(ipaddress.IPv4Address("192.0.2.10"))
POOL = ((FIRST, FIRST + 2),)
NODES = (node("n1"), node("n2"), node("n3"))


def service(name: str = "web", ip: str = "", by: str = "", *, marked: bool = True, **spec: Any) -> core_v1.Service:
    """A load balancer, with an address or without one yet."""
    metadata = replace(
        meta(name), finalizers=(FINALIZER,) if marked else (), annotations={ANNOUNCED_BY: by} if by else {}
    )
    ingress = (core_v1.LoadBalancerIngress(ip=ip, ip_mode="VIP"),) if ip else ()
    return core_v1.Service(
        metadata=metadata,
        spec=core_v1.ServiceSpec(**{"type": "LoadBalancer", **spec}),
        status=core_v1.ServiceStatus(load_balancer=core_v1.LoadBalancerStatus(ingress=ingress)),
    )


def decide(one: core_v1.Service, *present: Any, nodes: Any = NODES) -> tuple[Effect, ...]:
    """What is done about one Service."""
    seen = view(one, *present, *nodes)
    key = Key(kinds.SERVICE.resource, one.metadata.namespace, one.metadata.name)
    return loadbalancer.reconcile(POOL, key, seen, NOW, SeededIds(1)).effects


def settled(one: core_v1.Service, *present: Any, nodes: Any = NODES) -> core_v1.Service:
    """The Service after all that is done about it."""
    for _ in range(5):
        writes = [effect for effect in decide(one, *present, nodes=nodes) if not isinstance(effect, Emit)]
        if not writes:
            return one
        for effect in writes:
            assert isinstance(effect, Update | UpdateStatus)
            changed: Any = effect.object
            one = (
                replace(one, metadata=changed.metadata)
                if isinstance(effect, Update)
                else replace(one, status=changed.status)
            )
    raise AssertionError("it never settles")


def given(one: core_v1.Service) -> list[str]:
    """The addresses of a Service."""
    return [entry.ip for entry in one.status.load_balancer.ingress]


def by(one: core_v1.Service) -> str:
    """Who announces them."""
    return one.metadata.annotations.get(ANNOUNCED_BY, "")


def test_a_service_gets_the_first_free_address_and_a_node_that_announces_it() -> None:
    made = settled(service(marked=False), service("other", "192.0.2.10", "n1"))
    assert (given(made), made.metadata.finalizers) == (["192.0.2.11"], (FINALIZER,))
    assert by(made) in ("n1", "n2", "n3")


def test_the_finalizer_comes_before_the_address_and_an_event_with_it() -> None:
    (first,) = decide(service(marked=False))
    assert isinstance(first, Update)
    _, event = decide(replace(service(), metadata=first.object.metadata))
    assert isinstance(event, Emit)
    assert (event.reason, event.message) == ("EnsuredLoadBalancer", "Ensured load balancer")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("192.0.2.12", ""),
        ("192.0.2.10", "192.0.2.10 is taken by another Service"),
        ("198.51.100.1", "198.51.100.1 is not in the pool"),
    ],
)
def test_an_address_that_is_asked_for(asked: str, said: str) -> None:
    one, other = service(load_balancer_ip=asked), service("other", "192.0.2.10", "n1")
    if not said:
        assert given(settled(one, other)) == [asked]
    else:
        (event,) = decide(one, other)
        assert isinstance(event, Emit)
        assert event.message == f"Error syncing load balancer: failed to ensure load balancer: {said}"


def test_a_pool_without_a_free_address() -> None:
    others = [service(f"s{number}", f"192.0.2.{10 + number}", "n1") for number in range(3)]
    (event,) = decide(service(), *others)
    assert isinstance(event, Emit)
    assert (event.type, event.reason) == ("Warning", "SyncLoadBalancerFailed")
    assert "no address of the pool is free" in event.message


def test_an_address_that_left_the_pool_is_exchanged() -> None:
    assert given(settled(service(ip="198.51.100.1", by="n1"))) == ["192.0.2.10"]


def test_only_the_addresses_of_a_lost_node_move() -> None:
    made = settled(service())
    nodes = tuple(node(one.metadata.name, ready="Unknown") if one.metadata.name == by(made) else one for one in NODES)
    moved = settled(made, nodes=nodes)
    assert by(moved) not in ("", by(made))
    assert given(moved) == given(made)
    assert by(settled(moved)) == by(moved), "it does not move back"
    assert by(settled(made, nodes=())) == ""


def test_who_may_not_announce() -> None:
    excluded = replace(NODES[0], metadata=replace(NODES[0].metadata, labels={EXCLUDED: ""}))
    leaving = replace(NODES[1], metadata=replace(NODES[1].metadata, deletion_timestamp=at()))
    assert by(settled(service(), nodes=(excluded, leaving))) == ""
    assert by(settled(service(by="n1"), nodes=(excluded, leaving, NODES[2]))) == "n3"


def test_addresses_are_spread() -> None:
    seen = view(*NODES)
    chosen = {loadbalancer._announcer(service(), str(ipaddress.IPv4Address(FIRST + n)), seen) for n in range(30)}
    assert chosen == {"n1", "n2", "n3"}


def test_where_only_local_endpoints_count() -> None:
    def piece(*places: tuple[str, bool]) -> discovery_v1.EndpointSlice:
        endpoints = tuple(
            discovery_v1.Endpoint(node_name=name, conditions=discovery_v1.EndpointConditions(ready=ready))
            for name, ready in places
        )
        metadata = replace(meta("web-1"), labels={"kubernetes.io/service-name": "web"})
        return discovery_v1.EndpointSlice(metadata=metadata, endpoints=endpoints)

    one = service(external_traffic_policy="Local")
    assert by(settled(one, piece(("n2", True), ("n3", False)))) == "n2"
    assert by(settled(one, piece(("n3", False)))) == ""


@pytest.mark.parametrize("spec", [{"type": "ClusterIP"}, {"load_balancer_class": "theirs.example/lb"}])
def test_what_is_not_ours_any_more_is_given_back(spec: Any) -> None:
    released = settled(service(ip="192.0.2.10", by="n1", **spec))
    assert (given(released), by(released), released.metadata.finalizers) == ([], "", ())


def test_what_never_was_ours_is_left_alone() -> None:
    theirs = service(ip="192.0.2.10", marked=False, load_balancer_class="theirs.example/lb")
    assert decide(theirs) == ()


def test_a_service_that_ends_lets_go() -> None:
    ending = service(ip="192.0.2.10", by="n1")
    ending = replace(ending, metadata=replace(ending.metadata, deletion_timestamp=at()))
    (effect,) = decide(ending)
    assert isinstance(effect, Update)
    assert effect.object.metadata.finalizers == ()
