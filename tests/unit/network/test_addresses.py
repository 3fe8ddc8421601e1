"""Addresses of pods, names of interfaces, and the choice between routes and tunnels."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.network.bridge import ifname_of
from nodeagent.network.ipam import AddressesExhausted, next_address
from nodeagent.network.port import NodeRoute
from nodeagent.network.routes import HostGateway, Tunnel, mac_of, paths, pod_mtu

OWN = IPv4Interface("10.0.0.1/24")
NEAR = NodeRoute("near", "10.0.0.2", "10.244.2.0/24")
FAR = NodeRoute("far", "10.0.9.3", "10.244.3.0/24")


@pytest.mark.parametrize(
    ("last", "in_use", "expected"),
    [
        ("", (), "10.244.1.1"),
        ("10.244.1.1", (), "10.244.1.2"),
        ("10.244.1.1", ("10.244.1.2", "10.244.1.3"), "10.244.1.4"),
        ("10.244.1.6", ("10.244.1.1",), "10.244.1.2"),
        ("192.0.2.1", (), "10.244.1.1"),
    ],
    ids=["first", "next", "skips-used", "starts-over", "other-cidr-before"],
)
def test_next_address(last: str, in_use: tuple[str, ...], expected: str) -> None:
    """The next free one after the last, round and round, never the first or the last of the CIDR."""
    assert next_address("10.244.1.0/29", last, in_use) == expected


def test_exhausted() -> None:
    """The error names the CIDR."""
    with pytest.raises(AddressesExhausted, match=r"10\.244\.1\.0/30"):
        next_address("10.244.1.0/30", "", {"10.244.1.1", "10.244.1.2"})


@given(st.sets(st.integers(1, 14)), st.integers(0, 15))
def test_next_address_is_free_and_inside(used: set[int], last: int) -> None:
    """Whatever is in use, the result is free and assignable; it fails only when nothing is free."""
    in_use = {f"10.244.1.{number}" for number in used}
    if len(used) == 14:
        with pytest.raises(AddressesExhausted):
            next_address("10.244.1.0/28", f"10.244.1.{last}", in_use)
    else:
        found = next_address("10.244.1.0/28", f"10.244.1.{last}", in_use)
        assert found not in in_use
        assert found in {str(host) for host in IPv4Network("10.244.1.0/28").hosts()}


@given(st.text(min_size=1, max_size=80))
def test_interface_names(pod_uid: str) -> None:
    """Always the same, within the kernel's 15 characters."""
    assert ifname_of(pod_uid) == ifname_of(pod_uid)
    assert ifname_of(pod_uid).startswith("mz")
    assert len(ifname_of(pod_uid)) <= 15


def test_auto_overlay() -> None:
    """A plain route on one L2, the tunnel behind a router; the own node is passed over; sorted by CIDR."""
    own = NodeRoute("own", "10.0.0.1", "10.244.1.0/24")
    found = paths(OWN, "10.244.1.0/24", [FAR, own, NEAR], "auto")
    assert found.direct == (HostGateway("10.244.2.0/24", "10.0.0.2"),)
    assert found.tunnels == (Tunnel("10.244.3.0/24", "10.0.9.3", "10.244.3.0", "0a:58:0a:f4:03:00"),)


def test_forced_overlay() -> None:
    """The operator knows better."""
    assert len(paths(OWN, "10.244.1.0/24", [NEAR, FAR], "always").tunnels) == 2
    assert len(paths(OWN, "10.244.1.0/24", [NEAR, FAR], "never").direct) == 2


def test_both_ends_agree_on_a_mac() -> None:
    """It is made of the address alone, and is a local one for a single device."""
    assert mac_of("10.244.3.7") == "0a:58:0a:f4:03:07"
    assert int(mac_of("1.2.3.4")[:2], 16) & 0b11 == 0b10


@pytest.mark.parametrize(("tunnelled", "wished", "expected"), [(False, 0, 1500), (True, 0, 1450), (True, 1400, 1400)])
def test_mtu(tunnelled: bool, wished: int, expected: int) -> None:
    """The tunnel takes its share unless a size is wished for."""
    assert pod_mtu(1500, tunnelled, wished) == expected
