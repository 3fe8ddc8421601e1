"""What a node forwards for Services and their EndpointSlices."""

from __future__ import annotations

from typing import Any

import pytest

from nodeagent.network.services import (
    Backend,
    HostPort,
    PortRule,
    ServiceRule,
    ServiceTable,
    gone_udp_backends,
    service_rule,
    service_table,
)
from tests.unit.network.objects import endpoint, endpoint_slice, service

WEB = [{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"}]
TARGET = [{"name": "http", "port": 8080, "protocol": "TCP"}]
ONE, TWO = Backend("10.244.1.2", 8080), Backend("10.244.2.2", 8080)


def only_port(rule: ServiceRule | None) -> PortRule:
    """The one port of a rule."""
    assert rule is not None
    (port,) = rule.ports
    return port


def test_ports_meet_by_name_and_protocol() -> None:
    """A service's port leads to the slices' port of the same name and protocol, on every node's endpoints."""
    slices = [
        endpoint_slice("web", TARGET, endpoint(TWO.ip, "node2"), endpoint(ONE.ip)),
        endpoint_slice("web", [{"name": "other", "port": 1, "protocol": "TCP"}], endpoint("10.244.1.9")),
        endpoint_slice("web", [{"name": "http", "port": 2, "protocol": "UDP"}], endpoint("10.244.1.8")),
        endpoint_slice("web", TARGET, endpoint("fd00::1"), address_type="IPv6"),
        endpoint_slice("elsewhere", TARGET, endpoint("10.244.1.7")),
    ]
    table = service_table([service("web", "10.96.0.5", WEB)], slices, "node1")
    rule = table.services["default/web"]
    assert rule.cluster_ip == "10.96.0.5"
    assert only_port(rule) == PortRule("tcp", 80, 30080, (ONE, TWO), (ONE,))


def test_a_port_without_a_name() -> None:
    """The single port of a service and of its slices may have none."""
    slices = [endpoint_slice("web", [{"port": 8080}], endpoint(ONE.ip))]
    assert only_port(service_rule(service("web", "10.96.0.5", [{"port": 80}]), slices, "")).backends == (ONE,)


def test_readiness() -> None:
    """Only ready endpoints count; unknown means ready; those that drain help out when nobody else is left."""
    offered = service("web", "10.96.0.5", WEB)
    unready = endpoint("10.244.1.9", ready=False)
    draining = endpoint(TWO.ip, ready=False, serving=True, terminating=True)
    dying = endpoint("10.244.1.8", ready=False, serving=False, terminating=True)
    with_ready = [endpoint_slice("web", TARGET, endpoint(ONE.ip), unready, draining, dying)]
    assert only_port(service_rule(offered, with_ready, "node1")).backends == (ONE,)
    without = [endpoint_slice("web", TARGET, unready, draining, dying)]
    assert only_port(service_rule(offered, without, "node1")).backends == (TWO,)


def test_the_same_endpoint_in_two_slices_counts_once() -> None:
    """While slices are rebalanced an endpoint may stand in two."""
    slices = [endpoint_slice("web", TARGET, endpoint(ONE.ip)), endpoint_slice("web", TARGET, endpoint(ONE.ip))]
    assert only_port(service_rule(service("web", "10.96.0.5", WEB), slices, "node1")).backends == (ONE,)


def test_services_without_forwarding() -> None:
    """Headless, ExternalName, IPv6 only and not yet given an address."""
    for address, kind in (("None", ""), ("", "ExternalName"), ("fd00::5", ""), ("", "")):
        assert service_rule(service("web", address, WEB, type=kind), (), "node1") is None


def test_settings_of_a_service() -> None:
    """Affinity, policies, and addresses of the outside."""
    rule = service_rule(
        service(
            "web",
            "10.96.0.5",
            WEB,
            sessionAffinity="ClientIP",
            internalTrafficPolicy="Local",
            externalTrafficPolicy="Local",
            externalIPs=["192.0.2.1", "fd00::1", "192.0.2.1"],
        ),
        (),
        "node1",
    )
    assert rule is not None
    assert (rule.affinity_s, rule.internal_local, rule.external_local) == (10800, True, True)
    assert rule.external_ips == ("192.0.2.1",)
    config = {"clientIP": {"timeoutSeconds": 60}}
    timed = service_rule(
        service("web", "10.96.0.5", sessionAffinity="ClientIP", sessionAffinityConfig=config), (), "node1"
    )
    assert timed is not None
    assert timed.affinity_s == 60


def hinted(ip: str, node: str, nodes: tuple[str, ...] = (), zones: tuple[str, ...] = ()) -> dict[str, Any]:
    """A ready endpoint with hints."""
    hints = {"forNodes": [{"name": name} for name in nodes], "forZones": [{"name": name} for name in zones]}
    return endpoint(ip, node) | {"hints": hints}


A1, A2, B1 = "10.244.1.2", "10.244.2.2", "10.244.3.2"


@pytest.mark.parametrize(
    ("endpoints", "node", "zone", "wanted"),
    [
        ([hinted(A1, "a1", ("a1",), ("a",)), hinted(A2, "a2", ("a2",), ("a",))], "a1", "a", {A1}),
        ([hinted(A1, "a1", ("a1",), ("a",)), hinted(B1, "b1", ("b1",), ("b",))], "a2", "a", {A1}),
        (
            [hinted(A1, "a1", (), ("a",)), hinted(A2, "a2", (), ("a",)), hinted(B1, "b1", (), ("b",))],
            "a1",
            "a",
            {A1, A2},
        ),
        ([hinted(A1, "a1", (), ("a",)), hinted(B1, "b1", (), ("b",))], "c1", "c", {A1, B1}),
        ([hinted(A1, "a1", (), ("a",)), hinted(B1, "b1", (), ("b",))], "a1", "", {A1, B1}),
        ([hinted(A1, "a1", (), ("a",)), endpoint(B1, "b1")], "a1", "a", {A1, B1}),
        ([hinted(A1, "a1", ("a1",), ("a",)), hinted(A2, "a2", (), ("a",))], "a1", "a", {A1, A2}),
        ([hinted(A1, "a1", (), ("a",)), endpoint(B1, "b1", ready=False)], "a1", "a", {A1}),
    ],
)
def test_near_endpoints_are_preferred_where_all_have_hints(
    endpoints: list[dict[str, Any]], node: str, zone: str, wanted: set[str]
) -> None:
    """First those for the node, then those for its zone; half a truth, or nothing near, leads to all."""
    rule = service_rule(service("web", "10.96.0.5", WEB), [endpoint_slice("web", TARGET, *endpoints)], node, zone)
    assert {backend.ip for backend in only_port(rule).backends} == wanted


def test_what_health_checks_are_told() -> None:
    """The ready endpoints of the node, counted once, for services whose outside stays on a node."""
    slices = [
        endpoint_slice("web", TARGET, endpoint(A1), endpoint(A1), endpoint(A2), endpoint(B1, "node2")),
        endpoint_slice("web", TARGET, endpoint("10.244.1.9", ready=False, serving=True, terminating=True)),
    ]
    asked = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30999}
    rule = service_rule(service("web", "10.96.0.5", WEB, **asked), slices, "node1")
    assert rule is not None
    assert (rule.health_port, rule.local_ready) == (30999, 2)
    other = service_rule(
        service("web", "10.96.0.5", WEB, **asked | {"externalTrafficPolicy": "Cluster"}), slices, "node1"
    )
    assert other is not None
    assert other.health_port == 0


def test_replacing_one() -> None:
    """Other entries stay the very same objects, and host ports stay."""
    port = HostPort("default/a", "tcp", 80, ONE)
    table = service_table([service("a", "10.96.0.1"), service("b", "10.96.0.2")], [], "node1", (port,))
    changed = table.replaced("default/a", None)
    assert list(changed.services) == ["default/b"]
    assert changed.services["default/b"] is table.services["default/b"]
    assert changed.host_ports == (port,)


def test_flows_to_forget() -> None:
    """Addresses that some UDP port no longer leads to: endpoints, whole services and host ports; never TCP."""

    def table(protocol: str, *backends: Backend, ports: tuple[HostPort, ...] = ()) -> ServiceTable:
        rule = ServiceRule("default/a", "10.96.0.5", (), (PortRule(protocol, 53, 0, backends, ()),), 0, False, False)
        return ServiceTable({"default/a": rule}, ports)

    port = HostPort("default/p", "udp", 53, Backend("10.244.1.7", 53))
    assert gone_udp_backends(table("udp", ONE, TWO), table("udp", TWO)) == (ONE.ip,)
    assert gone_udp_backends(table("udp", ONE, ports=(port,)), ServiceTable()) == (ONE.ip, port.target.ip)
    assert gone_udp_backends(table("tcp", ONE), ServiceTable()) == ()
    assert gone_udp_backends(ServiceTable(), table("udp", ONE)) == ()
