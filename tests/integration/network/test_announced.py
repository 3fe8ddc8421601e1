"""Addresses of load balancers on the Ethernet: one machine answers for one, and another takes it over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.network.netlab import NetLab, Pod, ask_tcp, endpoints, eventually, inside, service

pytestmark = pytest.mark.lab

ADDRESS = "10.77.0.200"


@pytest.fixture(scope="module")
def pods(lab: NetLab) -> list[Pod]:
    """One pod on each machine."""
    return [lab.pod(machine) for machine in lab.machines]


def balanced(lab: NetLab, announcer: str, *backends: Pod, **spec: object) -> None:
    """A load balancer whose address one machine answers for."""
    made = service("web", "10.96.7.1", {"port": 80, "protocol": "TCP"}, type="LoadBalancer", **spec)
    made["metadata"]["annotations"] = {"mizzen.dev/announced-by": announcer}
    made["status"] = {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}
    lab.services([made], [endpoints("web", 8080, *backends)])


def neighbours(lab: NetLab) -> str:
    """Whom the outside knows by their MACs."""
    return inside(lab.outside, lambda: Path("/proc/thread-self/net/arp").read_text())


def test_an_address_is_answered_for_and_moves(lab: NetLab, pods: list[Pod]) -> None:
    first, second = (machine.name for machine in lab.machines[:2])
    balanced(lab, first, *pods)
    answers = {ask_tcp(lab.outside, ADDRESS, 80).split()[0] for _ in range(30)}
    assert answers == {pod.ip for pod in pods}
    assert ask_tcp(pods[2].netns, ADDRESS, 80), "pods and machines reach it as well"
    assert ask_tcp(lab.machines[1].netns, ADDRESS, 80)
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(lab.outside, ADDRESS, 81)
    balanced(lab, second, *pods)
    assert ask_tcp(lab.outside, ADDRESS, 80)
    lab.services([], [])
    with pytest.raises(OSError):
        ask_tcp(lab.outside, ADDRESS, 80, timeout=0.5)


def test_clients_are_seen_with_their_own_address_where_only_local_endpoints_count(lab: NetLab, pods: list[Pod]) -> None:
    balanced(lab, lab.machines[1].name, pods[1], externalTrafficPolicy="Local")
    assert ask_tcp(lab.outside, ADDRESS, 80) == f"{pods[1].ip} 10.77.0.100"


def test_the_outside_learns_of_a_takeover(lab: NetLab, pods: list[Pod]) -> None:
    balanced(lab, lab.machines[0].name, pods[0])
    assert ask_tcp(lab.outside, ADDRESS, 80)
    known = neighbours(lab)
    balanced(lab, lab.machines[1].name, pods[0])

    def told() -> bool:
        now = neighbours(lab)
        return now != known and ADDRESS in now

    eventually(told, "the new machine stands in the neighbour table", 3)
    assert ask_tcp(lab.outside, ADDRESS, 80)


def test_nothing_is_left(lab: NetLab, pods: list[Pod]) -> None:
    balanced(lab, lab.machines[0].name, pods[0])
    assert f" {ADDRESS}/32 scope host lo:balanced" in lab.machines[0].sh("ip -4 -o addr")
    balanced(lab, lab.machines[1].name, pods[0])
    assert ADDRESS not in lab.machines[0].sh("ip -4 -o addr")
    lab.services([], [])
    assert ADDRESS not in lab.machines[1].sh("ip -4 -o addr")
