"""Services, their addresses and their ports are kept in step."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import allocations
from mizzen.api import kinds
from mizzen.api.service_ranges import new_address
from mizzen.api.types import core_v1, networking_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Delete, Emit
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, view

IP = "10.96.0.7"


def address(name: str, ip: str = IP) -> networking_v1.IPAddress:
    """The address of a service, as it is stored."""
    made = new_address(ip, "default", name)
    return replace(made, metadata=replace(made.metadata, uid=f"uid-{ip}", resource_version="5"))


OWN = address("web")
UNLABELLED = replace(OWN, metadata=replace(OWN.metadata, labels={}))
ELSEWHERE = replace(
    OWN, spec=networking_v1.IPAddressSpec(parent_ref=networking_v1.ParentReference(resource="gateways", name="g"))
)


def service(name: str = "web", ip: str = IP, age_s: int = 60, port: int = 0, **spec: Any) -> core_v1.Service:
    """A service with an address."""
    ports = (core_v1.ServicePort(port=80, node_port=port),)
    metadata = replace(meta(name), creation_timestamp=at(-age_s), uid=f"uid-{name}")
    spec = {"cluster_ip": ip, "cluster_ips": (ip,), "ports": ports, **spec}
    return core_v1.Service(metadata=metadata, spec=core_v1.ServiceSpec(**spec))


def range_(*cidrs: str) -> networking_v1.ServiceCIDR:
    """A range."""
    return networking_v1.ServiceCIDR(
        metadata=meta("kubernetes", namespace=""), spec=networking_v1.ServiceCIDRSpec(cidrs=cidrs)
    )


def of_service(one: core_v1.Service, *others: Any) -> list[str]:
    """What is done about a service: reasons of events, and what is made or deleted."""
    key = Key(kinds.SERVICE.resource, one.metadata.namespace, one.metadata.name)
    return done(allocations.reconcile_service(key, view(one, *others), NOW, SeededIds(1)).effects)


def of_address(one: networking_v1.IPAddress, *others: Any) -> list[str]:
    """What is done about an address."""
    key = Key(kinds.IP_ADDRESS.resource, "", one.metadata.name)
    return done(allocations.reconcile_address(key, view(one, *others), NOW, SeededIds(1)).effects)


def done(effects: tuple[Any, ...]) -> list[str]:
    """Effects in short."""
    found = []
    for effect in effects:
        if isinstance(effect, Emit):
            found.append(effect.reason)
        elif isinstance(effect, Create):
            found.append(f"+{effect.object.metadata.name}")
        else:
            assert isinstance(effect, Delete)
            assert effect.resource_version, "one that was taken over meanwhile stays"
            found.append(f"-{effect.key.name}")
    return found


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([OWN], []),
        ([OWN, range_("10.96.0.0/16")], []),
        ([], ["ClusterIPNotAllocated", f"+{IP}"]),
        ([OWN, range_("10.97.0.0/16")], ["ClusterIPOutOfRange"]),
        ([UNLABELLED], ["ClusterIPNotAllocated", f"-{IP}"]),
        ([ELSEWHERE], ["ClusterIPNotAllocated", f"-{IP}"]),
        ([address("gone")], ["ClusterIPNotAllocated", f"-{IP}"]),
        ([address("other"), service("other")], ["ClusterIPAlreadyAllocated"]),
        ([address("other"), service("other", "10.96.0.8")], ["ClusterIPNotAllocated", f"-{IP}"]),
    ],
)
def test_an_address_of_a_service_is_its_own(others: list[Any], wanted: list[str]) -> None:
    assert of_service(service(), *others) == wanted


def test_services_without_addresses_need_none() -> None:
    assert of_service(service(ip="None")) == []
    assert of_service(service(ip="", cluster_ips=(), type="ExternalName")) == []


def test_of_two_services_with_one_node_port_the_younger_is_told() -> None:
    old, young = service("old", port=30080, age_s=60), service("young", "10.96.0.8", port=30080, age_s=5)
    mine = [address("old"), address("young", "10.96.0.8")]
    assert of_service(old, young, *mine) == []
    assert of_service(young, old, *mine) == ["PortAlreadyAllocated"]


@pytest.mark.parametrize(
    ("present", "others", "wanted"),
    [
        (OWN, [service()], []),
        (OWN, [], [f"-{IP}"]),
        (OWN, [service(ip="10.96.0.8")], [f"-{IP}"]),
        (OWN, [service(type="ExternalName")], [f"-{IP}"]),
        (UNLABELLED, [], []),
        (ELSEWHERE, [], ["IPAddressNotAllocated", f"-{IP}"]),
    ],
)
def test_an_address_goes_with_its_service(
    present: networking_v1.IPAddress, others: list[Any], wanted: list[str]
) -> None:
    assert of_address(present, *others) == wanted
