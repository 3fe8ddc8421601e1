"""Cluster IPs and node ports: given once, kept, never twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controlplane.admission import Settings, allocation, services
from mizzen.api import errors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import Cluster

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
    assert allocation.contains("10.96.0.0/16", ip)
    assert admitted.object.spec.cluster_ips == (ip,)
    assert admitted.claims == (f"services/clusterips/{ip}",)
    assert admitted.object.spec.ip_families == ("IPv4",)


def test_headless_and_external_services_get_none() -> None:
    headless = CLUSTER.create(_service(cluster_ip="None"), "shop")
    assert headless.object.spec.cluster_ips == ("None",)
    assert headless.claims == ()
    external = CLUSTER.create(_service(type="ExternalName", external_name="a.example"), "shop")
    assert (external.object.spec.cluster_ip, external.claims) == ("", ())


def test_an_address_can_be_asked_for_once() -> None:
    made = _made(_service(cluster_ip="10.96.0.10"))
    assert made.spec.cluster_ip == "10.96.0.10"
    with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
        _made(_service("other", cluster_ip="10.96.0.10"), CLUSTER.having(made))
    with pytest.raises(errors.Invalid, match="not in the valid range"):
        _made(_service("other", cluster_ip="10.97.0.1"))


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
    first = CLUSTER.create(_service(), "shop")
    second = CLUSTER.create(_service(), "shop", taken=frozenset(first.claims))
    assert second.object.spec.cluster_ip != first.object.spec.cluster_ip


def test_a_full_range_is_an_error() -> None:
    cluster = Cluster(CLUSTER.objects, Settings(service_cidr="10.0.0.0/30"))
    for name in ("a", "b"):
        cluster = cluster.having(_made(_service(name), cluster))
    with pytest.raises(errors.InternalError, match="is full"):
        _made(_service("c"), cluster)


@given(seeds=st.lists(st.uuids().map(str), min_size=14, max_size=14, unique=True))
@settings(max_examples=50, deadline=None)
def test_every_address_of_a_range_is_given_exactly_once(seeds: list[str]) -> None:
    taken: set[str] = set()
    for seed in seeds:
        ip = allocation.pick_ip("10.0.0.0/28", seed, frozenset(taken))
        assert ip is not None
        assert allocation.contains("10.0.0.0/28", ip)
        assert allocation.ip_claim(ip) not in taken
        taken.add(allocation.ip_claim(ip))
    assert allocation.pick_ip("10.0.0.0/28", "more", frozenset(taken)) is None
