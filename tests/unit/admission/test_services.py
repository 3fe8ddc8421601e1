"""Cluster IPs and node ports: given once, kept, never twice."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controlplane.admission import Settings, allocation, cluster_ips, services
from mizzen.api import errors, service_ranges
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from mizzen.base.ids import SeededIds
from tests.fixtures.admission import NOW_MS, Cluster

CLUSTER = Cluster.with_namespaces("shop")


def _service(name: str = "web", ports: tuple[core.ServicePort, ...] = (), **spec: Any) -> core.Service:
    ports = ports or (core.ServicePort(port=80),)
    return core.Service(
        metadata=meta.ObjectMeta(name=name), spec=core.ServiceSpec(ports=ports, selector={"a": "b"}, **spec)
    )


def _made(service: core.Service, cluster: Cluster = CLUSTER) -> core.Service:
    made: core.Service = cluster.create(service, "shop").object
    return made


def test_a_service_gets_an_address_and_claims_it() -> None:
    admitted = CLUSTER.create(_service(), "shop")
    ip = admitted.object.spec.cluster_ip
    assert service_ranges.contains("10.96.0.0/16", ip)
    assert admitted.object.spec.cluster_ips == (ip,)
    assert (admitted.claims, admitted.addresses) == ((), (ip,))
    assert admitted.object.spec.ip_families == ("IPv4",)


def test_headless_and_external_services_get_none() -> None:
    headless = CLUSTER.create(_service(cluster_ip="None"), "shop")
    assert headless.object.spec.cluster_ips == ("None",)
    assert (headless.claims, headless.addresses) == ((), ())
    external = CLUSTER.create(_service(type="ExternalName", external_name="a.example"), "shop")
    assert (external.object.spec.cluster_ip, external.claims) == ("", ())


def test_an_address_can_be_asked_for_once() -> None:
    made = _made(_service(cluster_ip="10.96.0.10"))
    assert made.spec.cluster_ip == "10.96.0.10"
    with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
        _made(_service("other", cluster_ip="10.96.0.10"), CLUSTER.having(made))
    with pytest.raises(errors.Invalid, match="not in the valid range"):
        _made(_service("other", cluster_ip="10.97.0.1"))


def test_addresses_of_the_outside_are_for_those_who_may() -> None:
    asked = _service(external_ips=("192.0.2.1",))
    with pytest.raises(errors.Forbidden, match=r"spec\.externalIPs: use of external IPs is denied"):
        _made(asked)
    made = _made(asked, Cluster(CLUSTER.objects, Settings(external_ips=True)))
    cluster = CLUSTER.having(made)
    kept = replace(made, metadata=replace(made.metadata, labels={"a": "b"}))
    assert cluster.update(kept, made).object.spec.external_ips == ("192.0.2.1",)
    more = replace(made, spec=replace(made.spec, external_ips=("192.0.2.1", "192.0.2.2")))
    with pytest.raises(errors.Forbidden):
        cluster.update(more, made)


def test_node_ports() -> None:
    ports = (core.ServicePort(name="a", port=53, protocol="UDP"), core.ServicePort(name="b", port=53))
    admitted = CLUSTER.create(_service(ports=ports, type="NodePort"), "shop")
    udp, tcp = admitted.object.spec.ports
    assert udp.node_port == tcp.node_port, "one port number for both protocols"
    assert 30000 <= udp.node_port <= 32767
    assert f"services/nodeports/{udp.node_port}" in admitted.claims
    taken = (core.ServicePort(port=1, node_port=udp.node_port),)
    with pytest.raises(errors.Invalid, match=r"spec.ports\[0\].nodePort.*provided port is already allocated"):
        _made(_service("other", ports=taken, type="NodePort"), CLUSTER.having(admitted.object))
    with pytest.raises(errors.Invalid, match="The range of valid ports is 30000-32767"):
        _made(_service(ports=(core.ServicePort(port=1, node_port=80),), type="NodePort"))


def test_an_update_keeps_what_it_leaves_out() -> None:
    old = _made(_service(type="NodePort"))
    admitted = CLUSTER.having(old).update(_service(type="NodePort"), old)
    assert admitted.object == old
    more = (core.ServicePort(name="a", port=80), core.ServicePort(name="b", port=81))
    grown = CLUSTER.having(old).update(_service(ports=more, type="NodePort"), old)
    first, second = grown.object.spec.ports
    assert first.node_port == old.spec.ports[0].node_port
    assert grown.claims == (f"services/nodeports/{second.node_port}",)


@pytest.mark.parametrize("other", ["10.96.1.1", "None"])
def test_an_address_that_is_changed_in_one_way_of_writing_it_is_refused_as_a_change(other: str) -> None:
    old = _made(_service())
    changed = replace(old, spec=replace(old.spec, cluster_ip=other))
    with pytest.raises(errors.Invalid, match=r"spec.clusterIPs\[0\]: .*: may not change once set$"):
        CLUSTER.having(old).update(changed, old)


def test_an_update_drops_what_has_no_meaning_any_longer() -> None:
    old = _made(_service(type="NodePort"))
    inside = CLUSTER.having(old).update(replace(old, spec=replace(old.spec, type="ClusterIP")), old).object
    assert inside.spec.ports[0].node_port == 0
    assert inside.spec.cluster_ip == old.spec.cluster_ip
    external = replace(old, spec=replace(old.spec, type="ExternalName", external_name="a.example"))
    outside = CLUSTER.having(old).update(external, old).object
    assert outside.spec.cluster_ip == ""
    assert services.claims_of(outside) == ()


def test_what_others_are_known_to_hold_is_not_picked() -> None:
    first = CLUSTER.create(_service(type="NodePort"), "shop")
    second = CLUSTER.create(_service(type="NodePort"), "shop", taken=frozenset(first.claims))
    assert second.object.spec.ports[0].node_port != first.object.spec.ports[0].node_port


def test_a_full_range_is_an_error() -> None:
    cluster = Cluster(CLUSTER.objects, Settings(service_cidr="10.0.0.0/30"))
    for name in ("a", "b"):
        cluster = cluster.having(_made(_service(name), cluster))
    with pytest.raises(errors.InternalError, match="is full"):
        _made(_service("c"), cluster)


def _range(name: str, *cidrs: str, ready: bool = True, ends: bool = False) -> networking.ServiceCIDR:
    condition = meta.Condition(type="Ready", status="True" if ready else "False")
    return networking.ServiceCIDR(
        metadata=meta.ObjectMeta(name=name, deletion_timestamp="2026-05-01T12:00:00Z" if ends else None),
        spec=networking.ServiceCIDRSpec(cidrs=cidrs),
        status=networking.ServiceCIDRStatus(conditions=(condition,)),
    )


def test_the_next_range_is_used_when_one_is_full() -> None:
    cluster = CLUSTER.having(_range("a", "10.0.0.0/30"), _range("b", "10.0.1.0/24"))
    ips = []
    for name in ("a", "b", "c"):
        made = _made(_service(name), cluster)
        ips.append(made.spec.cluster_ip)
        cluster = cluster.having(made)
    assert [ip.rpartition(".")[0] for ip in ips] == ["10.0.0", "10.0.0", "10.0.1"]


def test_only_ranges_that_are_ready_count() -> None:
    ranges = (_range("new", "10.0.0.0/24", ready=False), _range("old", "10.0.1.0/24", ends=True))
    cluster = CLUSTER.having(*ranges, _range("good", "10.0.2.0/24"))
    assert _made(_service(), cluster).spec.cluster_ip.startswith("10.0.2.")
    with pytest.raises(errors.Invalid, match=r"The range of valid IPs is 10.0.2.0/24"):
        _made(_service(cluster_ip="10.0.0.9"), cluster)
    assert _made(_service(), CLUSTER.having(ranges[0])).spec.cluster_ip.startswith("10.96."), "a cluster that begins"
    with pytest.raises(errors.InternalError, match="no range of IPv4 is ready"):
        _made(_service(), CLUSTER.having(ranges[1]))


DUAL = CLUSTER.having(_range("a", "10.0.0.0/24", "fd00::/64"))


@pytest.mark.parametrize(
    ("asked", "families"),
    [
        ({}, ("IPv4",)),
        ({"ip_families": ("IPv6",)}, ("IPv6",)),
        ({"ip_family_policy": "PreferDualStack"}, ("IPv4", "IPv6")),
        ({"ip_family_policy": "RequireDualStack", "ip_families": ("IPv6",)}, ("IPv6", "IPv4")),
        ({"cluster_ip": "fd00::5"}, ("IPv6",)),
        ({"cluster_ip": "10.0.0.5", "ip_family_policy": "PreferDualStack"}, ("IPv4", "IPv6")),
    ],
)
def test_a_service_has_an_address_of_each_family_it_wants(asked: dict[str, Any], families: tuple[str, ...]) -> None:
    admitted = DUAL.create(_service(**asked), "shop")
    spec = admitted.object.spec
    assert (spec.ip_families, admitted.addresses) == (families, spec.cluster_ips)
    assert tuple(service_ranges.family_of(ip) for ip in spec.cluster_ips) == families


def test_a_family_that_the_cluster_has_not_is_refused_or_left_out() -> None:
    assert _made(_service(ip_family_policy="PreferDualStack")).spec.ip_families == ("IPv4",)
    with pytest.raises(errors.Invalid, match=r"spec.ipFamilyPolicy.*not configured for dual-stack services"):
        _made(_service(ip_family_policy="RequireDualStack"))
    with pytest.raises(errors.Invalid, match=r"spec.ipFamilies\[0\].*not configured on this cluster"):
        _made(_service(ip_families=("IPv6",)))


def test_an_address_left_behind_is_taken_over() -> None:
    left = CLUSTER.having(service_ranges.new_address("10.96.0.10", "shop", "gone"))
    assert left.create(_service(cluster_ip="10.96.0.10"), "shop").addresses == ("10.96.0.10",)
    view = left.view
    made = left.create(_service(cluster_ip="10.96.0.10"), "shop").object
    (write,) = cluster_ips.claims(made, ("10.96.0.10",), view, NOW_MS, SeededIds(1))
    assert (write.name, write.expect) == ("10.96.0.10", len(left.objects))
    assert service_ranges.service_of(write.object) == ("shop", "web")


def test_an_address_of_somebody_else_is_not() -> None:
    own = service_ranges.new_address("10.96.0.10", "shop", "gone")
    own = replace(own, metadata=replace(own.metadata, labels={}))
    with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
        _made(_service(cluster_ip="10.96.0.10"), CLUSTER.having(own))


@given(seeds=st.lists(st.uuids().map(str), min_size=14, max_size=14, unique=True))
@settings(max_examples=50, deadline=None)
def test_every_address_of_a_range_is_given_exactly_once(seeds: list[str]) -> None:
    taken: set[str] = set()
    for seed in seeds:
        ip = allocation.pick_ip("10.0.0.0/28", seed, lambda ip: ip not in taken)
        assert ip is not None
        assert service_ranges.contains("10.0.0.0/28", ip)
        assert ip not in taken
        taken.add(ip)
    assert allocation.pick_ip("10.0.0.0/28", "more", lambda ip: ip not in taken) is None


@pytest.mark.parametrize(("cidr", "band"), [("10.0.0.0/24", 16), ("10.0.0.0/20", 255), ("10.0.0.0/16", 256)])
def test_the_lower_band_is_left_to_those_who_ask(cidr: str, band: int) -> None:
    first = int(service_ranges.network(cidr).network_address)
    for seed in map(str, range(300)):
        ip = allocation.pick_ip(cidr, seed, lambda _: True)
        assert ip is not None
        assert int(ip_address(ip)) - first > band
